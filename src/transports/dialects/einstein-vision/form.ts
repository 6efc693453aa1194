/** A request's parameters, whichever way they came: as a multipart form, as JSON, or URL-encoded. */
import type { FastifyRequest } from "fastify";
import type { JsonValue } from "../../../domain/payload.ts";
import { countJsonValues } from "../../json-values.ts";
import { BadForm, type Part, readMultipart } from "../../multipart.ts";
import { badParameter, refuse } from "./errors.ts";

/** Parameters by name, each as often as it was sent; an empty one counts as not sent. */
export type Form = ReadonlyMap<string, readonly Part[]>;

/** Which bodies a call takes: forms, forms or JSON, or URL-encoded ones. */
export type Encoding = "form" | "form-or-json" | "urlencoded";

/** Bytes of a text parameter: the longest are 250 labels of 180 characters, and tokens of 4096. */
const TEXT_MAX = 65_536;
const UTF8 = new TextDecoder("utf-8", { fatal: true });

/** Rejects with `Refused` 400 for a body that is no such form, 413 for one of too many values. */
export async function readForm(
  request: FastifyRequest,
  encoding: Encoding,
  valuesMax: number,
): Promise<Form> {
  const body = request.body instanceof Buffer ? request.body : Buffer.alloc(0);
  if (body.length === 0) return new Map();
  const contentType = request.headers["content-type"] ?? "";
  const [mediaType = ""] = contentType.toLowerCase().split(";", 1);
  switch (`${encoding} ${mediaType.trim()}`) {
    case "form multipart/form-data":
    case "form-or-json multipart/form-data":
      return formOf(await readParts(contentType, body));
    case "form-or-json application/json":
      return formOf(readJson(body, valuesMax));
    case "urlencoded application/x-www-form-urlencoded":
      return formOf(readUrlEncoded(body));
    default:
      throw refuse(CONTENT_TYPE_REFUSAL[encoding]);
  }
}

const CONTENT_TYPE_REFUSAL = {
  form: "contentType",
  "form-or-json": "contentTypeOrJson",
  urlencoded: "contentTypeForm",
} as const satisfies Record<Encoding, string>;

async function readParts(contentType: string, body: Buffer): Promise<readonly Part[]> {
  try {
    return await readMultipart(contentType, body);
  } catch (error) {
    throw error instanceof BadForm ? refuse(error.status === 413 ? "manyParts" : "multipart") : error;
  }
}

function formOf(parts: Iterable<Part>): Form {
  const sent = [...parts].filter(({ bytes }) => bytes.length > 0);
  return Map.groupBy(sent, ({ name }) => name.trim());
}

function textPart(name: string, text: string): Part {
  return { name, fileName: "", mediaType: "text/plain", bytes: Buffer.from(text) };
}

function readJson(body: Buffer, valuesMax: number): Part[] {
  if (countJsonValues(body) > valuesMax) throw refuse("manyParts");
  let value: JsonValue;
  try {
    value = JSON.parse(UTF8.decode(body));
  } catch {
    throw refuse("json");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw refuse("json");
  return Object.entries(value)
    .filter(([, item]) => item !== null)
    .map(([name, item]) => {
      if (typeof item === "object") throw refuse("json");
      return textPart(name, String(item));
    });
}

function readUrlEncoded(body: Buffer): Part[] {
  return [...new URLSearchParams(body.toString())].map(([name, value]) => textPart(name, value));
}

/** A text parameter without the blanks around it; undefined for none. Of a repeated one the last counts. */
export function textOf(form: Form, name: string): string | undefined {
  const bytes = form.get(name)?.at(-1)?.bytes;
  if (!bytes) return undefined;
  return decodeText(name, bytes, TEXT_MAX) || undefined;
}

/** Without the blanks around it. Throws `Refused` 400. */
export function decodeText(name: string, bytes: Buffer, bytesMax: number): string {
  if (bytes.length > bytesMax) {
    throw badParameter(name, `has ${bytes.length} bytes; at most ${bytesMax} are allowed`);
  }
  try {
    return UTF8.decode(bytes).trim();
  } catch {
    throw badParameter(name, "is not UTF-8 text");
  }
}

/** What may follow the slash of a file's type; parts that do not say are taken as what they turn out to be. */
const FILE_TYPES: ReadonlySet<string> = new Set(["zip", "octet-stream", "jpeg", "png", "binary", "plain"]);

/** The files of this name. Throws `Refused` when one has a type that is not taken. */
export function filesOf(form: Form, name: string): readonly Part[] {
  const files = form.get(name) ?? [];
  if (!files.every(({ mediaType }) => FILE_TYPES.has(mediaType.split("/")[1] ?? mediaType))) {
    throw refuse("fileFormat");
  }
  return files;
}

/** Whole, also as `3.0`; undefined for a text that is no such number. */
export function wholeNumber(text: string): number | undefined {
  const digits = /^([0-9]{1,15})(?:\.0*)?$/.exec(text)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/** undefined for none. Throws `Refused` for anything but a whole number from `min` up. */
export function integerOf(name: string, text: string | undefined, min: number): number | undefined {
  if (text === undefined) return undefined;
  const value = wholeNumber(text);
  if (value === undefined || value < min) throw badParameter(name, `must be a whole number from ${min} up`);
  return value;
}

/** undefined for none. Throws `Refused` for what is no number. */
export function decimalOf(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^[0-9]*\.?[0-9]+(?:e[-+]?[0-9]{1,3})?$/i.test(text)) throw badParameter(name, "must be a number");
  return Number(text);
}

export function queryOf(request: FastifyRequest): URLSearchParams {
  return new URLSearchParams(request.url.split("?", 2)[1] ?? "");
}

/** A path's part. */
export function pathPart(request: FastifyRequest, name: string): string {
  return ((request.params as Record<string, string | undefined>)[name] ?? "").trim();
}
