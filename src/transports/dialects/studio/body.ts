/**
 * What a request brings, whichever way: as JSON, as a form, URL-encoded, and as the clients of this API really send
 * them. A body that begins with `{` is JSON whatever its type says; a form whose type names no boundary has it in its
 * first line; a field is known by its name, whether or not it has a file's.
 */
import type { FastifyRequest } from "fastify";
import type { Config } from "../../../config.ts";
import type { JsonObject, JsonValue } from "../../../domain/payload.ts";
import { isDeeper } from "../../../services/check.ts";
import { countJsonValues } from "../../json-values.ts";
import { BadForm, type Part, readMultipart } from "../../multipart.ts";
import { Refused } from "./errors.ts";
import { hasKnownExtension } from "./media-type.ts";

export interface FormFile {
  /** Without a path; never empty. */
  readonly name: string;
  /** As sent, lower case; "" where the sender does not know. */
  readonly mediaType: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

export interface Fields {
  /** By name; a form's are texts. */
  readonly values: ReadonlyMap<string, JsonValue>;
  /** What came under `files`, without empty ones. */
  readonly files: readonly FormFile[];
}

/** The name under which files come. */
const FILES = "files";
/** Documents of one upsert, and some fields with them. */
const PARTS_MAX = 128;
/** Between the body and what a field holds. */
const LEVELS_AROUND = 2;
/** RFC 2046 §5.1.1: at most 70 characters, the last one no blank. */
const FIRST_LINE = /^--([0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?])\r?\n/;
const UTF8 = new TextDecoder("utf-8", { fatal: true });
/** In which a body shows what it is. */
const HEAD_BYTES = 1024;

/** Rejects with `Refused` 400 for what is none of these, 413 for too many parts or values. */
export async function readFields(request: FastifyRequest, config: Config): Promise<Fields> {
  const body = request.body instanceof Buffer ? request.body : Buffer.alloc(0);
  const contentType = request.headers["content-type"] ?? "";
  const [type = ""] = contentType.toLowerCase().split(";", 1);
  const encoding = request.headers["content-encoding"] ?? "identity";
  if (encoding.toLowerCase() !== "identity")
    throw new Refused(415, `Content-Encoding ${encoding} is not supported`);
  if (body.length === 0) return { values: new Map(), files: [] };
  if (beginsWithBrace(body)) return ofJson(parseJson(body, config));
  switch (type.trim()) {
    case "multipart/form-data":
      return ofParts(await readParts(contentType, body));
    case "application/x-www-form-urlencoded":
      return { values: new Map(new URLSearchParams(decode(body))), files: [] };
    default:
      throw new Refused(400, "The body must be a JSON object or multipart/form-data");
  }
}

/** The same as one object, for calls that take nothing but JSON. */
export async function readObject(request: FastifyRequest, config: Config): Promise<JsonObject> {
  return Object.fromEntries((await readFields(request, config)).values);
}

/** Behind a byte order mark and blanks, of which nobody sends many. */
function beginsWithBrace(body: Buffer): boolean {
  return /^(?:\xef\xbb\xbf)?[ \t\r\n]*\{/.test(body.subarray(0, HEAD_BYTES).toString("latin1"));
}

/** Throws `Refused` 400. */
function parseJson(bytes: Buffer, config: Config, where = "The body"): JsonValue {
  const tooMany = countJsonValues(bytes) > config.MAX_JSON_VALUES;
  if (tooMany) throw new Refused(413, `${where} has more than ${config.MAX_JSON_VALUES} values`);
  const text = decode(bytes, where);
  let value: JsonValue;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Refused(400, `${where} is not valid JSON`);
  }
  if (isDeeper(value, config.MAX_JSON_DEPTH + LEVELS_AROUND)) {
    throw new Refused(400, `${where} is nested deeper than ${config.MAX_JSON_DEPTH} levels`);
  }
  return value;
}

function ofJson(value: JsonValue): Fields {
  if (!isObject(value)) throw new Refused(400, "The body is not a JSON object");
  const { [FILES]: given, ...fields } = value;
  const texts = (Array.isArray(given) ? given : [given]).filter(
    (file) => file !== undefined && file !== null,
  );
  const files = texts.flatMap((file, index) => {
    if (typeof file !== "string") throw new Refused(400, `${FILES}[${index}]: must be a string`);
    return file === "" ? [] : [fileOfText(file, index)];
  });
  return { values: new Map(Object.entries(fields)), files };
}

/** In JSON a file is a data URI, or its text as it is. */
function fileOfText(text: string, index: number): FormFile {
  const data = parseDataUri(text);
  if (data === "invalid") throw new Refused(400, `${FILES}[${index}]: is not data:<mime>;base64,<data>`);
  if (data) return { name: defaultName(index), ...data };
  return { name: defaultName(index), mediaType: "text/plain", bytes: Buffer.from(text) };
}

async function readParts(contentType: string, body: Buffer): Promise<readonly Part[]> {
  try {
    return await readMultipart(withBoundary(contentType, body), body, PARTS_MAX);
  } catch (error) {
    throw error instanceof BadForm ? new Refused(error.status, error.message) : error;
  }
}

function withBoundary(contentType: string, body: Buffer): string {
  if (/;\s*boundary\s*=/i.test(contentType)) return contentType;
  const boundary = FIRST_LINE.exec(body.subarray(0, 80).toString("latin1"))?.[1];
  if (boundary === undefined)
    throw new Refused(400, "The Content-Type names no boundary, nor does the body begin with one");
  return `multipart/form-data; boundary="${boundary}"`;
}

function ofParts(parts: readonly Part[]): Fields {
  const values = new Map<string, JsonValue>();
  const files: FormFile[] = [];
  for (const { name, fileName, mediaType, bytes } of parts) {
    if (name === FILES) {
      // A window without a chosen file sends an empty one.
      if (bytes.length > 0) files.push(fileOfPart(fileName, mediaType, bytes, files.length));
    } else values.set(name, textOf(name, fileName, bytes));
  }
  return { values, files };
}

function fileOfPart(fileName: string, mediaType: string, bytes: Buffer, index: number): FormFile {
  const name = withoutPath(fileName) || defaultName(index);
  // A sender that knows no type says octet-stream, or nothing, which a form takes for text.
  const isUnknown =
    mediaType === "application/octet-stream" || (mediaType === "text/plain" && hasKnownExtension(name));
  return { name, mediaType: isUnknown ? "" : mediaType, bytes: Uint8Array.from(bytes) };
}

/** Some clients give every field its own name as a file's; a real file under another name was meant to be one. */
function textOf(name: string, fileName: string, bytes: Buffer): string {
  if (fileName !== "" && fileName !== name && /\.\w+$/.test(fileName)) {
    throw new Refused(
      400,
      `Unexpected field ${JSON.stringify(name)}: files are taken as ${JSON.stringify(FILES)}`,
    );
  }
  return decode(bytes, `The field ${JSON.stringify(name)}`);
}

function decode(bytes: Buffer, where = "The body"): string {
  try {
    return UTF8.decode(bytes);
  } catch {
    throw new Refused(400, `${where} is not UTF-8 text`);
  }
}

export function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A form's fields hold JSON as text: parsed where it is an object's or a list's, else left as it is. */
export function ofText(name: string, value: JsonValue | undefined, config: Config): JsonValue | undefined {
  if (typeof value !== "string" || !/^\s*[[{]/.test(value)) return value;
  return parseJson(Buffer.from(value), config, name);
}

export function defaultName(index: number): string {
  return `file-${index + 1}`;
}

export function withoutPath(name: string): string {
  return name.slice(Math.max(name.lastIndexOf("/"), name.lastIndexOf("\\")) + 1);
}

const DATA_URI_HEAD = /^data:([\w.+-]+\/[\w.+-]+)?(?:;[^;,]*)*;base64$/i;

/** undefined for what is no data URI, `invalid` for one without a type, in another encoding, or of bad base64. */
export function parseDataUri(
  text: string,
): { readonly mediaType: string; readonly bytes: Uint8Array<ArrayBuffer> } | "invalid" | undefined {
  if (!/^data:/i.test(text)) return undefined;
  const comma = text.indexOf(",");
  const mediaType = DATA_URI_HEAD.exec(text.slice(0, Math.max(0, comma)))?.[1];
  const base64 = text.slice(comma + 1);
  if (mediaType === undefined || !/^[A-Za-z0-9+/]*={0,2}$/.test(base64)) return "invalid";
  const bytes = Buffer.from(base64, "base64");
  if (Math.ceil((bytes.length * 4) / 3) !== base64.replace(/=+$/, "").length) return "invalid";
  return { mediaType: mediaType.toLowerCase(), bytes };
}
