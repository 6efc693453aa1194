/** The load generator's HTTP/1.1 requests. */
import { setTimeout as sleep } from "node:timers/promises";
import { Pool } from "undici";
import type { Destination, Send } from "./load.ts";
import { CALL_TIMEOUT_MS } from "./load-grpc.ts";

/** As soon as a timer can. */
const AGAIN_MS = 1;

export function connectHttp(
  { url, headers, method = "POST", again }: Destination & { kind: "http" },
  inFlight: number,
): Send {
  const { origin, pathname, search } = new URL(url);
  const pool = new Pool(origin, {
    connections: inFlight,
    bodyTimeout: CALL_TIMEOUT_MS,
    headersTimeout: CALL_TIMEOUT_MS,
  });
  const path = `${pathname}${search}`;
  const send = (request: Uint8Array) =>
    pool.request({ method, path, headers, ...(method === "POST" && { body: request }) });
  return async (request) => {
    const until = performance.now() + CALL_TIMEOUT_MS;
    for (;;) {
      const { statusCode, body } = await send(request);
      const bytes = await body.bytes();
      if (statusCode < 300) return bytes;
      if (statusCode !== again || performance.now() > until) {
        throw new Error(`${url}: ${statusCode} ${new TextDecoder().decode(bytes)}`);
      }
      await sleep(AGAIN_MS);
    }
  };
}
