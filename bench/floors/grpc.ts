/**
 * The floor: the least that a unary call costs in grpc-js. It takes any bytes and answers a fixed number of bytes; no
 * message is encoded or decoded, nothing is looked at. A process of its own, like the server it is compared with.
 *
 *     node bench/floors/grpc.ts <bytes to answer>
 *
 * Tells its parent the port over IPC and ends with it.
 */
import { Server, ServerCredentials, type ServiceDefinition } from "@grpc/grpc-js";

export const ECHO_PATH = "/bench.Echo/Echo";

const keep = (bytes: Buffer): Buffer => bytes;

const ECHO: ServiceDefinition = {
  echo: {
    path: ECHO_PATH,
    requestStream: false,
    responseStream: false,
    requestSerialize: keep,
    requestDeserialize: keep,
    responseSerialize: keep,
    responseDeserialize: keep,
  },
};

export function serveEcho(bytes: number): Promise<number> {
  const answer = Buffer.alloc(bytes, 1);
  const server = new Server({ "grpc.max_concurrent_streams": 128 });
  server.addService(ECHO, {
    echo: (_call: unknown, reply: (e: null, b: Buffer) => void) => reply(null, answer),
  });
  return new Promise((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) =>
      error ? reject(error) : resolve(port),
    );
  });
}

if (import.meta.main) {
  const bytes = Number(process.argv[2]);
  if (!Number.isInteger(bytes) || bytes < 0)
    throw new Error("usage: node bench/floors/grpc.ts <bytes to answer>");
  process.on("disconnect", () => process.exit(0));
  const port = await serveEcho(bytes);
  process.send?.({ port });
}
