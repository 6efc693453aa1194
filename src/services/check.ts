/** What checks of requests are made of. A check adds complaints; `validation.ts` has the table of them. */
import type { Duration, Timestamp } from "@bufbuild/protobuf/wkt";
import { parseUuid } from "../domain/id.ts";
import { isOutsideId, parseModelRef } from "../domain/model.ts";
import type { JsonValue } from "../domain/payload.ts";

/** The limits that a check may need; a part of the server's configuration. */
export interface Limits {
  readonly WAIT_MAX: number;
  readonly MAX_TENSOR_ELEMENTS: number;
  readonly MAX_JSON_DEPTH: number;
  readonly MAX_EXAMPLE_BYTES: number;
}

export const URL_LENGTH_MAX = 2048;
const PAGE_SIZE_MAX = 200;
export const PAGE_TOKEN_LENGTH_MAX = 1024;

export type Complain = (field: string, reason: string, description: string) => void;

export type Check<T> = (request: T, complain: Complain, limits: Limits) => void;

/** A model, a version of it, or an outside id that the caller has an alias of. */
export function modelRef(complain: Complain, field: string, value: string): void {
  if (value === "") complain(field, "required", "is required, in the form owner/name or owner/name:version");
  else if (!parseModelRef(value) && !isOutsideId(value)) {
    complain(
      field,
      "format",
      "must be owner/name or owner/name:version, of a-z, 0-9, '-', '_' and '.', or an id that is an alias",
    );
  }
}

/** What an alias can be: a name, or an outside id. */
export function modelAlias(complain: Complain, field: string, value: string): void {
  if (!isOutsideId(value)) modelName(complain, field, value);
}

export function modelName(complain: Complain, field: string, value: string): void {
  if (value === "") complain(field, "required", "is required, in the form owner/name");
  else if (!parseModelRef(value) || value.includes(":")) {
    complain(field, "format", "must be owner/name, of a-z, 0-9, '-', '_' and '.'");
  }
}

export function versionNumber(complain: Complain, value: number): void {
  if (value < 1) complain("version", "required", "is required, from 1 up");
}

export function uuid(complain: Complain, value: string): void {
  if (value === "") complain("id", "required", "is required");
  else if (parseUuid(value) === undefined) complain("id", "format", "must be a UUID");
}

export function length(complain: Complain, field: string, value: string, max: number): void {
  if (value.length > max)
    complain(field, "too_long", `has ${value.length} characters; at most ${max} are allowed`);
}

export function pageSize(complain: Complain, value: number): void {
  if (value > PAGE_SIZE_MAX) complain("page_size", "out_of_range", `must be 0 to ${PAGE_SIZE_MAX}`);
}

export function url(complain: Complain, field: string, value: string): void {
  if (value === "") complain(field, "required", "is required");
  else if (value.length > URL_LENGTH_MAX) length(complain, field, value, URL_LENGTH_MAX);
  else if (!URL.canParse(value)) complain(field, "format", "must be an absolute http or https URL");
  else if (!/^https?:$/.test(new URL(value).protocol)) {
    complain(field, "format", "must be an http or https URL");
  }
}

/** Milliseconds of a duration; NaN for one that google.protobuf.Duration does not allow. */
export function durationMs(duration: Duration): number {
  const { seconds, nanos } = duration;
  const mixed = (seconds > 0n && nanos < 0) || (seconds < 0n && nanos > 0);
  return mixed || Math.abs(nanos) > 999_999_999 ? Number.NaN : Number(seconds) * 1000 + nanos / 1e6;
}

/** Whole microseconds since the epoch, the next where it lies between two; NaN for what is not a time. */
export function timestampUs({ seconds, nanos }: Timestamp): number {
  const us = Number(seconds) * 1e6 + Math.ceil(nanos / 1000);
  return nanos >= 0 && nanos <= 999_999_999 && Number.isSafeInteger(us) ? us : Number.NaN;
}

export function duration(
  complain: Complain,
  field: string,
  value: Duration,
  max: number,
  positive: boolean,
): void {
  const ms = durationMs(value);
  if (!(ms <= max && (positive ? ms > 0 : ms >= 0))) {
    complain(field, "out_of_range", `must be ${positive ? "more than 0" : "0"} to ${max / 1000} s`);
  }
}

/** Levels of nesting, counted without recursion and not beyond one more than `limit`. */
export function isDeeper(value: JsonValue, limit: number): boolean {
  let level: JsonValue[] = [value];
  for (let depth = 1; level.length > 0; depth++) {
    const next: JsonValue[] = [];
    for (const item of level) {
      if (typeof item !== "object" || item === null) continue;
      if (depth > limit) return true;
      for (const child of Object.values(item))
        if (typeof child === "object" && child !== null) next.push(child);
    }
    level = next;
  }
  return false;
}

/** Of a key in a path; a longer one is cut. */
const KEY_SHOWN_LENGTH = 256;

/** Path of a number that JSON does not have, which a binary message may carry all the same; undefined for none. */
function nonFinitePath(value: JsonValue, path: string): string | undefined {
  if (typeof value === "number") return Number.isFinite(value) ? undefined : path;
  if (typeof value !== "object" || value === null) return undefined;
  const isList = Array.isArray(value);
  for (const [key, child] of isList ? value.entries() : Object.entries(value)) {
    // Most are numbers that are in order: a path is made of those that may be at fault alone.
    if (typeof child === "string" || (typeof child === "number" && Number.isFinite(child))) continue;
    const part = isList
      ? `[${key}]`
      : /^\w{1,64}$/.test(`${key}`)
        ? `.${key}`
        : `[${JSON.stringify(`${key}`.slice(0, KEY_SHOWN_LENGTH))}]`;
    const found = nonFinitePath(child, `${path}${part}`);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Whether it is not nested too deep, and has no number that is none; complains if it is not. */
export function plainJson(complain: Complain, field: string, value: JsonValue, depthMax: number): boolean {
  if (isDeeper(value, depthMax)) {
    complain(field, "too_deep", `is nested deeper than ${depthMax} levels`);
    return false;
  }
  const path = nonFinitePath(value, field);
  if (path !== undefined) complain(path, "not_finite", "is NaN or infinite");
  return path === undefined;
}

/** A whole number that 0 leaves to us. */
export function atMost(complain: Complain, field: string, value: number, max: number): void {
  if (value > max) complain(field, "out_of_range", `must be 0 to ${max}`);
}

/** A page of a list of our own size: its size and its token. */
export function page(
  complain: Complain,
  request: { readonly pageSize: number; readonly pageToken: string },
  max: number,
): void {
  atMost(complain, "page_size", request.pageSize, max);
  length(complain, "page_token", request.pageToken, PAGE_TOKEN_LENGTH_MAX);
}

export const byId: Check<{ readonly id: string }> = (request, complain) => uuid(complain, request.id);
