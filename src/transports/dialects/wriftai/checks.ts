/**
 * Values of a request as Pydantic reads them, and its complaints word for word (spec/wriftai.md §1.8). Each check
 * answers the value, or adds to the complaints and answers undefined: one 422 tells everything that is wrong.
 */
import type { JsonObject, JsonValue } from "../../../domain/payload.ts";
import { type Complaint, Refused } from "./errors.ts";

type Location = readonly (string | number)[];

/** Characters of JSON. A longer value is not sent back: the answer would be a multiple of the request. */
export const ECHO_MAX = 65_536;

/** Gathers what is wrong with one request. FastAPI's order: path, query, header, body. */
export class Complaints {
  readonly #items: Complaint[] = [];

  add(type: string, loc: Location, msg: string, input: JsonValue, ctx?: Complaint["ctx"]): undefined {
    const echo = fits(input) ? { input } : {};
    this.#items.push({ type, loc, msg, ...echo, ...(ctx && { ctx }) });
    return undefined;
  }

  /** @throws Refused when there is anything to complain about */
  settle(): void {
    if (this.#items.length > 0) throw new Refused(422, this.#items);
  }
}

function fits(input: JsonValue): boolean {
  return (typeof input === "object" ? JSON.stringify(input) : String(input)).length <= ECHO_MAX;
}

export function isObject(value: JsonValue): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A member that the JSON text had; never what objects inherit. */
export function member(object: JsonObject, name: string): JsonValue | undefined {
  return Object.hasOwn(object, name) ? object[name] : undefined;
}

export function missing(complaints: Complaints, loc: Location, input: JsonValue): undefined {
  return complaints.add("missing", loc, "Field required", input);
}

export function checkObject(complaints: Complaints, loc: Location, value: JsonValue): JsonObject | undefined {
  if (isObject(value)) return value;
  const msg = "Input should be a valid dictionary or object to extract fields from";
  return complaints.add("model_attributes_type", loc, msg, value);
}

export function checkDictionary(
  complaints: Complaints,
  loc: Location,
  value: JsonValue,
): JsonObject | undefined {
  if (isObject(value)) return value;
  return complaints.add("dict_type", loc, "Input should be a valid dictionary", value);
}

export function checkString(complaints: Complaints, loc: Location, value: JsonValue): string | undefined {
  if (typeof value === "string") return value;
  return complaints.add("string_type", loc, "Input should be a valid string", value);
}

const BOOLEANS: Readonly<Record<string, boolean>> = Object.assign(Object.create(null), {
  ...Object.fromEntries(["true", "1", "yes", "on", "t", "y"].map((word) => [word, true])),
  ...Object.fromEntries(["false", "0", "no", "off", "f", "n"].map((word) => [word, false])),
});

export function checkBoolean(complaints: Complaints, loc: Location, text: string): boolean | undefined {
  const value = BOOLEANS[text.toLowerCase()];
  if (value !== undefined) return value;
  return complaints.add(
    "bool_parsing",
    loc,
    "Input should be a valid boolean, unable to interpret input",
    text,
  );
}

/** Blanks around, a sign, `1_000` and `5.0` are all integers to Pydantic. */
const INTEGER = /^\s*([+-]?)([0-9]+(?:_[0-9]+)*)(?:\.0+)?\s*$/;

export function checkInteger(
  complaints: Complaints,
  loc: Location,
  text: string,
  { ge, le }: { readonly ge?: number; readonly le?: number } = {},
): number | undefined {
  const match = INTEGER.exec(text);
  if (!match) {
    const msg = "Input should be a valid integer, unable to parse string as an integer";
    return complaints.add("int_parsing", loc, msg, text);
  }
  const [, sign, digits = ""] = match;
  const value = Number(digits.replaceAll("_", "")) * (sign === "-" ? -1 : 1);
  if (ge !== undefined && value < ge) {
    const msg = `Input should be greater than or equal to ${ge}`;
    return complaints.add("greater_than_equal", loc, msg, text, { ge });
  }
  if (le !== undefined && value > le) {
    return complaints.add("less_than_equal", loc, `Input should be less than or equal to ${le}`, text, {
      le,
    });
  }
  return value;
}

export function checkEnum<T extends string>(
  complaints: Complaints,
  loc: Location,
  text: string,
  allowed: readonly [T, T],
): T | undefined {
  const found = allowed.find((value) => value === text);
  if (found !== undefined) return found;
  const expected = `'${allowed[0]}' or '${allowed[1]}'`;
  return complaints.add("enum", loc, `Input should be ${expected}`, text, { expected });
}

export function checkUrl(complaints: Complaints, loc: Location, value: JsonValue): string | undefined {
  if (typeof value !== "string") {
    return complaints.add("url_type", loc, "URL input should be a string or URL", value);
  }
  if (!URL.canParse(value)) {
    const error = urlFault(value);
    return complaints.add("url_parsing", loc, `Input should be a valid URL, ${error}`, value, { error });
  }
  if (!/^https?:$/.test(new URL(value).protocol)) {
    const expected = "'http' or 'https'";
    return complaints.add("url_scheme", loc, `URL scheme should be ${expected}`, value, {
      expected_schemes: expected,
    });
  }
  return value;
}

/** Why the text is no URL, in the words of the URL parser that Pydantic uses. */
function urlFault(text: string): string {
  if (text === "") return "input is empty";
  const scheme = /^[\s\p{Cc}]*[a-z][a-z0-9+.-]*:/iu.exec(text);
  if (!scheme) return "relative URL without a base";
  const [authority = ""] = text
    .slice(scheme[0].length)
    .replace(/^[/\\]*/, "")
    .split(/[/\\?#]/, 1);
  const hostPort = authority.slice(authority.lastIndexOf("@") + 1);
  if (hostPort.startsWith("[")) return "invalid IPv6 address";
  const [host = "", port = ""] = hostPort.split(":", 2);
  if (host === "") return "empty host";
  if (port !== "" && !(/^[0-9]+$/.test(port) && Number(port) <= 65_535)) return "invalid port number";
  return /(?:^|\.)[0-9]+\.?$/.test(host) ? "invalid IPv4 address" : "invalid international domain name";
}

const UUID_FORM =
  /^(?:urn:uuid:)?([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})$/i;

/** Answers the UUID in lower case with hyphens. 32 digits alone, braces and `urn:uuid:` are read as well. */
export function checkUuid(complaints: Complaints, loc: Location, text: string): string | undefined {
  const error = uuidFault(text);
  if (error !== undefined) {
    return complaints.add("uuid_parsing", loc, `Input should be a valid UUID, ${error}`, text, { error });
  }
  const [, ...groups] = UUID_FORM.exec(text.replace(/^\{(.*)\}$/, "$1")) ?? [];
  return groups.join("-").toLowerCase();
}

const GROUP_LENGTHS = [8, 4, 4, 4, 12];

/** What is wrong with a UUID in the words of the parser that Pydantic uses; undefined when nothing is. */
function uuidFault(text: string): string | undefined {
  const wrapped = /^\{(.*)\}$/s.exec(text) ?? /^urn:uuid:(.*)$/s.exec(text);
  const body = wrapped?.[1] ?? text;
  const bad = /[^0-9a-f-]/iu.exec(body);
  if (bad) return `invalid character: found \`${bad[0]}\` at ${bad.index}`;
  const groups = body.split("-");
  if (groups.length === 1 && !wrapped) {
    return body.length === 32 ? undefined : `invalid length: found ${body.length}`;
  }
  if (groups.length !== 5) return `invalid group count: expected 5, found ${groups.length}`;
  const index = groups.findIndex((group, i) => group.length !== GROUP_LENGTHS[i]);
  if (index < 0) return undefined;
  const found = groups[index]?.length ?? 0;
  return `invalid group length in group ${index}: expected ${GROUP_LENGTHS[index]}, found ${found}`;
}
