/** A request's parameters, whichever way they came: URL-encoded as recorded, as JSON, as a form, or in the path. */
import type { FastifyRequest } from "fastify";
import type { JsonValue } from "../../../domain/payload.ts";
import { countJsonValues } from "../../json-values.ts";
import { BadForm, type Part, readMultipart } from "../../multipart.ts";
import { Refused } from "./errors.ts";

/** By name; of a repeated one the last counts, and the body's counts before the query's. */
export type Parameters = ReadonlyMap<string, string>;

/** Bytes of a body that holds parameters: two ids, or an address and what to remember with it. */
const BODY_MAX = 1024 * 1024;
const UTF8 = new TextDecoder("utf-8", { fatal: true });

export async function readParameters(request: FastifyRequest, valuesMax: number): Promise<Parameters> {
  const query = new URLSearchParams(request.url.split("?", 2)[1] ?? "");
  const body = bodyOf(request);
  if (body.length > BODY_MAX) throw new Refused(413, `The body is larger than ${BODY_MAX} bytes`);
  return new Map([...query, ...(await readBody(typeOf(request), body, valuesMax))]);
}

async function readBody(type: string, body: Buffer, valuesMax: number): Promise<Iterable<[string, string]>> {
  if (body.length === 0) return [];
  switch (type.split(";", 1)[0]?.trim().toLowerCase()) {
    case "application/json":
      return readJson(body, valuesMax);
    case "multipart/form-data":
      return (await readParts(type, body)).map(({ name, bytes }) => [name, decode(bytes)]);
    case "application/x-www-form-urlencoded":
      return new URLSearchParams(decode(body));
    default:
      // What is no form has no parameters.
      return [];
  }
}

function readJson(body: Buffer, valuesMax: number): [string, string][] {
  if (countJsonValues(body) > valuesMax) throw new Refused(413, `The body has more than ${valuesMax} values`);
  const text = decode(body);
  let value: JsonValue;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Refused(400, "The body is not JSON");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new Refused(400, "The body is not a JSON object");
  }
  // Lists and objects are parameters that no route here asks for.
  return Object.entries(value).flatMap(([name, item]) =>
    item === null || typeof item === "object" ? [] : [[name, String(item)]],
  );
}

/** The picture that was sent, as a form's file or as the whole body. */
export async function readPicture(request: FastifyRequest): Promise<Uint8Array> {
  const body = bodyOf(request);
  const type = typeOf(request);
  if (!/^multipart\/form-data\s*(?:;|$)/i.test(type)) return body;
  const file = (await readParts(type, body)).find(({ fileName }) => fileName !== "");
  if (!file) throw new Refused(422, "The form has no file");
  return file.bytes;
}

async function readParts(type: string, body: Buffer): Promise<readonly Part[]> {
  try {
    return await readMultipart(type, body);
  } catch (error) {
    throw error instanceof BadForm ? new Refused(error.status, error.message) : error;
  }
}

function bodyOf({ body }: FastifyRequest): Buffer {
  return body instanceof Buffer ? body : Buffer.alloc(0);
}

function typeOf({ headers }: FastifyRequest): string {
  return headers["content-type"] ?? "";
}

function decode(bytes: Buffer): string {
  try {
    return UTF8.decode(bytes);
  } catch {
    throw new Refused(400, "The body is not UTF-8 text");
  }
}
