/**
 * Lists: `page_size` and `cursor` in, the envelope of exactly five keys out (spec/wriftai.md §1.5: the Python client
 * breaks on a sixth).
 */
import type { FastifyRequest } from "fastify";
import type { JsonObject, JsonValue } from "../../../domain/payload.ts";
import { type Complaints, checkInteger, isObject } from "./checks.ts";
import { lastOf, queryOf } from "./request.ts";

const PAGE_SIZE = { default: 25, range: { ge: 5, le: 50 } };

/** What a cursor wraps: an operation's page token, or a position in a list that comes in one piece. */
export type Cursor = string | number;

export interface PageRequest {
  readonly size: number;
  /** undefined for the first page. */
  readonly cursor: Cursor | undefined;
}

/** A cursor is base64url of `{"page": …}`. */
function encodeCursor(cursor: Cursor): string {
  return Buffer.from(JSON.stringify({ page: cursor })).toString("base64url");
}

function decodeCursor(text: string, kind: "string" | "number"): Cursor | undefined {
  if (!/^[A-Za-z0-9_-]+={0,2}$/.test(text)) return undefined;
  let value: JsonValue;
  try {
    value = JSON.parse(Buffer.from(text, "base64url").toString());
  } catch {
    return undefined;
  }
  const page = isObject(value) ? value.page : undefined;
  if (kind === "string" && typeof page === "string" && page !== "") return page;
  return kind === "number" && typeof page === "number" && Number.isSafeInteger(page) && page >= 0
    ? page
    : undefined;
}

export function decodePage(
  complaints: Complaints,
  request: FastifyRequest,
  kind: "string" | "number",
): PageRequest {
  const query = queryOf(request);
  const text = lastOf(query, "cursor") ?? "";
  const cursor = text === "" ? undefined : decodeCursor(text, kind);
  if (text !== "" && cursor === undefined) {
    complaints.add("value_error", ["query", "cursor"], "Value error, Invalid cursor", text, { error: {} });
  }
  const size = lastOf(query, "page_size");
  return {
    size:
      size === undefined
        ? PAGE_SIZE.default
        : (checkInteger(complaints, ["query", "page_size"], size, PAGE_SIZE.range) ?? PAGE_SIZE.default),
    cursor,
  };
}

/** One page, with what leads to its neighbours; undefined where there is none. */
export interface Page<T> {
  readonly items: readonly T[];
  readonly next: Cursor | undefined;
  readonly previous: Cursor | undefined;
}

/** @param url this list's own, absolute, without its query */
export function renderPage(
  request: FastifyRequest,
  url: string,
  { items, next, previous }: Page<JsonObject>,
): JsonObject {
  const urlOf = (cursor: string | null): string | null => {
    if (cursor === null) return null;
    const query = queryOf(request);
    query.set("cursor", cursor);
    return `${url}?${query}`;
  };
  const next_cursor = next === undefined ? null : encodeCursor(next);
  const previous_cursor = previous === undefined ? null : encodeCursor(previous);
  return {
    items: [...items],
    next_cursor,
    previous_cursor,
    next_url: urlOf(next_cursor),
    previous_url: urlOf(previous_cursor),
  };
}

/** One page of a list that comes in one piece. */
export function slicePage<T>(all: readonly T[], { size, cursor }: PageRequest): Page<T> {
  const start = typeof cursor === "number" ? Math.min(cursor, all.length) : 0;
  return {
    items: all.slice(start, start + size),
    next: start + size < all.length ? start + size : undefined,
    previous: start > 0 ? Math.max(0, start - size) : undefined,
  };
}
