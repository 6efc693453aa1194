/**
 * The floor below gRPC: the least that a call costs on Node's HTTP/2. It takes any bytes and answers fixed ones.
 *
 *     node bench/floors/http2.ts <bytes to answer>
 *
 * Tells its parent the port over IPC and ends with it.
 */
import { createServer } from "node:http2";
import { listen } from "./floor.ts";

const answer = Buffer.alloc(Number(process.argv[2]), 1);
const server = createServer({ settings: { maxConcurrentStreams: 128 } });
server.on("stream", (stream) => {
  // A caller that leaves is none of its business.
  stream.on("error", () => {});
  stream.resume();
  stream.on("end", () => {
    stream.respond({ ":status": 200, "content-length": answer.length });
    stream.end(answer);
  });
});
await listen(server);
