/** The load generator's HTTP/1.1 requests. */
import { setTimeout as sleep } from "node:timers/promises";
import { Pool } from "undici";
import type { Destination, Send } from "./load.ts";

/** As for gRPC calls. */
const REQUEST_TIMEOUT_MS = 15_000;
/** As soon as a timer can. */
const AGAIN_MS = 1;

export function connectHttp({ url, headers, again }: Destination & { kind: "http" }, inFlight: number): Send {
  const { origin, pathname, search } = new URL(url);
  const pool = new Pool(origin, {
    connections: inFlight,
    bodyTimeout: REQUEST_TIMEOUT_MS,
    headersTimeout: REQUEST_TIMEOUT_MS,
  });
  const path = `${pathname}${search}`;
  const post = (request: Uint8Array) => pool.request({ method: "POST", path, headers, body: request });
  return async (request) => {
    const until = performance.now() + REQUEST_TIMEOUT_MS;
    for (;;) {
      const { statusCode, body } = await post(request);
      const bytes = await body.bytes();
      if (statusCode < 300) return bytes;
      if (statusCode !== again || performance.now() > until) {
        throw new Error(`${url}: ${statusCode} ${new TextDecoder().decode(bytes)}`);
      }
      await sleep(AGAIN_MS);
    }
  };
}
