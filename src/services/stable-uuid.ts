/** UUIDs for what has a name and no row of its own. */
import { createHash } from "node:crypto";

/** The same for the same name always (RFC 9562 §5.8: version 8, from SHA-256). */
export function stableUuid(kind: "model" | "user" | "question" | "answer", name: string): string {
  const bytes = createHash("sha256").update(`${kind}:${name}`).digest().subarray(0, 16);
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x80;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
