/**
 * How this dialect writes an answer: the headers that its API has always sent, in their order and spelling
 * (spec/einstein-prediction.md §2.3). They bypass Fastify, which would spell and order them its own way.
 */
import { randomUUID } from "node:crypto";
import type { FastifyReply } from "fastify";
import type { JsonValue } from "../../../domain/payload.ts";

export interface Answer {
  readonly status: number;
  /** undefined is no body. */
  readonly body: JsonValue | undefined;
  /** Beside the constant ones. */
  readonly headers?: Readonly<Record<string, string>>;
  /** The caller's token, issued anew; undefined for a caller without one. */
  readonly token?: string | undefined;
  /** Why there is no body. */
  readonly message?: string;
}

const FIRST = {
  "Cache-Control": "no-cache, no-store",
  Pragma: "no-cache",
  Expires: "Fri, 01 Jan 1990 00:00:00 GMT",
} as const;

const LAST = {
  "X-Frame-Options": "DENY",
  "X-Content-Type-Options": "nosniff",
  "X-XSS-Protection": "1; mode=block",
  "X-Download-Options": "noopen",
  "X-Permitted-Cross-Domain-Policies": "none",
  "Referrer-Policy": "origin-when-cross-origin, strict-origin-when-cross-origin",
} as const;

/**
 * Sends it and takes the reply out of Fastify's hands.
 *
 * @param tookMs since the request came
 */
export function writeAnswer(reply: FastifyReply, answer: Answer, tookMs: number): void {
  const { status, body, headers, token, message } = answer;
  const payload = Buffer.from(body === undefined ? "" : JSON.stringify(body));
  const all: Readonly<Record<string, string | undefined>> = {
    ...FIRST,
    "X-message": message,
    "Content-Type": body === undefined ? "text/html" : "application/json; charset=utf-8",
    "X-token": token,
    Vary: "Accept-Encoding",
    P3P: 'CP="NOI ADM DEV PSAi COM NAV OUR OTRo STP IND DEM"',
    "X-Request-Id": randomUUID(),
    // Seconds.
    "X-Runtime": (tookMs / 1000).toFixed(6),
    ...LAST,
    ...headers,
    "Content-Length": String(payload.length),
  };
  const sent = Object.entries(all).flatMap(([name, value]) => (value === undefined ? [] : [name, value]));
  reply.hijack();
  reply.raw.writeHead(status, sent).end(payload);
}
