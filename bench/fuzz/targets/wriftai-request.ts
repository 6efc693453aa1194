/** One dialect's requests: bodies, headers, ids, cursors. Lines of the input are the headers, the rest the body. */
import type { FastifyRequest } from "fastify";
import { AuspexError } from "../../../src/domain/error.ts";
import { Complaints } from "../../../src/transports/dialects/wriftai/checks.ts";
import { Refused } from "../../../src/transports/dialects/wriftai/errors.ts";
import { decodePage } from "../../../src/transports/dialects/wriftai/page.ts";
import { preferredWait } from "../../../src/transports/dialects/wriftai/prefer.ts";
import {
  decodeCreate,
  decodePredictionId,
  decodeWatch,
  readBody,
} from "../../../src/transports/dialects/wriftai/request.ts";
import { headed, holds, noPollution, unlessRefused } from "../target.ts";

export const claim =
  "A request is refused with a status from 400 to 499 and what is wrong, or its numbers and ids are within their ranges.";

const WAIT_MAX_MS = 60_000;
const VALUES_MAX = 1000;

const isRefusal = (error: unknown): boolean =>
  (error instanceof Refused && error.status >= 400 && error.status < 500 && error.detail.length > 0) ||
  (error instanceof AuspexError && error.code === "not_found");

/** Lines: Prefer, Last-Event-ID, Validate-Input, id, query; then the body. */
export function fuzz(data: Buffer): void {
  const fields: string[] = [];
  let rest = data;
  for (let i = 0; i < 5; i++) {
    const line = headed(rest);
    fields.push(line.head);
    rest = line.rest;
  }
  const [prefer = "", lastEventId = "", validateInput, id = "", query = ""] = fields;
  const request = {
    headers: {
      "content-type": "application/json",
      prefer,
      "last-event-id": lastEventId,
      ...(validateInput && { "validate-input": validateInput }),
    },
    params: { prediction_id: id, number: id, model_owner: id, model_name: "m" },
    url: `/x?${query}`,
    body: rest,
  } as unknown as FastifyRequest;
  holds(preferredWait(prefer) >= 0, "a wait is no less than nothing");
  const watch = unlessRefused(isRefusal, () => decodeWatch(request));
  if (watch) {
    const { afterRevision } = watch;
    holds(
      Number.isInteger(afterRevision) && afterRevision >= 0 && afterRevision < 2 ** 32,
      "a revision is one",
    );
    const canonical = decodePredictionId({
      ...request,
      params: { prediction_id: watch.id },
    } as FastifyRequest);
    holds(
      /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(watch.id) && canonical === watch.id,
      "an id is a UUID",
    );
  }
  for (const kind of ["string", "number"] as const) {
    const page = unlessRefused(isRefusal, () => {
      const complaints = new Complaints();
      const decoded = decodePage(complaints, request, kind);
      complaints.settle();
      return decoded;
    });
    if (page) holds(page.size >= 5 && page.size <= 50, "a page has from 5 to 50 items");
  }
  for (const target of ["body", "version"] as const) {
    const created = unlessRefused(isRefusal, () =>
      decodeCreate(request, readBody(request, VALUES_MAX), target, WAIT_MAX_MS),
    );
    if (created) {
      holds(Number(created.wait?.seconds) * 1000 <= WAIT_MAX_MS, "a wait is no longer than the longest");
      holds(created.input !== undefined, "there is an input");
    }
  }
  noPollution();
}

export const seeds = (): readonly string[] => [
  'wait=5\n3\ntrue\n0192f0c1-2345-7abc-8def-0123456789ab\npage_size=10&cursor=eyJwYWdlIjoxfQ\n{"model":"a/b:1","input":{"x":1},"webhook":{"url":"https://e.com/","secret":"s"}}',
  'respond-async; x="a,b", wait="10"\n+1_0.0\nno\n{0192f0c123457abc8def0123456789ab}\n\n{"input":[]}',
  "\n\n\nurn:uuid:0192f0c1-2345-7abc-8def-0123456789ab\ncursor==\n{",
  '\n4294967296\nmaybe\n7\n\n{"model":"a","input":{},"webhook":{"url":"http://[::1"}}',
];

export const words = ["wait=", "urn:uuid:", "cursor=", "page_size=", '"webhook":', '"url":', "_", "{", "}"];
