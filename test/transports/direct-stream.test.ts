/**
 * Streams over Connect and gRPC-Web as they are served directly, against the library's own serving of them: a request that names
 * its encoding as `identity` says nothing else, and takes the library's way. And against the published protocols.
 */
import { gunzipSync } from "node:zlib";
import { create, fromBinary, toBinary, toJsonString } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  WatchPredictionRequestSchema,
  WatchPredictionResponseSchema,
} from "../../gen/auspex/v1/prediction_pb.ts";
import { ERROR_CODES, type ErrorCode } from "../../src/domain/error.ts";
import { connectStreamForm } from "../../src/transports/connect-wire.ts";
import { grpcWebStreamForm } from "../../src/transports/grpc-web-wire.ts";
import {
  type Envelope,
  envelope,
  envelopesOf,
  requestOf,
  type Sent,
  send,
  startDirect,
  WATCH,
} from "./direct-scene.ts";
import type { Listeners } from "./listeners.ts";
import { BAD_KEY } from "./memory-services.ts";

/** The longest that Node's timers take. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1;
const PACKED = 0x01;

/** What the two write differently. */
interface Protocol {
  readonly type: string;
  readonly encoding: string;
  readonly acceptEncoding: string;
  readonly timeout: (ms: number) => readonly [name: string, value: string];
  readonly end: number;
  readonly formOf: (sent: Sent) => unknown;
}

const PROTOCOLS: Readonly<Record<string, Protocol>> = {
  Connect: {
    type: "application/connect",
    encoding: "connect-content-encoding",
    acceptEncoding: "connect-accept-encoding",
    timeout: (ms) => ["connect-timeout-ms", String(ms)],
    end: 0x02,
    formOf: (sent) => connectStreamForm(requestOf(sent), TIMEOUT_MS_MAX),
  },
  "gRPC-Web": {
    type: "application/grpc-web",
    encoding: "grpc-encoding",
    acceptEncoding: "grpc-accept-encoding",
    timeout: (ms) => ["grpc-timeout", `${ms}m`],
    end: 0x80,
    formOf: (sent) => grpcWebStreamForm(requestOf(sent), TIMEOUT_MS_MAX),
  },
};

let listeners: Listeners;
beforeAll(async () => {
  listeners = await startDirect();
});
afterAll(() => listeners[Symbol.asyncDispose]());

const asked = (id: string, messages = 0) =>
  create(WatchPredictionRequestSchema, { id, afterRevision: messages });
const proto = (id: string, messages?: number): Uint8Array =>
  toBinary(WatchPredictionRequestSchema, asked(id, messages));

function casesOf({ type, acceptEncoding, timeout, end }: Protocol): Readonly<Record<string, Partial<Sent>>> {
  const gzip = { [acceptEncoding]: "gzip" };
  const within = (ms: number) => Object.fromEntries([timeout(ms)]);
  return {
    protobuf: { body: envelope(proto("x")) },
    "many messages": { body: envelope(proto("x", 500)) },
    JSON: {
      type: `${type}+json`,
      body: envelope(toJsonString(WatchPredictionRequestSchema, asked("x"))),
    },
    "JSON with a charset": { type: `${type}+json; charset=utf-8`, body: envelope("{}") },
    "JSON that is none": { type: `${type}+json`, body: envelope('{"id":') },
    "in chunks": { body: envelope(proto("x")), chunked: true },
    nothing: { body: "" },
    "a part of a head": { body: new Uint8Array(3) },
    "a part of a message": { body: envelope(proto("x"), 0, 100) },
    "two messages": { body: Buffer.concat([envelope(proto("x")), envelope(proto("y"))]) },
    "an end behind the message": { body: Buffer.concat([envelope(proto("x")), envelope("{}", end)]) },
    "a length past every limit": { body: envelope(proto("x"), 0, 2 ** 31) },
    "bytes that are no message": { body: envelope(new Uint8Array([7, 7, 7])) },
    "messages that are packed": { body: envelope(proto("long")), headers: gzip },
    "messages that are too short for it": { body: envelope(proto("x")), headers: gzip },
    "an end that is packed": { body: envelope(proto("long error")), headers: gzip },
    "a fault of ours": { body: envelope(proto("bug")) },
    "an error before the first message": { body: envelope(proto("at once")) },
    "a deadline": { body: envelope(proto("x")), headers: within(60_000) },
    "a deadline that passes": { body: envelope(proto("never")), headers: within(200) },
    "a key that is none": { body: envelope(proto("x")), headers: { authorization: `Bearer ${BAD_KEY}` } },
    "from another origin": { body: envelope(proto("x")), headers: { origin: "http://localhost:5173" } },
    ...Object.fromEntries(
      (Object.keys(ERROR_CODES) as ErrorCode[]).map((id) => [id, { body: envelope(proto(id)) }]),
    ),
  };
}

describe.each(Object.entries(PROTOCOLS))("%s", (_name, protocol) => {
  const call = (sent: Partial<Sent>): Sent => ({
    path: WATCH,
    type: `${protocol.type}+proto`,
    body: "",
    ...sent,
  });

  it.each(Object.entries(casesOf(protocol)))("answers as the library does: %s", async (_case, given) => {
    const sent = call(given);
    expect(protocol.formOf(sent)).toBeDefined();
    const identity = call({ ...given, headers: { ...given.headers, [protocol.encoding]: "identity" } });
    expect(protocol.formOf(identity)).toBeUndefined();
    const [direct, library] = [await send(listeners, sent), await send(listeners, identity)];
    expect(direct.status).toBe(library.status);
    // What is over at once needs no chunks.
    const { "content-length": _length, "transfer-encoding": _chunked, ...headers } = direct.headers;
    const { "transfer-encoding": __, ...others } = library.headers;
    expect(headers).toEqual(others);
    expect(direct.body.toString("latin1")).toBe(library.body.toString("latin1"));
  });

  it("messages and then an end", async () => {
    const { body } = await send(listeners, call({ body: envelope(proto("x", 3)) }));
    const all = envelopesOf(body);
    expect(all.map(({ flags }) => flags)).toEqual([0, 0, 0, protocol.end]);
    const read = ({ data }: Envelope) => fromBinary(WatchPredictionResponseSchema, data).prediction;
    expect(all.slice(0, -1).map((each) => read(each)?.revision)).toEqual([1, 2, 3]);
    expect(all.at(-1)?.data.toString()).toBe(protocol.end === 0x02 ? "{}" : "grpc-status: 0\r\n");
  });

  it("messages that are long are packed, each by itself", async () => {
    const headers = { [protocol.acceptEncoding]: "gzip" };
    const [packed, plain] = [
      await send(listeners, call({ body: envelope(proto("long")), headers })),
      await send(listeners, call({ body: envelope(proto("long")) })),
    ];
    const unpacked = envelopesOf(packed.body).map(({ flags, data }) =>
      (flags & PACKED) === 0 ? data : gunzipSync(data),
    );
    expect(envelopesOf(packed.body).map(({ flags }) => flags)).toEqual([PACKED, PACKED, protocol.end]);
    expect(unpacked).toEqual(envelopesOf(plain.body).map(({ data }) => data));
  });

  it("a message that is said to be packed, and not how, is refused", async () => {
    const { body } = await send(listeners, call({ body: envelope(proto("x"), PACKED) }));
    const [end, ...more] = envelopesOf(body);
    expect([end?.flags, more]).toEqual([protocol.end, []]);
    expect(end?.data.toString()).toMatch(/"internal"|grpc-status: 13/);
  });
});
