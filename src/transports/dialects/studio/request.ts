/** What several kinds of calls need of their path and query, and of operations that answer page by page. */
import { type Timestamp, timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { FastifyRequest } from "fastify";
import { Refused } from "./errors.ts";

export function pathPart(request: FastifyRequest, name: string): string {
  return (request.params as Record<string, string | undefined>)[name] ?? "";
}

export function queryOf(request: FastifyRequest): URLSearchParams {
  return new URLSearchParams(request.url.split("?", 2)[1] ?? "");
}

/** Ascending unless `DESC` is asked for. Throws `Refused` 400. */
export function isDescending(query: URLSearchParams, name = "order"): boolean {
  const order = query.get(name) || "ASC";
  if (!/^(?:asc|desc)$/i.test(order)) throw new Refused(400, `${name}: must be ASC or DESC`);
  return order.toLowerCase() === "desc";
}

/** `startDate` and `endDate`, as far as they are given. Throws `Refused` 400. */
export function periodOf(query: URLSearchParams): { startTime?: Timestamp; endTime?: Timestamp } {
  const [startTime, endTime] = [dateOf(query, "startDate"), dateOf(query, "endDate")];
  return { ...(startTime && { startTime }), ...(endTime && { endTime }) };
}

/** undefined for none. Throws `Refused` 400. */
function dateOf(query: URLSearchParams, name: string): Timestamp | undefined {
  const text = query.get(name);
  if (!text) return undefined;
  const date = new Date(text);
  if (Number.isNaN(date.getTime()))
    throw new Refused(400, `${name}: must be a date, e.g. 2026-01-31T12:00:00Z`);
  return timestampFromDate(date);
}

/** One word, or several as a JSON list. [] for none. */
export function wordsOf(query: URLSearchParams, name: string): readonly string[] {
  const text = query.get(name);
  if (!text) return [];
  if (!text.startsWith("[")) return [text];
  try {
    const words: unknown = JSON.parse(text);
    if (Array.isArray(words) && words.every((word) => typeof word === "string")) return words;
  } catch {
    // Told below.
  }
  throw new Refused(400, `${name}: must be a word or a JSON list of words`);
}

/** Items of one answer: with their sources they may have 100 KB each, and all are in memory at once. */
export const ITEMS_MAX = 2000;

export interface Page<T> {
  readonly items: readonly T[];
  /** "" on the last page. */
  readonly nextPageToken: string;
}

/**
 * All items of a list, or those of its page `page` of `limit` items where the query names both (from 1 up).
 * Rejects with `Refused` 400 for a list that is too long to be answered at once.
 */
export async function collect<T>(
  query: URLSearchParams,
  read: (pageToken: string) => Promise<Page<T>>,
): Promise<readonly T[]> {
  const [page, limit] = [wholeOf(query, "page"), wholeOf(query, "limit")];
  if (limit !== undefined && limit > ITEMS_MAX) throw new Refused(400, `limit: must be at most ${ITEMS_MAX}`);
  const isPaged = page !== undefined && limit !== undefined;
  const start = isPaged ? (page - 1) * limit : 0;
  // One more than may be answered tells whether there are more.
  const end = isPaged ? start + limit : ITEMS_MAX + 1;
  const items: T[] = [];
  let passed = 0;
  let token = "";
  do {
    const next = await read(token);
    items.push(...next.items.slice(Math.max(0, start - passed), Math.max(0, end - passed)));
    passed += next.items.length;
    token = next.nextPageToken;
  } while (token !== "" && passed < end);
  if (items.length > ITEMS_MAX) {
    throw new Refused(400, `There are more than ${ITEMS_MAX}; ask for them by page and limit`);
  }
  return items;
}

/** undefined for none, and for -1, which clients send for none. Throws `Refused` 400. */
function wholeOf(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name);
  if (!text || text === "-1") return undefined;
  if (!/^[1-9][0-9]{0,8}$/.test(text)) throw new Refused(400, `${name}: must be a whole number from 1 up`);
  return Number(text);
}
