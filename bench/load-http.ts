/** The load generator's HTTP/1.1 requests. */
import { Pool } from "undici";
import type { Destination, Send } from "./load.ts";

/** As for gRPC calls. */
const REQUEST_TIMEOUT_MS = 15_000;

export function connectHttp({ url, headers }: Destination & { kind: "http" }, inFlight: number): Send {
  const { origin, pathname, search } = new URL(url);
  const pool = new Pool(origin, {
    connections: inFlight,
    bodyTimeout: REQUEST_TIMEOUT_MS,
    headersTimeout: REQUEST_TIMEOUT_MS,
  });
  const path = `${pathname}${search}`;
  return async (request) => {
    const { statusCode, body } = await pool.request({ method: "POST", path, headers, body: request });
    const bytes = await body.bytes();
    if (statusCode >= 300) throw new Error(`${url}: ${statusCode} ${new TextDecoder().decode(bytes)}`);
    return bytes;
  };
}
