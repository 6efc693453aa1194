/** Fetches a zip into a file. Whatever goes wrong, there is one thing to tell; the reason is its cause. */
import { open } from "node:fs/promises";
import { AuspexError } from "../domain/error.ts";
import type { Egress } from "./egress.ts";

/** 2 GiB at 10 Mbit/s. */
const TIMEOUT_MS = 1_800_000;
/** A server that sends nothing for this long holds up others' imports. */
const STALL_MS = 30_000;

/** Every zip that has a file in it begins so. */
const SIGNATURE = Buffer.from("PK\x03\x04", "latin1");

export async function downloadZip(
  egress: Egress,
  { url, path, maxBytes, signal }: DownloadArgs,
): Promise<void> {
  try {
    const { status, headers } = await egress.download({
      url,
      headers: { accept: "application/zip, application/octet-stream" },
      path,
      maxBytes,
      timeoutMs: TIMEOUT_MS,
      stallMs: STALL_MS,
      signal,
    });
    if (status !== 200) throw new Error(`the URL answered ${status}`);
    const encoding = headers["content-encoding"] ?? "identity";
    if (encoding !== "identity")
      throw new Error(`the URL answered with content-encoding ${encoding}, unasked`);
    if (!(await beginsAsZip(path))) throw new Error("the URL answered something else than a zip");
  } catch (cause) {
    throw new AuspexError("invalid_argument", "Failed to download the dataset from the public URL.", {
      cause,
    });
  }
}

export interface DownloadArgs {
  readonly url: string;
  readonly path: string;
  readonly maxBytes: number;
  readonly signal: AbortSignal;
}

/** A link to a web page about the zip is the usual mistake. */
async function beginsAsZip(path: string): Promise<boolean> {
  const file = await open(path, "r");
  try {
    const { buffer, bytesRead } = await file.read({ buffer: Buffer.alloc(SIGNATURE.length), position: 0 });
    return bytesRead === SIGNATURE.length && buffer.equals(SIGNATURE);
  } finally {
    await file.close();
  }
}
