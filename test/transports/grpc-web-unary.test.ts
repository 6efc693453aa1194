/**
 * gRPC-Web's unary calls as they are served directly, against the library's own serving of them: a request that names its
 * encoding as `identity` says nothing else, and takes the library's way. And against the published protocol
 * (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md).
 */
import { gunzipSync } from "node:zlib";
import { fromBinary, fromJsonString } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { GetPredictionResponseSchema } from "../../gen/auspex/v1/prediction_pb.ts";
import { ERROR_CODES, type ErrorCode } from "../../src/domain/error.ts";
import { grpcWebForm } from "../../src/transports/grpc-web-wire.ts";
import {
  CREATE,
  created,
  envelope,
  envelopesOf,
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
const PROTO_TYPE = "application/grpc-web+proto";
const JSON_TYPE = "application/grpc-web+json";
const PACKED = 0x01;
const TRAILERS = 0x80;

let listeners: Listeners;
beforeAll(async () => {
  listeners = await startDirect();
});
afterAll(() => listeners[Symbol.asyncDispose]());

const send = (sent: Sent) => sendTo(listeners, { type: PROTO_TYPE, ...sent });

/** Of an answer that is a status alone. */
async function statusOf(sent: Sent): Promise<string | undefined> {
  const { status, body } = await send(sent);
  expect(status).toBe(200);
  const [last, ...more] = envelopesOf(body);
  expect([last?.flags, more]).toEqual([TRAILERS, []]);
  return /^grpc-status: (\d+)\r$/m.exec(last?.data.toString() ?? "")?.[1];
}

const asked = (id: string, headers: Readonly<Record<string, string>> = {}): Sent => ({
  body: envelope(proto(id)),
  headers,
});
const askedInJson = (text: string): Sent => ({ type: JSON_TYPE, body: envelope(text) });

const CASES: readonly (readonly [name: string, sent: Sent])[] = [
  ["protobuf", asked("x")],
  ["protobuf that is not said to be", { ...asked("x"), type: "application/grpc-web" }],
  ["JSON", askedInJson('{"id":"x"}')],
  ["JSON with a charset", { ...askedInJson('{"id":"x"}'), type: `${JSON_TYPE}; charset=utf-8` }],
  ["JSON behind a byte order mark", askedInJson('\ufeff{"id":"x"}')],
  ["in chunks", { ...asked("x"), chunked: true }],
  ["the zero message", { body: envelope("") }],
  ["nothing", { body: "" }],
  ["nothing in JSON", askedInJson("")],
  ["a part of a head", { body: new Uint8Array(3) }],
  ["a part of a message", { body: envelope(proto("x"), 0, 100) }],
  ["a part of a head behind a message", { body: Buffer.concat([envelope(proto("x")), new Uint8Array(1)]) }],
  ["two messages", { body: Buffer.concat([envelope(proto("x")), envelope("")]) }],
  [
    "trailers behind the message",
    { body: Buffer.concat([envelope(proto("x")), envelope("a: b\r\n", TRAILERS)]) },
  ],
  ["a flag that means nothing", { body: envelope(proto("x"), 0x02) }],
  ["a length past every limit", { body: envelope(proto("x"), 0, 2 ** 31) }],
  ["an object's half", askedInJson('{"id":')],
  ["a field that is none", askedInJson('{"id":"x","nam":1}')],
  ["a value of another type", askedInJson('{"id":7}')],
  ["bytes that are no message", { body: envelope(new Uint8Array([7, 7, 7])) }],
  ["an answer that is packed", asked("long", { "grpc-accept-encoding": "br, gzip" })],
  ["an answer that is too short for it", asked("x", { "grpc-accept-encoding": "gzip" })],
  ["a status that is packed", asked("long error", { "grpc-accept-encoding": "br,\tgzip" })],
  ["an error that is short", asked("not_found", { "grpc-accept-encoding": "gzip" })],
  ["a fault of ours", asked("bug")],
  ["a deadline", asked("deadline", { "grpc-timeout": "1M" })],
  ["a deadline that passes", asked("never", { "grpc-timeout": "30000u" })],
  ["a deadline that has passed", asked("x", { "grpc-timeout": "0S" })],
  ["a deadline that is none", asked("x", { "grpc-timeout": "soon" })],
  ["a deadline beyond every timer", asked("x", { "grpc-timeout": "99999999H" })],
  ["a key that is none", asked("x", { authorization: `Bearer ${BAD_KEY}` })],
  ["a browser's call", asked("x", { "x-grpc-web": "1", "x-user-agent": "grpc-web-javascript/0.1" })],
  [
    "too many values",
    { ...askedInJson(JSON.stringify({ input: { x: Array(MAX_JSON_VALUES).fill(1) } })), path: CREATE },
  ],
  ["from another origin", asked("x", { origin: "http://localhost:5173" })],
  ["as text, which is not served", { ...asked("x"), type: "application/grpc-web-text" }],
  ...(Object.keys(ERROR_CODES) as ErrorCode[]).map((code) => [code, asked(code)] as const),
];

/** Of another form than is served directly. */
const LIBRARYS: ReadonlySet<string> = new Set([
  "a deadline that is none",
  "a deadline beyond every timer",
  "as text, which is not served",
]);

describe("is answered as the library answers it", () => {
  it.each(CASES)("%s", async (name, sent) => {
    const form = grpcWebForm(requestOf({ type: PROTO_TYPE, ...sent }), TIMEOUT_MS_MAX);
    expect(form === undefined).toBe(LIBRARYS.has(name));
    const direct = await send(sent);
    const library = await send({ ...sent, headers: { ...sent.headers, "grpc-encoding": "identity" } });
    expect(direct.status).toBe(library.status);
    // The library does not know yet how long its answer will be.
    const { "content-length": length, "transfer-encoding": _, ...headers } = direct.headers;
    const { "transfer-encoding": __, ...others } = library.headers;
    if (form) expect(length).toBe(String(direct.body.length));
    expect(headers).toEqual(others);
    expect(direct.body.toString("latin1")).toBe(library.body.toString("latin1"));
  });
});

describe("is as the protocol has it", () => {
  it.each([false, true])(
    "takes a message of the most bytes and not of one more; in chunks: %s",
    async (chunked) => {
      const overhead = created(0).length + 4;
      const [most, more] = [created(MAX_BODY_BYTES - overhead), created(MAX_BODY_BYTES - overhead + 1)];
      expect([most.length, more.length]).toEqual([MAX_BODY_BYTES, MAX_BODY_BYTES + 1]);
      const { body } = await send({ path: CREATE, body: envelope(most), chunked });
      expect(envelopesOf(body).map(({ flags }) => flags)).toEqual([0, TRAILERS]);
      const resourceExhausted = String(ERROR_CODES.resource_exhausted.grpc);
      expect(await statusOf({ path: CREATE, body: envelope(more), chunked })).toBe(resourceExhausted);
    },
  );

  it.each([
    ["protobuf", asked("x"), (data: Buffer) => fromBinary(GetPredictionResponseSchema, data)],
    [
      "JSON",
      askedInJson('{"id":"x"}'),
      (data: Buffer) => fromJsonString(GetPredictionResponseSchema, data.toString()),
    ],
  ])("%s in and out, and then the status", async (_name, sent, read) => {
    const { status, headers, body } = await send(sent);
    expect([status, headers["content-type"]]).toEqual([200, sent.type ?? PROTO_TYPE]);
    const [message, trailers, ...more] = envelopesOf(body);
    expect([message?.flags, trailers?.flags, more]).toEqual([0, TRAILERS, []]);
    expect(read(message?.data ?? Buffer.alloc(0)).prediction?.id).toBe("x");
    expect(trailers?.data.toString()).toBe("grpc-status: 0\r\n");
  });

  it.each([
    ["a message that is said to be packed, and not how", envelope(proto("x"), PACKED), "internal"],
    ["a length and nothing behind it", envelope("", 0, 10), "invalid_argument"],
    ["trailers alone", envelope("a: b\r\n", TRAILERS), "unimplemented"],
    ["trailers twice", Buffer.concat([envelope("", TRAILERS), envelope("", TRAILERS)]), "invalid_argument"],
  ] as const)("%s: refused", async (_name, body, code) => {
    expect(await statusOf({ body })).toBe(String(ERROR_CODES[code].grpc));
  });

  it("a long message is packed for who takes it, and for nobody else", async () => {
    const packed = await send(asked("long", { "grpc-accept-encoding": "gzip" }));
    expect(packed.headers["grpc-encoding"]).toBe("gzip");
    const plain = await send(asked("long"));
    expect(plain.headers["grpc-encoding"]).toBeUndefined();
    const [[short, status], [long]] = [envelopesOf(packed.body), envelopesOf(plain.body)];
    expect([short?.flags, status?.flags, long?.flags]).toEqual([PACKED, TRAILERS, 0]);
    expect(gunzipSync(short?.data ?? "")).toEqual(long?.data);
  });
});
