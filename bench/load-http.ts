/** The load generator's HTTP/1.1 requests. */
import { Pool } from "undici";
import type { Destination, Send } from "./load.ts";
import { CALL_TIMEOUT_MS } from "./load-grpc.ts";

export function connectHttp(
  { url, headers, method = "POST" }: Destination & { kind: "http" },
  inFlight: number,
): Send {
  const { origin, pathname, search } = new URL(url);
  const pool = new Pool(origin, {
    connections: inFlight,
    bodyTimeout: CALL_TIMEOUT_MS,
    headersTimeout: CALL_TIMEOUT_MS,
  });
  const path = `${pathname}${search}`;
  return async (request) => {
    const { statusCode, body } = await pool.request({
      method,
      path,
      headers,
      ...(method === "POST" && { body: request }),
    });
    const bytes = await body.bytes();
    if (statusCode >= 300) throw new Error(`${url}: ${statusCode} ${new TextDecoder().decode(bytes)}`);
    return bytes;
  };
}
