/** Row F21: small bodies that unpack to huge ones, and bodies that are not what their compression says. */
import { once } from "node:events";
import { connect } from "node:http2";
import { brotliCompressSync, constants, deflateSync, gzipSync } from "node:zlib";
import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startServer, type TestServer } from "../harness.ts";
import { grpcMessage, uint32 } from "../http2-frames.ts";
import { residentBytes } from "../processes.ts";

const MIB = 1024 ** 2;
const BODY_MAX = 4 * MIB;
const VALUES_MAX = 1_000;
const SERVICE = "/auspex.v1.PredictionService";
const BOMBS = 12;
/** 1 GiB in 1 MB. */
const bomb = gzipSync(Buffer.alloc(1024 * MIB), { level: 9 });
let server: TestServer;

beforeAll(async () => {
  server = await startServer({
    settings: { MAX_BODY_BYTES: String(BODY_MAX), MAX_JSON_VALUES: String(VALUES_MAX) },
  });
});
afterAll(() => server?.[Symbol.asyncDispose]());

const envelope = (flags: number, body: Uint8Array) =>
  Buffer.concat([Buffer.from([flags]), uint32(body.length), body]);

interface Said {
  readonly status: number;
  readonly text: string;
}

async function post(path: string, body: Uint8Array, headers: Record<string, string>): Promise<Said> {
  const response = await fetch(`${server.url}${path}`, { method: "POST", body: Buffer.from(body), headers });
  const text = Buffer.from(await response.arrayBuffer()).toString("latin1");
  return { status: response.status, text: `${text} ${response.headers.get("grpc-status") ?? ""}` };
}

const connectUnary = (body: Uint8Array, json = false) =>
  post(`${SERVICE}/CreatePrediction`, body, {
    "content-type": json ? "application/json" : "application/proto",
    "content-encoding": "gzip",
  });
const connectStream = (body: Uint8Array, json = false) =>
  post(`${SERVICE}/WatchPrediction`, envelope(1, body), {
    "content-type": json ? "application/connect+json" : "application/connect+proto",
    "connect-content-encoding": "gzip",
  });
const grpcWeb = (body: Uint8Array, json = false) =>
  post(`${SERVICE}/CreatePrediction`, envelope(1, body), {
    "content-type": json ? "application/grpc-web+json" : "application/grpc-web+proto",
    "grpc-encoding": "gzip",
  });

/** Memory beside what it was, while the work runs. */
async function growth(work: () => Promise<void>): Promise<number> {
  const pid = server.process.pid ?? 0;
  const before = residentBytes(pid);
  let peak = before;
  const timer = setInterval(() => {
    peak = Math.max(peak, residentBytes(pid));
  }, 5);
  await work();
  clearInterval(timer);
  return peak - before;
}

test.each([
  ["Connect", connectUnary, /resource_exhausted/],
  ["a Connect stream", connectStream, /resource_exhausted/],
  ["gRPC-Web", grpcWeb, /grpc-status: ?8|8$/],
] as const)("F21 bombs over %s stop at the limit, and cost no more", async (_name, call, refused) => {
  const grown = await growth(async () => {
    for (const { text } of await Promise.all(Array.from({ length: BOMBS }, () => call(bomb)))) {
      expect(text).toMatch(refused);
    }
  });
  // Each may take what is allowed, twice while it is joined; unbounded it were 12 GiB.
  expect(grown).toBeLessThan(BOMBS * 2 * BODY_MAX + 128 * MIB);
});

test.each([
  ["gzip", (bytes: Buffer) => gzipSync(bytes, { level: 9 })],
  ["deflate", (bytes: Buffer) => deflateSync(bytes, { level: 9 })],
])("F21 bombs over gRPC in %s stop at the limit, and cost no more", async (encoding, pack) => {
  const message = grpcMessage(pack(Buffer.alloc(1024 * MIB)), true);
  const session = connect(server.grpcUrl);
  const call = async (): Promise<number> => {
    const stream = session.request({
      ":method": "POST",
      ":path": `${SERVICE}/CreatePrediction`,
      "content-type": "application/grpc",
      "grpc-encoding": encoding,
    });
    stream.on("error", () => {});
    const [headers] = (await Promise.all([once(stream, "response"), stream.end(message)]))[0];
    stream.close();
    return Number(headers["grpc-status"]);
  };
  const grown = await growth(async () => {
    const codes = await Promise.all(Array.from({ length: BOMBS }, call));
    expect(codes).toEqual(Array(BOMBS).fill(Code.ResourceExhausted));
  });
  expect(grown).toBeLessThan(BOMBS * 2 * BODY_MAX + 128 * MIB);
  session.destroy();
});

test("F21 F25 JSON of more values than allowed is found inside gzip, over every form", async () => {
  const json = (values: number) =>
    gzipSync(JSON.stringify({ model: "a/b", input: { x: Array(values).fill(0) } }));
  const watch = (values: number) => gzipSync(`{"id":"x"${",".repeat(values)}}`);
  expect((await connectUnary(json(VALUES_MAX + 1), true)).text).toContain("resource_exhausted");
  expect((await grpcWeb(json(VALUES_MAX + 1), true)).text).toMatch(/JSON(?: |%20)values/);
  expect((await connectStream(watch(VALUES_MAX + 1), true)).text).toContain("resource_exhausted");
  // Below it the body is read, and the model looked for.
  expect((await connectUnary(json(VALUES_MAX - 10), true)).text).toContain("not_found");
  expect((await grpcWeb(json(VALUES_MAX - 10), true)).text).toMatch(/grpc-status: ?5|5$/);
});

test("F21 a message in the URL of a GET unpacks to 64 KiB at most", async () => {
  const get = async (message: Buffer) => {
    const query = new URLSearchParams({
      encoding: "json",
      compression: "gzip",
      base64: "1",
      message: gzipSync(message, { level: 9 }).toString("base64url"),
    });
    return (await fetch(`${server.url}${SERVICE}/GetPrediction?${query}`)).json();
  };
  const padded = (bytes: number) =>
    Buffer.from(`{"id":"01890000-0000-7000-8000-000000000000"${" ".repeat(bytes - 45)}}`);
  expect(await get(padded(64 * 1024))).toMatchObject({ code: "not_found" });
  expect(await get(padded(64 * 1024 + 1))).toMatchObject({ code: "resource_exhausted" });
});

test.each([
  ["Connect", connectUnary, /"invalid_argument"/],
  ["a Connect stream", connectStream, /"invalid_argument"/],
  ["gRPC-Web", grpcWeb, /grpc-status: ?3|3$/],
] as const)(
  "F21 F25 over %s, what is not gzip, is cut off, or holds no message is the caller's fault",
  async (_name, call, refused) => {
    expect((await call(Buffer.from("not gzip at all"))).text).toMatch(refused);
    expect((await call(gzipSync(Buffer.alloc(1000, "x")).subarray(0, 20))).text).toMatch(refused);
    expect((await call(gzipSync(Buffer.from([0xff, 0xff, 0xff])))).text).toMatch(refused);
  },
);

test.each([
  ["a Connect stream", "WatchPrediction", "application/connect+proto", /"invalid_argument"/],
  ["gRPC-Web", "CreatePrediction", "application/grpc-web+proto", /grpc-status: ?3|3$/],
  ["Connect", "CreatePrediction", "application/proto", /"invalid_argument"/],
])("F25 over %s a malformed message is the caller's fault", async (_name, method, type, refused) => {
  const body = Buffer.from([0xff, 0xff, 0xff]);
  const whole = type === "application/proto" ? body : envelope(0, body);
  expect((await post(`${SERVICE}/${method}`, whole, { "content-type": type })).text).toMatch(refused);
});

const brotli = brotliCompressSync(Buffer.alloc(64 * MIB), {
  params: { [constants.BROTLI_PARAM_QUALITY]: 5 },
});

test.each([
  ["WriftAI", "/v1/predictions", "application/json"],
  ["Einstein Vision", "/v2/vision/predict", "application/json"],
  ["Einstein Prediction", "/api/v1/einstein_prediction", "application/json"],
])("F21 %s unpacks nothing: a compressed body is refused", async (_name, path, type) => {
  for (const [encoding, body] of [
    ["gzip", bomb],
    ["br", brotli],
    ["deflate", bomb],
    ["zstd", bomb],
  ] as const) {
    const grown = await growth(async () => {
      const headers = { "content-type": type, "content-encoding": encoding };
      const { status } = await post(path, body, headers);
      expect(status).toBeGreaterThanOrEqual(400);
      expect(status).toBeLessThan(500);
    });
    expect(grown).toBeLessThan(64 * MIB);
  }
});
