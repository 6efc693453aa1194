/**
 * Connect's unary protocol as it is served directly, against the library's own serving of it: a request that names its
 * encoding as `identity` says nothing else, and takes the library's way. And against the published protocol where it
 * says what the bytes are (https://connectrpc.com/docs/protocol#unary-request).
 */
import { gunzipSync } from "node:zlib";
import { fromBinary } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { GetPredictionResponseSchema } from "../../gen/auspex/v1/prediction_pb.ts";
import { ERROR_CODES, type ErrorCode } from "../../src/domain/error.ts";
import { connectForm } from "../../src/transports/connect-wire.ts";
import {
  CREATE,
  created,
  MAX_BODY_BYTES,
  MAX_JSON_VALUES,
  proto,
  requestOf,
  type Sent,
  send as sendTo,
  startDirect,
} from "./direct-scene.ts";
import type { Listeners } from "./listeners.ts";
import { BAD_KEY } from "./memory-services.ts";

/** The longest that Node's timers take. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1;

let listeners: Listeners;
beforeAll(async () => {
  listeners = await startDirect();
});
afterAll(() => listeners[Symbol.asyncDispose]());

const send = (sent: Sent) => sendTo(listeners, sent);
const text = (id: string): string => JSON.stringify({ id });

const CASES: readonly (readonly [name: string, sent: Sent])[] = [
  ["protobuf", { type: "application/proto", body: proto("x") }],
  ["JSON", { body: text("x") }],
  ["JSON with a charset", { type: "application/json; charset=utf-8", body: text("x") }],
  ["JSON behind a byte order mark", { body: `\ufeff${text("x")}` }],
  ["in chunks", { body: text("x"), chunked: true }],
  ["nothing in protobuf, which is the zero message", { type: "application/proto", body: "" }],
  ["nothing in JSON", { body: "" }],
  ["an object's half", { body: '{"id":' }],
  ["a field that is none", { body: '{"id":"x","nam":1}' }],
  ["a value of another type", { body: '{"id":7}' }],
  ["bytes that are no message", { type: "application/proto", body: new Uint8Array([7, 7, 7]) }],
  ["an answer that is packed", { body: text("long"), headers: { "accept-encoding": "br, gzip" } }],
  ["an answer that is too short for it", { body: text("x"), headers: { "accept-encoding": "gzip" } }],
  ["an error that is packed", { body: text("long error"), headers: { "accept-encoding": "gzip" } }],
  ["an error that is short", { body: text("not_found"), headers: { "accept-encoding": "gzip" } }],
  ["a fault of ours", { body: text("bug") }],
  ["a deadline", { body: text("deadline"), headers: { "connect-timeout-ms": "60000" } }],
  ["a deadline that passes", { body: text("never"), headers: { "connect-timeout-ms": "30" } }],
  ["a deadline that has passed", { body: text("x"), headers: { "connect-timeout-ms": "0" } }],
  ["a deadline that is none", { body: text("x"), headers: { "connect-timeout-ms": "soon" } }],
  ["a deadline beyond every timer", { body: text("x"), headers: { "connect-timeout-ms": "9999999999" } }],
  ["a key that is none", { body: text("x"), headers: { authorization: `Bearer ${BAD_KEY}` } }],
  ["the protocol's version", { body: text("x"), headers: { "connect-protocol-version": "1" } }],
  [
    "too many values",
    { path: CREATE, body: JSON.stringify({ input: { x: Array(MAX_JSON_VALUES).fill(1) } }) },
  ],
  ["from another origin", { body: text("x"), headers: { origin: "http://localhost:5173" } }],
  ...(Object.keys(ERROR_CODES) as ErrorCode[]).map((code) => [code, { body: text(code) }] as const),
];

/** Of another form than is served directly. */
const LIBRARYS: ReadonlySet<string> = new Set(["a deadline that is none", "a deadline beyond every timer"]);

describe("is answered as the library answers it", () => {
  it.each(CASES)("%s", async (name, sent) => {
    const form = connectForm(requestOf({ type: "application/json", ...sent }), TIMEOUT_MS_MAX);
    expect(form === undefined).toBe(LIBRARYS.has(name));
    const direct = await send(sent);
    const library = await send({ ...sent, headers: { ...sent.headers, "content-encoding": "identity" } });
    expect(direct.status).toBe(library.status);
    expect(direct.headers).toEqual(library.headers);
    expect(direct.body.toString("latin1")).toBe(library.body.toString("latin1"));
  });
});

describe("is as the protocol has it", () => {
  it.each([false, true])(
    "takes a body of the most bytes and not of one more; in chunks: %s",
    async (chunked) => {
      const overhead = created(0).length + 4;
      const [most, more] = [created(MAX_BODY_BYTES - overhead), created(MAX_BODY_BYTES - overhead + 1)];
      expect([most.length, more.length]).toEqual([MAX_BODY_BYTES, MAX_BODY_BYTES + 1]);
      const post = (body: Uint8Array) => send({ path: CREATE, type: "application/proto", body, chunked });
      expect((await post(most)).status).toBe(200);
      const { status, body } = await post(more);
      expect(status).toBe(429);
      expect(JSON.parse(body.toString())).toMatchObject({ code: "resource_exhausted" });
    },
  );

  it("protobuf in, protobuf out", async () => {
    const { status, headers, body } = await send({ type: "application/proto", body: proto("x") });
    expect([status, headers["content-type"]]).toEqual([200, "application/proto"]);
    expect(fromBinary(GetPredictionResponseSchema, body).prediction?.id).toBe("x");
  });

  it("an error is JSON whatever was sent, its status the code's", async () => {
    const { status, headers, body } = await send({ type: "application/proto", body: proto("not_found") });
    expect([status, headers["content-type"]]).toEqual([404, "application/json"]);
    expect(JSON.parse(body.toString())).toMatchObject({
      code: "not_found",
      message: "refused: not_found ünï",
    });
  });

  it("a long answer is packed for who takes it, and for nobody else", async () => {
    const packed = await send({ body: text("long"), headers: { "accept-encoding": "gzip" } });
    expect(packed.headers["content-encoding"]).toBe("gzip");
    const plain = await send({ body: text("long") });
    expect(plain.headers["content-encoding"]).toBeUndefined();
    expect(gunzipSync(packed.body)).toEqual(plain.body);
  });
});
