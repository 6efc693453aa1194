/** Which documents can be read, and what a file is. */
import { AuspexError } from "../../../domain/error.ts";

/** Media types by the extensions of file names. */
const EXTENSIONS = {
  "text/plain": ["txt", "text", "log"],
  "text/markdown": ["md", "markdown", "mdx"],
  "text/html": ["html", "htm", "xhtml"],
  "text/csv": ["csv"],
  "application/json": ["json"],
  "application/pdf": ["pdf"],
} as const satisfies Record<string, readonly string[]>;

export type DocumentType = keyof typeof EXTENSIONS;

export const DOCUMENT_TYPES = Object.keys(EXTENSIONS) as readonly DocumentType[];

/** Other names of them that are in use. */
const ALIASES: ReadonlyMap<string, DocumentType> = new Map<string, DocumentType>([
  ["text/x-markdown", "text/markdown"],
  ["application/xhtml+xml", "text/html"],
  ["application/csv", "text/csv"],
  ["application/vnd.ms-excel", "text/csv"],
  ["text/json", "application/json"],
  ["application/x-pdf", "application/pdf"],
]);

const PDF_MAGIC = "%PDF-";
/** Where readers of PDF look for it. */
const PDF_MAGIC_WITHIN = 1024;

/**
 * @param mediaType as declared; "" and application/octet-stream, which is what programs send that do not know, for what
 *   the name's extension says
 * @throws AuspexError `invalid_argument`
 */
export function documentType(name: string, mediaType: string, bytes: Uint8Array): DocumentType {
  const declared = mediaType.split(";", 1)[0]?.trim().toLowerCase() ?? "";
  const isUntold = declared === "" || declared === "application/octet-stream";
  const type = isUntold ? byExtension(name) : (known(declared) ?? ALIASES.get(declared));
  if (!type) {
    const what = isUntold ? "its name says nothing of its type" : `${declared.slice(0, 100)} cannot be read`;
    throw new AuspexError("invalid_argument", `${what}; it must be one of ${DOCUMENT_TYPES.join(", ")}`);
  }
  const isPdf = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    .subarray(0, PDF_MAGIC_WITHIN)
    .includes(PDF_MAGIC);
  if (type === "application/pdf" && !isPdf) {
    throw new AuspexError("invalid_argument", "it is declared as application/pdf and holds no PDF");
  }
  if (type !== "application/pdf" && startsWith(bytes, PDF_MAGIC)) {
    throw new AuspexError("invalid_argument", `it is declared as ${type} and holds a PDF`);
  }
  return type;
}

function known(type: string): DocumentType | undefined {
  return DOCUMENT_TYPES.find((each) => each === type);
}

function byExtension(name: string): DocumentType | undefined {
  const extension = /\.([a-z]+)$/.exec(name.toLowerCase())?.[1];
  return DOCUMENT_TYPES.find((type) => EXTENSIONS[type].some((each) => each === extension));
}

function startsWith(bytes: Uint8Array, text: string): boolean {
  return [...text].every((char, index) => bytes[index] === char.charCodeAt(0));
}
