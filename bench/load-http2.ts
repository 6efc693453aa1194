/** The load generator's requests on bare HTTP/2. */
import { connect } from "node:http2";
import type { Destination, Send } from "./load.ts";
import { CALL_TIMEOUT_MS, CALLS_PER_CONNECTION } from "./load-grpc.ts";

export function connectHttp2({ url }: Destination & { kind: "http2" }, inFlight: number): Send {
  const { origin, pathname } = new URL(url);
  const sessions = Array.from({ length: Math.ceil(inFlight / CALLS_PER_CONNECTION) }, () => connect(origin));
  return (request, slot) =>
    new Promise((resolve, reject) => {
      const stream = sessions[slot % sessions.length]?.request({
        ":method": "POST",
        ":path": pathname,
        "content-length": request.length,
      });
      if (!stream) throw new Error("no session");
      const chunks: Buffer[] = [];
      let status: number | undefined;
      stream.setTimeout(CALL_TIMEOUT_MS, () => stream.destroy(new Error(`${url}: no answer`)));
      stream.on("response", (headers) => {
        status = headers[":status"];
      });
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
      stream.on("error", reject);
      stream.on("end", () =>
        status === 200 ? resolve(Buffer.concat(chunks)) : reject(new Error(`${url}: ${status}`)),
      );
      stream.end(request);
    });
}
