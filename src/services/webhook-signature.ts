/**
 * The two signatures of a webhook. Receivers compute the same HMAC-SHA256 over what arrived and compare:
 * - Standard Webhooks (its specification, "Signature scheme"): `webhook-id`, `webhook-timestamp` and
 *   `webhook-signature`, over `<id>.<timestamp>.<body>`;
 * - WriftAI's: `wriftai-webhook-signature`, over `<timestamp>.<body>`.
 */
import { createHmac } from "node:crypto";
import type { Delivery } from "../domain/webhook.ts";

/** The headers that identify and sign one attempt. Without a secret there is nothing to sign with. */
export function signatureHeaders(
  { id, secret, format, body }: Pick<Delivery, "id" | "secret" | "format" | "body">,
  timestampSeconds: number,
): Readonly<Record<string, string>> {
  const named = { "webhook-id": id, "webhook-timestamp": String(timestampSeconds) };
  if (secret === "") return named;
  const signed = { ...named, "webhook-signature": signStandard(secret, id, timestampSeconds, body) };
  switch (format) {
    case "auspex":
      return signed;
    case "wriftai":
      return { ...signed, "wriftai-webhook-signature": signWriftai(secret, timestampSeconds, body) };
    default:
      return format satisfies never;
  }
}

/** The value of `webhook-signature`: `v1,<base64>`. */
export function signStandard(secret: string, id: string, timestampSeconds: number, body: string): string {
  const mac = createHmac("sha256", standardKey(secret)).update(`${id}.${timestampSeconds}.${body}`, "utf8");
  return `v1,${mac.digest("base64")}`;
}

/** The value of `wriftai-webhook-signature`: `t=<seconds>,v1=<hex>`, without blanks, which its client chokes on. */
export function signWriftai(secret: string, timestampSeconds: number, body: string): string {
  const mac = createHmac("sha256", Buffer.from(secret, "utf8")).update(`${timestampSeconds}.${body}`, "utf8");
  return `t=${timestampSeconds},v1=${mac.digest("hex")}`;
}

/** `whsec_` and base64 is how the standard writes down a key; any other secret is the key as it stands. */
function standardKey(secret: string): Buffer {
  const base64 = /^whsec_((?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?)$/.exec(secret)?.[1];
  return base64 ? Buffer.from(base64, "base64") : Buffer.from(secret, "utf8");
}
