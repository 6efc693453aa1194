/** Archives as tests need them, hostile ones included. */
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { Header } from "tar";

export interface Member {
  readonly path: string;
  readonly data?: string | Buffer;
  readonly type?: "File" | "SymbolicLink" | "Link";
  readonly linkpath?: string;
}

/** A gzipped tar file with exactly these members, whatever their paths are. */
export function tarball(members: readonly Member[]): Buffer {
  const blocks: Buffer[] = [];
  for (const { path, data = "", type = "File", linkpath } of members) {
    const bytes = Buffer.from(data);
    const header = new Header({ path, type, size: bytes.length, mode: 0o644, ...(linkpath && { linkpath }) });
    header.encode();
    blocks.push(header.block ?? Buffer.alloc(512), bytes, Buffer.alloc(-bytes.length & 511));
  }
  return gzipSync(Buffer.concat([...blocks, Buffer.alloc(1024)]));
}

export function integrity(bytes: Buffer): string {
  return `sha512-${createHash("sha512").update(bytes).digest("base64")}`;
}
