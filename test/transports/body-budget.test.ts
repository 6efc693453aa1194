/** F20: bodies of dialects that come in crumbs. */
import { Readable } from "node:stream";
import fastify from "fastify";
import { expect, it } from "vitest";
import { AuspexError } from "../../src/domain/error.ts";
import { countBodies } from "../../src/transports/body-budget.ts";
import { createByteBudget, PIECE_BYTES } from "../../src/transports/byte-budget.ts";

const BODY_BYTES = 60 * 1024;
/** Room for the body, and for a good part of what it costs in crumbs. */
const BUDGET_BYTES = 4 * 1024 * 1024;

it.each([
  ["with a length, in crumbs", 1, true, "resource_exhausted"],
  ["with a length", PIECE_BYTES, true, String(BODY_BYTES)],
  ["in chunks that are crumbs", 1, false, "resource_exhausted"],
  ["in chunks", PIECE_BYTES, false, String(BODY_BYTES)],
])("F20 %s", async (_name, pieceBytes, hasLength, expected) => {
  const budget = createByteBudget(BUDGET_BYTES);
  const app = fastify();
  countBodies(app, budget);
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, done) => done(null, body));
  app.setErrorHandler((error, _request, reply) => reply.send(AuspexError.from(error).code));
  app.post("/", async ({ body }) => String((body as Buffer).length));
  const pieces = Array.from({ length: BODY_BYTES / pieceBytes }, () => Buffer.alloc(pieceBytes));
  const { body } = await app.inject({
    method: "POST",
    url: "/",
    headers: {
      "content-type": "application/octet-stream",
      ...(hasLength ? { "content-length": String(BODY_BYTES) } : { "transfer-encoding": "chunked" }),
    },
    payload: Readable.from(pieces),
  });
  expect(body).toBe(expected);
  await app.close();
  expect(budget.taken).toBe(0);
});
