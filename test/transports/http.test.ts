/** What is the HTTP listener's own: health, metrics, unknown paths, strays, CORS, Connect over HTTP/1.1, drain. */
import { execFile } from "node:child_process";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { Client, credentials } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PredictionService } from "../../gen/auspex/v1/prediction_pb.ts";
import { AuspexError } from "../../src/domain/error.ts";
import type { Dialect } from "../../src/transports/dialect.ts";
import { clientOf, type Listeners, startListeners, until } from "./listeners.ts";
import { type MemoryServices, memoryServices } from "./memory-services.ts";

const CREATE = "/auspex.v1.PredictionService/CreatePrediction";
const GET = "/auspex.v1.PredictionService/GetPrediction";
const WATCH = "/auspex.v1.PredictionService/WatchPrediction";

const toy: Dialect = {
  name: "toy",
  prefixes: ["/toy"],
  register(scope) {
    scope.addHook("onRequest", async (_request, reply) => void reply.header("x-toy", "1"));
    scope.post("/echo", async (request) => request.body);
    scope.setNotFoundHandler(
      (_request, reply) => void reply.code(404).send({ detail: "toy has no such thing" }),
    );
    scope.setErrorHandler(
      (_error, _request, reply) => void reply.code(422).send({ detail: "toy is confused" }),
    );
  },
};

let services: MemoryServices;
let listeners: Listeners;
beforeAll(async () => {
  services = memoryServices();
  listeners = await startListeners(services, { dialects: [toy] });
});
afterAll(() => listeners[Symbol.asyncDispose]());

const at = (path: string, init?: RequestInit) => fetch(`${listeners.httpUrl}${path}`, init);

const json = async <T>(response: Response): Promise<T> => (await response.json()) as T;

/** Sends raw bytes and collects what comes back until the server closes or `enough` holds. */
async function raw(of: Listeners, bytes: string, enough = (_text: string) => false): Promise<string> {
  const socket = connect(of.http.port, "127.0.0.1");
  let text = "";
  socket.on("error", () => {});
  socket.on("data", (chunk) => {
    text += chunk.toString("latin1");
    if (enough(text)) socket.destroy();
  });
  socket.write(bytes);
  await once(socket, "close");
  return text;
}

describe("operations", () => {
  it("is alive, ready by what the services say, and measured", async () => {
    expect(await (await at("/healthz")).json()).toEqual({ status: "ok" });
    expect((await at("/readyz")).status).toBe(200);
    services.setServing(false);
    const notReady = await at("/readyz");
    expect([notReady.status, await notReady.json()]).toEqual([
      503,
      { status: "not ready", reason: "told so by a test" },
    ]);
    expect((await at("/healthz")).status).toBe(200);
    services.setServing(true);
    const metrics = await at("/metrics");
    expect(metrics.headers.get("content-type")).toContain("text/plain");
    expect(await metrics.text()).toContain("# nothing");
  });

  it.each([
    ["GET", "/", undefined],
    ["GET", "/nope?q=1", undefined],
    ["POST", "/nope", "application/x-unheard-of"],
    ["POST", "/nope", "application/json"],
    ["DELETE", "/healthz", undefined],
    ["POST", "/auspex.v1.PredictionService/Nope", "application/json"],
  ])("%s %s (%s) is a JSON 404", async (method, path, type) => {
    const init =
      type === undefined ? { method } : { method, body: "not json", headers: { "content-type": type } };
    const response = await at(path, init);
    expect(response.status).toBe(404);
    expect(response.headers.get("content-type")).toContain("application/json");
    const [bare] = path.split("?");
    expect(await response.json()).toEqual({
      error: { code: "not_found", message: `there is nothing at ${method} ${bare}` },
    });
  });

  it("refuses a path that cannot be decoded", async () => {
    const response = await at("/%zz");
    expect([response.status, (await json<{ error: { code: string } }>(response)).error.code]).toEqual([
      400,
      "invalid_argument",
    ]);
  });

  it("keeps a dialect in its scope, and the dialect what is below its prefix", async () => {
    const echo = await at("/toy/echo", {
      method: "POST",
      body: '{"a":1}',
      headers: { "content-type": "application/json" },
    });
    expect([await echo.json(), echo.headers.get("x-toy")]).toEqual([{ a: 1 }, "1"]);
    const broken = await at("/toy/echo", {
      method: "POST",
      body: "{",
      headers: { "content-type": "application/json" },
    });
    expect([broken.status, await broken.json()]).toEqual([422, { detail: "toy is confused" }]);
    const unknown = await at("/toy/nope");
    expect([unknown.status, await unknown.json()]).toEqual([404, { detail: "toy has no such thing" }]);
    expect((await at("/nope")).headers.get("x-toy")).toBeNull();
  });
});

describe("strays", () => {
  it("tells gRPC over HTTP/1.1 its port", async () => {
    const response = await at(CREATE, {
      method: "POST",
      headers: { "content-type": "application/grpc+proto" },
      body: Buffer.alloc(5),
    });
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe("application/grpc");
    expect(response.headers.get("grpc-status")).toBe("12");
    expect(decodeURIComponent(response.headers.get("grpc-message") ?? "")).toBe(
      `gRPC is served on port ${listeners.grpc.port}`,
    );
  });

  it("tells an HTTP/2 connection the gRPC port in its GOAWAY", async () => {
    const session = connectHttp2(listeners.httpUrl);
    session.on("error", () => {});
    const [code, , data] = (await once(session, "goaway")) as [number, number, Buffer];
    expect(code).toBe(0xd);
    expect(data.toString()).toContain(`gRPC is served on port ${listeners.grpc.port}`);
    session.destroy();
  });

  it("calls a malformed message over Connect the caller's fault", async () => {
    const response = await at(GET, {
      method: "POST",
      headers: { "content-type": "application/proto" },
      body: Buffer.from([0x0a, 0xff, 0xff]),
    });
    expect(response.status).toBe(400);
    expect(await json(response)).toMatchObject({ code: "invalid_argument" });
  });

  it("does not leave a gRPC client hanging", async () => {
    const client = new Client(`127.0.0.1:${listeners.http.port}`, credentials.createInsecure());
    const identity = (bytes: Buffer) => bytes;
    const error = await new Promise<{ code: number } | null>((resolve) => {
      client.makeUnaryRequest(GET, identity, identity, Buffer.alloc(0), resolve);
    });
    // UNAVAILABLE, or INTERNAL when its stream was already under way.
    expect(error?.code).toBeOneOf([13, 14]);
    client.close();
  });

  it.each([
    ["no HTTP", "hello\r\n\r\n", /^HTTP\/1\.1 400 /],
    [
      "both lengths",
      "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      /^HTTP\/1\.1 400 /,
    ],
    [
      "a bad host",
      `POST ${GET} HTTP/1.1\r\nHost: a b\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}`,
      /^HTTP\/1\.1 400 .*invalid_argument/s,
    ],
    [
      "no host",
      `POST ${GET} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}`,
      /^HTTP\/1\.1 400 .*invalid_argument/s,
    ],
  ])("answers 400 and closes: %s", async (_name, bytes, expected) => {
    expect(await raw(listeners, bytes)).toMatch(expected);
  });
});

describe("CORS", () => {
  const preflight = (of: Listeners, origin: string) =>
    fetch(`${of.httpUrl}${CREATE}`, {
      method: "OPTIONS",
      headers: {
        origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,connect-protocol-version,content-type",
      },
    });

  it.each(["http://localhost:5173", "https://127.0.0.1", "http://[::1]:8080", "http://127.1.2.3:1"])(
    "allows %s by default",
    async (origin) => {
      const response = await preflight(listeners, origin);
      expect(response.status).toBe(204);
      expect(response.headers.get("access-control-allow-origin")).toBe(origin);
      expect(response.headers.get("access-control-allow-methods")).toBe("POST, GET");
      expect(response.headers.get("access-control-allow-headers")).toMatch(/Authorization/);
      expect(response.headers.get("access-control-allow-headers")).toMatch(/Connect-Protocol-Version/i);
      expect(response.headers.get("access-control-max-age")).toBe("7200");
      expect(response.headers.get("vary")).toBe("Origin");
    },
  );

  it.each(["http://example.com", "http://localhost.example.com", "http://127.0.0.1.example.com", "null"])(
    "does not allow %s by default",
    async (origin) => {
      const response = await preflight(listeners, origin);
      expect(response.headers.get("access-control-allow-origin")).toBeNull();
      expect(response.headers.get("vary")).toBe("Origin");
    },
  );

  it("shows scripts the status of an answer, errors included", async () => {
    const response = await at(GET, {
      method: "POST",
      headers: { origin: "http://localhost:1", "content-type": "application/json" },
      body: '{"id":"unknown"}',
    });
    expect(response.status).toBe(404);
    expect(response.headers.get("access-control-allow-origin")).toBe("http://localhost:1");
    expect(response.headers.get("access-control-expose-headers")).toMatch(/Grpc-Status.*Grpc-Message/i);
  });

  it("follows the setting", async () => {
    await using listed = await startListeners(memoryServices(), {
      settings: { CORS_ORIGINS: "https://shop.example" },
    });
    const allowed = async (of: Listeners, origin: string) =>
      (await preflight(of, origin)).headers.get("access-control-allow-origin");
    expect(await allowed(listed, "https://shop.example")).toBe("https://shop.example");
    expect(await allowed(listed, "http://localhost:1")).toBeNull();
    await using any = await startListeners(memoryServices(), { settings: { CORS_ORIGINS: "*" } });
    expect(await allowed(any, "https://anything.example")).toBe("https://anything.example");
  });
});

describe("Connect", () => {
  it("reads by GET", async () => {
    const query = new URLSearchParams({ encoding: "json", message: "{}", connect: "v1" });
    const response = await at(`/auspex.v1.PredictionService/ListPredictions?${query}`);
    expect([response.status, await response.json()]).toEqual([200, {}]);
  });

  it.each([
    ["not JSON", "{", 400, "invalid_argument"],
    ["an unknown field", '{"nope":1}', 400, "invalid_argument"],
    ["a wrong type", '{"id":7}', 400, "invalid_argument"],
  ])("answers a malformed body in its own form: %s", async (_name, body, status, code) => {
    const response = await at(GET, { method: "POST", headers: { "content-type": "application/json" }, body });
    expect([response.status, (await json<{ code: string }>(response)).code]).toEqual([status, code]);
  });

  it("refuses a timeout that no timer holds", async () => {
    const response = await at(GET, {
      method: "POST",
      headers: { "content-type": "application/json", "connect-timeout-ms": "9999999999" },
      body: "{}",
    });
    expect([response.status, (await json<{ code: string }>(response)).code]).toEqual([
      400,
      "invalid_argument",
    ]);
  });

  it.each(["text/plain", "application/x-www-form-urlencoded"])("does not take %s", async (type) => {
    const response = await at(GET, { method: "POST", headers: { "content-type": type }, body: "{}" });
    expect(response.status).toBe(415);
  });

  it.each(["connect", "grpcweb"])("serves buf curl over %s", async (protocol) => {
    const root = join(import.meta.dirname, "..", "..");
    const { stdout } = await promisify(execFile)(
      join(root, "node_modules", ".bin", "buf"),
      [
        "curl",
        "--schema",
        "proto",
        "--protocol",
        protocol,
        "-d",
        '{"model":"a/b"}',
        `${listeners.httpUrl}${CREATE}`,
      ],
      { cwd: root },
    );
    expect(JSON.parse(stdout).prediction.model).toBe("a/b");
  });
});

describe("a caller that goes away", () => {
  it.each([
    ["closes", (socket: Socket) => socket.end()],
    ["resets", (socket: Socket) => socket.resetAndDestroy()],
  ])("F18 %s: the signal knows within 50 ms", async (_name, leave) => {
    const seen = Promise.withResolvers<AbortSignal>();
    await using own = await startListeners(
      memoryServices({
        getPrediction(_request, { signal }) {
          seen.resolve(signal);
          return new Promise(() => {});
        },
      }),
    );
    const socket = connect(own.http.port, "127.0.0.1");
    socket.on("error", () => {});
    socket.write(
      `POST ${GET} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}`,
    );
    const signal = await seen.promise;
    const began = performance.now();
    const aborted = new Promise<number>((resolve) => {
      signal.addEventListener("abort", () => resolve(performance.now() - began));
    });
    leave(socket);
    expect(await aborted).toBeLessThan(50);
  });

  it.each([
    ["Connect", "application/connect+json"],
    ["gRPC-Web", "application/grpc-web+json"],
  ])("just before a message of a stream is written over %s: the stream ends", async (_name, type) => {
    let serverSide: Socket | undefined;
    const onRequest = (message: unknown) => {
      serverSide = (message as { readonly socket: Socket }).socket;
    };
    subscribe("http.server.request.start", onRequest);
    const ended = Promise.withResolvers<void>();
    await using own = await startListeners(
      memoryServices({
        async *watchPrediction() {
          try {
            yield { prediction: { id: "first" } };
            // Gone, and nobody has been told: what is written now is neither taken nor refused.
            serverSide?.destroy();
            yield { prediction: { id: "second" } };
          } finally {
            ended.resolve();
          }
        },
      }),
    );
    try {
      const body = "\0\0\0\0\x02{}";
      const head = `POST ${WATCH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${type}\r\nContent-Length: 7`;
      await raw(own, `${head}\r\n\r\n${body}`);
      await ended.promise;
    } finally {
      unsubscribe("http.server.request.start", onRequest);
    }
  });
});

describe("a slow reader", () => {
  it.each([
    ["Connect", "application/connect+json"],
    ["gRPC-Web", "application/grpc-web+json"],
  ])(
    "holds the producer of 10,000 states of 100 KB over %s, and is let go when it leaves",
    async (_name, type) => {
      let produced = 0;
      let ended = false;
      await using own = await startListeners(
        memoryServices({
          async *watchPrediction() {
            try {
              for (; produced < 10_000; produced++) yield { prediction: { id: "x".repeat(100_000) } };
            } finally {
              ended = true;
            }
          },
        }),
      );
      const socket = connect(own.http.port, "127.0.0.1");
      socket.on("error", () => {});
      socket.pause();
      const body = "\0\0\0\0\x02{}";
      socket.write(
        `POST ${WATCH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${type}\r\nContent-Length: 7\r\n\r\n${body}`,
        "latin1",
      );
      await until(() => produced > 0);
      // The kernel's own buffers hold some MB on loopback; beyond them nothing is made.
      await stalled(() => produced);
      expect(produced * 100_000).toBeLessThan(20_000_000);
      socket.destroy();
      await until(() => ended);
    },
  );
});

describe("drain", () => {
  it("finishes what runs, closes idle connections, and takes nothing new", async () => {
    const gate = Promise.withResolvers<void>();
    const stopping = Promise.withResolvers<void>();
    let waiting = 0;
    const own = await startListeners(
      memoryServices({
        async getPrediction({ id }) {
          waiting += 1;
          await gate.promise;
          return { prediction: { id } };
        },
        async *watchPrediction() {
          waiting += 1;
          yield { prediction: { id: "first" } };
          await stopping.promise;
          throw new AuspexError("unavailable", "stopping");
        },
      }),
    );
    await (await fetch(`${own.httpUrl}/healthz`)).text();
    const client = clientOf(own, "connect", PredictionService);
    const unary = client.getPrediction({ id: "last" });
    const stream = (async () => {
      for await (const _ of client.watchPrediction({ id: "x" }));
    })();
    const streamEnded = expect(stream).rejects.toMatchObject({ code: 14 });
    await until(() => waiting === 2);
    const drained = own.http.drain(30_000);
    stopping.resolve();
    await streamEnded;
    await expect(fetch(`${own.httpUrl}/healthz`, { keepalive: false })).rejects.toThrow();
    gate.resolve();
    expect((await unary).prediction?.id).toBe("last");
    const began = performance.now();
    await drained;
    expect(performance.now() - began).toBeLessThan(5_000);
    await own[Symbol.asyncDispose]();
  });

  it.each([
    ["Connect", `POST ${GET} HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 2`, "{}"],
    [
      "gRPC-Web",
      `POST ${GET} HTTP/1.1\r\nContent-Type: application/grpc-web+json\r\nContent-Length: 7`,
      "\0\0\0\0\x02{}",
    ],
    ["Fastify", "GET /metrics HTTP/1.1", ""],
  ])("lets a caller take the whole of a long answer: %s", async (_door, head, body) => {
    const long = "x".repeat(8 * 1024 * 1024);
    const own = await startListeners({
      ...memoryServices({ getPrediction: async () => ({ prediction: { model: long } }) }),
      metrics: async () => ({ text: long, contentType: "text/plain" }),
    });
    const socket = connect(own.http.port, "127.0.0.1");
    socket.write(`${head}\r\nHost: localhost\r\n\r\n${body}`);
    // What has come of it shows that all of it has been given to Node; the rest waits for its reader.
    await once(socket, "readable");
    const drained = own.http.drain(30_000);
    // The server looks for idle connections at once, and from then on fifty times a second.
    await new Promise((resolve) => setTimeout(resolve, 100));
    let size = 0;
    for await (const chunk of socket) size += (chunk as Buffer).length;
    expect(size).toBeGreaterThan(long.length);
    await drained;
    await own[Symbol.asyncDispose]();
  });

  it("cuts what is not done within the grace", async () => {
    let waiting = false;
    const own = await startListeners(
      memoryServices({
        getPrediction: () => {
          waiting = true;
          return new Promise(() => {});
        },
      }),
    );
    const call = clientOf(own, "connect", PredictionService).getPrediction({ id: "x" });
    const cut = expect(call).rejects.toThrow();
    await until(() => waiting);
    await own.http.drain(100);
    await cut;
    await own[Symbol.asyncDispose]();
  });
});

/** Waits until a count has not changed over some turns of the event loop with I/O in between. */
async function stalled(count: () => number): Promise<void> {
  for (let last = -1, same = 0; same < 50; ) {
    same = count() === last ? same + 1 : 0;
    last = count();
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
