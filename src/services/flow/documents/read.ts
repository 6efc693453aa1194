/** A document's parts, of whatever format it is. */
import { AuspexError } from "../../../domain/error.ts";
import { split } from "../splitter.ts";
import type { ReadCall } from "./call.ts";
import { readHtml } from "./html.ts";
import { readMarkdown } from "./markdown.ts";
import { type DocumentPart, Parts } from "./parts.ts";
import { readCsv, readJson } from "./table.ts";

/** What a library says of a file can be as long as the file. */
const COMPLAINT_LENGTH_MAX = 200;

/** @throws AuspexError `invalid_argument` for whatever is wrong with the file */
export async function readDocument(call: ReadCall): Promise<readonly DocumentPart[]> {
  const parts = new Parts(call.limits);
  try {
    await readInto(call, parts);
  } catch (error) {
    throw complaint(error);
  }
  if (parts.list.length === 0) {
    const hint = call.type === "application/pdf" ? "; pages that are pictures are not read" : "";
    throw new AuspexError("invalid_argument", `it holds no text${hint}`);
  }
  return call.passages === null ? parts.list : split(parts.list, call.passages);
}

async function readInto({ type, bytes }: ReadCall, parts: Parts): Promise<void> {
  if (type === "application/pdf") {
    // It takes half a second of a core to load: only where it is needed.
    const { readPdf } = await import("./pdf.ts");
    return readPdf(bytes, parts);
  }
  const text = decode(bytes);
  switch (type) {
    case "text/plain":
      return parts.add(text);
    case "text/markdown":
      return readMarkdown(text, parts);
    case "text/html":
      return readHtml(text, parts);
    case "text/csv":
      return readCsv(text, parts);
    case "application/json":
      return readJson(text, parts);
    default:
      return type satisfies never;
  }
}

function decode(bytes: Uint8Array): string {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new AuspexError("invalid_argument", "it is not text in UTF-8");
  }
  if (text.includes("\0"))
    throw new AuspexError("invalid_argument", "it holds NUL bytes and so is no text in UTF-8");
  return text;
}

function complaint(error: unknown): AuspexError {
  if (error instanceof AuspexError) return error;
  // Of the parsers, which go down into a document as deep as it is.
  if (error instanceof RangeError && /call stack/.test(error.message)) {
    return new AuspexError("invalid_argument", "it is nested too deep");
  }
  const message = error instanceof Error ? error.message : String(error);
  return new AuspexError("invalid_argument", `it cannot be read: ${message.slice(0, COMPLAINT_LENGTH_MAX)}`);
}
