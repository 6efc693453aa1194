/** F20: too much of something is refused before it is held, and others do not notice. */
import { once } from "node:events";
import { connect } from "node:net";
import { gzipSync } from "node:zlib";
import { create, toBinary } from "@bufbuild/protobuf";
import { Client, credentials, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CreatePredictionRequestSchema } from "../../gen/auspex/v1/prediction_pb.ts";
import { PIECE_BYTES } from "../../src/transports/byte-budget.ts";
import { FLAG, FRAME, frame, grpcHeaders, openHttp2 } from "../http2-frames.ts";
import { type Listeners, startListeners, until } from "./listeners.ts";
import { BAD_KEY, memoryServices } from "./memory-services.ts";

const CREATE = "/auspex.v1.PredictionService/CreatePrediction";
const MIB = 1024 ** 2;
const LIMIT = 4 * MIB;

let listeners: Listeners;
beforeAll(async () => {
  listeners = await startListeners(memoryServices(), {
    settings: { MAX_BODY_BYTES: String(LIMIT), MAX_HEADER_BYTES: "16KiB" },
  });
});
afterAll(() => listeners[Symbol.asyncDispose]());

/** A valid request of exactly this size. */
function requestOf(size: number): Buffer {
  const encode = (length: number) =>
    toBinary(
      CreatePredictionRequestSchema,
      create(CreatePredictionRequestSchema, { model: "a/b", requestId: "x".repeat(length) }),
    );
  const overhead = encode(size).length - size;
  const bytes = encode(size - overhead);
  expect(bytes.length).toBe(size);
  return Buffer.from(bytes);
}

function callGrpc(
  body: Buffer,
  options: { metadata?: Metadata; gzip?: boolean } = {},
): Promise<ServiceError | null> {
  const client = new Client(`127.0.0.1:${listeners.grpc.port}`, credentials.createInsecure(), {
    "grpc.max_receive_message_length": -1,
    "grpc.default_compression_algorithm": options.gzip ? 2 : 0,
  });
  return new Promise((resolve) => {
    const identity = (bytes: Buffer) => bytes;
    client.makeUnaryRequest(CREATE, identity, identity, body, options.metadata ?? new Metadata(), (error) => {
      client.close();
      resolve(error);
    });
  });
}

async function callConnect(body: Buffer | ReadableStream, headers: Record<string, string> = {}) {
  const response = await fetch(`${listeners.httpUrl}${CREATE}`, {
    method: "POST",
    headers: { "content-type": "application/proto", ...headers },
    body,
    // Without a length the body is sent in chunks.
    ...(body instanceof ReadableStream ? { duplex: "half" } : {}),
  });
  const bytes = await response.arrayBuffer();
  const code = response.ok ? "ok" : JSON.parse(Buffer.from(bytes).toString()).code;
  return { status: response.status, code };
}

/** Bytes in an envelope of Connect streams and gRPC-Web; flag 1 means compressed. */
function envelope(flags: number, body: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(flags, 0);
  head.writeUInt32BE(body.length, 1);
  return Buffer.concat([head, body]);
}

async function callGrpcWeb(body: Buffer, headers: Record<string, string> = {}): Promise<string> {
  const response = await fetch(`${listeners.httpUrl}${CREATE}`, {
    method: "POST",
    headers: { "content-type": "application/grpc-web+proto", ...headers },
    body,
  });
  const text = Buffer.from(await response.arrayBuffer()).toString("latin1");
  return (
    /grpc-status: ?(\d+)/.exec(text)?.[1] ?? response.headers.get("grpc-status") ?? `no status in ${text}`
  );
}

describe("F20 a body at the limit is taken, one byte more is refused", () => {
  it("gRPC", async () => {
    expect(await callGrpc(requestOf(LIMIT))).toBeNull();
    expect((await callGrpc(requestOf(LIMIT + 1)))?.code).toBe(status.RESOURCE_EXHAUSTED);
  });

  it("Connect, with a length and in chunks", async () => {
    const chunked = (size: number) => new Blob([requestOf(size)]).stream();
    const refused = { status: 429, code: "resource_exhausted" };
    expect(await callConnect(requestOf(LIMIT))).toEqual({ status: 200, code: "ok" });
    expect(await callConnect(chunked(LIMIT))).toEqual({ status: 200, code: "ok" });
    expect(await callConnect(requestOf(LIMIT + 1))).toEqual(refused);
    expect(await callConnect(chunked(LIMIT + 1))).toEqual(refused);
  });

  it("gRPC-Web", async () => {
    expect(await callGrpcWeb(envelope(0, requestOf(LIMIT)))).toBe("0");
    expect(await callGrpcWeb(envelope(0, requestOf(LIMIT + 1)))).toBe("8");
  });
});

describe("F20 a compressed body is measured inflated", () => {
  it("gRPC", async () => {
    expect(await callGrpc(requestOf(LIMIT), { gzip: true })).toBeNull();
    expect((await callGrpc(requestOf(LIMIT + 1), { gzip: true }))?.code).toBe(status.RESOURCE_EXHAUSTED);
  });

  it("Connect and gRPC-Web", async () => {
    const gzip = { "content-encoding": "gzip" };
    expect((await callConnect(gzipSync(requestOf(LIMIT)), gzip)).code).toBe("ok");
    expect((await callConnect(gzipSync(requestOf(LIMIT + 1)), gzip)).code).toBe("resource_exhausted");
    const web = { "grpc-encoding": "gzip" };
    expect(await callGrpcWeb(envelope(1, gzipSync(requestOf(LIMIT))), web)).toBe("0");
    expect(await callGrpcWeb(envelope(1, gzipSync(requestOf(LIMIT + 1))), web)).toBe("8");
  });

  it("a bomb of 512 MiB costs no more than the limit", async () => {
    const bomb = gzipSync(Buffer.alloc(512 * MIB), { level: 9 });
    expect(bomb.length).toBeLessThan(LIMIT);
    globalThis.gc?.();
    const { growth } = await watchMemory(async () => {
      expect((await callConnect(bomb, { "content-encoding": "gzip" })).code).toBe("resource_exhausted");
      expect(await callGrpcWeb(envelope(1, bomb), { "grpc-encoding": "gzip" })).toBe("8");
    });
    expect(growth).toBeLessThan(64 * MIB);
  });
});

describe("F20 an endless body", () => {
  it.each([
    ["Connect", "application/proto", /^HTTP\/1\.1 429 .*resource_exhausted/s],
    ["gRPC-Web", "application/grpc-web+proto", /^HTTP\/1\.1 200 .*grpc-status: ?8/is],
    ["nobody's path", undefined, /^HTTP\/1\.1 404 /],
  ])(
    "in chunks without a length, to %s: answered early, little is held, others are served",
    async (_name, type, expected) => {
      const path = type === undefined ? "/nope" : CREATE;
      const socket = connect(listeners.http.port, "127.0.0.1");
      socket.on("error", () => {});
      let answer = "";
      socket.on("data", (data) => {
        answer += data.toString("latin1");
      });
      socket.write(
        `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${type ?? "text/plain"}\r\nTransfer-Encoding: chunked\r\n\r\n`,
      );
      const piece = Buffer.alloc(MIB, 1);
      // gRPC-Web reads the length in the envelope's head first.
      piece.writeUInt8(0, 0);
      const chunk = Buffer.concat([Buffer.from(`${MIB.toString(16)}\r\n`), piece, Buffer.from("\r\n")]);
      const { growth, medianMs } = await watchMemory(async () => {
        for (let sent = 0; sent < 256 && !socket.destroyed; sent++) {
          await new Promise((resolve) => socket.write(chunk, resolve));
        }
      });
      expect(answer).toMatch(expected);
      expect(growth).toBeLessThan(LIMIT + 64 * MIB);
      expect(medianMs).toBeLessThan(100);
      socket.destroy();
    },
  );
});

describe("F20 headers", () => {
  it("of 100 KB are answered 431 over HTTP", async () => {
    const socket = connect(listeners.http.port, "127.0.0.1");
    let answer = "";
    socket.on("data", (data) => {
      answer += data.toString("latin1");
    });
    socket.on("error", () => {});
    socket.write(`GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Long: ${"x".repeat(100_000)}\r\n\r\n`);
    await once(socket, "close");
    expect(answer).toMatch(/^HTTP\/1\.1 431 .*resource_exhausted/s);
  });

  it("of 100 KB do not reach an operation over gRPC", async () => {
    const metadata = new Metadata();
    metadata.set("x-long", "x".repeat(100_000));
    expect((await callGrpc(requestOf(100), { metadata }))?.code).toBeGreaterThan(0);
    expect(await callGrpc(requestOf(100))).toBeNull();
  });

  it("are taken just below the limit", async () => {
    const response = await fetch(`${listeners.httpUrl}/healthz`, {
      headers: { "x-long": "x".repeat(15_000) },
    });
    expect(response.status).toBe(200);
  });
});

/** The first that comes back for a part of a request. */
async function answerTo(headers: string, body: Uint8Array = Buffer.alloc(0)): Promise<string> {
  const socket = connect(listeners.http.port, "127.0.0.1");
  socket.on("error", () => {});
  socket.write(`POST ${CREATE} HTTP/1.1\r\nHost: localhost\r\n${headers}\r\n\r\n`);
  socket.write(body);
  const [data] = (await once(socket, "data")) as [Buffer];
  socket.destroy();
  return data.toString("latin1");
}

describe("F20 who may not call is refused before the body is read", () => {
  it.each([
    ["Connect", "application/proto", /^HTTP\/1\.1 401 /],
    ["gRPC-Web", "application/grpc-web+proto", /grpc-status: 16\r\n$/],
  ])("%s", async (_name, type, expected) => {
    const key = `Authorization: Bearer ${BAD_KEY}`;
    expect(await answerTo(`${key}\r\nContent-Type: ${type}\r\nContent-Length: ${LIMIT}`)).toMatch(expected);
  });
});

describe("F20 gRPC-Web: a message that is too long is refused by its first five bytes", () => {
  const head = envelope(0, Buffer.alloc(0));
  head.writeUInt32BE(LIMIT + 1, 1);
  it.each([
    ["with a length", `Content-Length: ${LIMIT}`, head],
    [
      "in chunks",
      "Transfer-Encoding: chunked",
      Buffer.concat([Buffer.from("5\r\n"), head, Buffer.from("\r\n")]),
    ],
  ])("%s", async (_name, header, body) => {
    const answered = await answerTo(`Content-Type: application/grpc-web+proto\r\n${header}`, body);
    expect(answered).toMatch(/grpc-status: 8\r\n$/);
  });
});

/** Runs the work while asking /healthz; answers how far memory grew and how long an answer took. */
async function watchMemory(work: () => Promise<void>): Promise<{ growth: number; medianMs: number }> {
  const before = process.memoryUsage().rss;
  let peak = before;
  const tookMs: number[] = [];
  let running = true;
  const watching = (async () => {
    while (running) {
      const began = performance.now();
      await (await fetch(`${listeners.httpUrl}/healthz`)).text();
      tookMs.push(performance.now() - began);
      peak = Math.max(peak, process.memoryUsage().rss);
    }
  })();
  try {
    await work();
  } finally {
    running = false;
    await watching;
  }
  tookMs.sort((a, b) => a - b);
  return { growth: peak - before, medianMs: tookMs[tookMs.length >> 1] ?? Number.POSITIVE_INFINITY };
}

/** That many bytes, in pieces of one or of so many that they are as long as what they cost. */
const CRUMBS = 60_000;
const PIECES = { crumbs: 1, "pieces that are not": PIECE_BYTES } as const;

describe("F20 a body in crumbs is refused when what they hold is more than there is room for", () => {
  let narrow: Listeners;
  beforeAll(async () => {
    narrow = await startListeners(memoryServices(), {
      settings: { MAX_BODY_BYTES: String(LIMIT), MAX_BYTES_IN_FLIGHT: String(4 * LIMIT) },
    });
  });
  afterAll(() => narrow[Symbol.asyncDispose]());

  describe.each(Object.entries(PIECES))("%s", (name, bytes) => {
    const isRefused = name === "crumbs";
    const count = CRUMBS / PIECES[name as keyof typeof PIECES];

    it.each([
      ["Connect", "Content-Type: application/proto"],
      ["Connect, packed", "Content-Type: application/proto\r\nContent-Encoding: gzip"],
      ["gRPC-Web", "Content-Type: application/grpc-web+proto"],
    ])("%s", async (_door, headers) => {
      const socket = connect(narrow.http.port, "127.0.0.1");
      socket.on("error", () => {});
      let answer = "";
      socket.on("data", (data) => {
        answer += data.toString("latin1");
      });
      socket.write(
        `POST ${CREATE} HTTP/1.1\r\nHost: localhost\r\n${headers}\r\nTransfer-Encoding: chunked\r\n\r\n`,
      );
      const piece = `${bytes.toString(16)}\r\n${"\0".repeat(bytes)}\r\n`;
      await new Promise((resolve) => socket.write(piece.repeat(count), resolve));
      // Whoever is let through is asked for more, and so is silent until the end comes.
      if (isRefused) await until(() => /resource_exhausted|grpc-status: 8/.test(answer));
      else expect(answer).toBe("");
      socket.destroy();
    });

    it("gRPC", async () => {
      const client = await openHttp2(narrow.grpc.port);
      await client.send(frame(FRAME.headers, FLAG.endHeaders, 1, grpcHeaders(CREATE)));
      const head = Buffer.alloc(5);
      head.writeUInt32BE(CRUMBS + 1, 1);
      await client.send(frame(FRAME.data, 0, 1, head));
      const piece = frame(FRAME.data, 0, 1, Buffer.alloc(bytes));
      const some = Buffer.concat(Array.from({ length: 100 }, () => piece));
      for (let sent = 0; sent < count; sent += 100) await client.send(some);
      const answered = () => client.frames.some(({ type, stream }) => type === FRAME.headers && stream === 1);
      if (isRefused) await until(answered);
      else expect(answered()).toBe(false);
      client.socket.destroy();
    });
  });
});
