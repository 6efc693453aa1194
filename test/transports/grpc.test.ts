/** What is gRPC's own: health, reflection, buf, malformed bodies, status size, backpressure, drain. */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { createServer } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  Client,
  type ClientReadableStream,
  credentials,
  Metadata,
  makeGenericClientConstructor,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { service as healthService } from "grpc-health-check";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { GetPredictionRequestSchema, PredictionService } from "../../gen/auspex/v1/prediction_pb.ts";
import { StatusSchema } from "../../gen/google/rpc/status_pb.ts";
import { readConfig } from "../../src/config.ts";
import { AuspexError, type FieldViolation } from "../../src/domain/error.ts";
import { createByteBudget } from "../../src/transports/byte-budget.ts";
import { startGrpc } from "../../src/transports/grpc.ts";
import { clientOf, type Listeners, startListeners, until } from "./listeners.ts";
import { memoryServices, type Predictions } from "./memory-services.ts";

const GET = "/auspex.v1.PredictionService/GetPrediction";
const WATCH = "/auspex.v1.PredictionService/WatchPrediction";
const identity = (bytes: Buffer) => bytes;

let listeners: Listeners;
beforeAll(async () => {
  const getPrediction: Predictions["getPrediction"] = async ({ id }) => ({ prediction: { id } });
  listeners = await startListeners(memoryServices({ getPrediction }));
});
afterAll(() => listeners[Symbol.asyncDispose]());

const address = (of: Listeners) => `127.0.0.1:${of.grpc.port}`;

const request = (id: string): Uint8Array =>
  toBinary(GetPredictionRequestSchema, create(GetPredictionRequestSchema, { id }));

/** A message as gRPC sends it: a flag, its length, its bytes. */
function envelope(flag: number, message: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(flag);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** One unary call with a body of any bytes; answers the error, or undefined for success. */
function callRaw(of: Listeners, body: Buffer, metadata = new Metadata()): Promise<ServiceError | undefined> {
  const client = new Client(address(of), credentials.createInsecure(), {
    "grpc.max_send_message_length": -1,
  });
  return new Promise((resolve) => {
    client.makeUnaryRequest(GET, identity, identity, body, metadata, (error) => {
      client.close();
      resolve(error ?? undefined);
    });
  });
}

it("calls a malformed body the caller's fault", async () => {
  const error = await callRaw(listeners, Buffer.from([0x0a, 0xff, 0xff]));
  expect(error?.code).toBe(status.INVALID_ARGUMENT);
  expect(error?.details).toBe("the request is not a valid auspex.v1.GetPredictionRequest");
});

it("answers UNIMPLEMENTED for what it does not have", async () => {
  const client = new Client(address(listeners), credentials.createInsecure());
  const error = await new Promise<ServiceError | null>((resolve) => {
    client.makeUnaryRequest("/auspex.v1.Nope/Do", identity, identity, Buffer.alloc(0), resolve);
  });
  expect(error?.code).toBe(status.UNIMPLEMENTED);
  client.close();
});

/** One call as bytes; answers its status code, the first of its headers or of its trailers. */
async function callForm(headers: Record<string, string>, ...messages: readonly Buffer[]): Promise<number> {
  const session = connectHttp2(listeners.grpcUrl);
  const stream = session.request(
    { ":method": "POST", ":path": GET, "content-type": "application/grpc", te: "trailers", ...headers },
    // Node would end that of a DELETE at once.
    { endStream: false },
  );
  const found = new Promise<number>((resolve) => {
    for (const event of ["response", "trailers"]) {
      stream.on(event, ({ "grpc-status": code }) => void (code === undefined || resolve(Number(code))));
    }
  });
  stream.resume();
  stream.end(Buffer.concat(messages));
  const code = await found;
  session.destroy();
  return code;
}

describe("a call's form", () => {
  const plain = envelope(0, request("x"));
  const packed = envelope(1, gzipSync(request("x")));
  const cases: readonly (readonly [string, number, Record<string, string>, ...Buffer[]])[] = [
    ["without a codec's name", status.OK, {}, plain],
    ["protobuf by name", status.OK, { "content-type": "application/grpc+proto" }, plain],
    ["another codec", status.UNIMPLEMENTED, { "content-type": "application/grpc+json" }, plain],
    ["gRPC-Web", status.UNIMPLEMENTED, { "content-type": "application/grpc-web+proto" }, plain],
    ["another verb", status.UNIMPLEMENTED, { ":method": "DELETE" }, plain],
    ["packed, as it says", status.OK, { "grpc-encoding": "gzip" }, packed],
    ["an encoding that nobody has", status.UNIMPLEMENTED, { "grpc-encoding": "foo" }, plain],
    ["packed, and it does not say how", status.INTERNAL, {}, packed],
    ["packed, and it says that it is not", status.INTERNAL, { "grpc-encoding": "identity" }, packed],
    ["two messages", status.UNIMPLEMENTED, {}, plain, plain],
    ["no message", status.UNIMPLEMENTED, {}],
  ];
  for (const [name, code, headers, ...messages] of cases) {
    it(`${name}: ${status[code]}`, async () => {
      expect(await callForm(headers, ...messages)).toBe(code);
    });
  }
});

it("keeps a status with many violations small enough for any client", async () => {
  const violations = Array.from(
    { length: 500 },
    (_, index): FieldViolation => ({
      field: `field_${index}`,
      description: "世".repeat(50),
      reason: "wrong",
    }),
  );
  const services = memoryServices({
    getPrediction: async () => {
      throw new AuspexError("invalid_argument", "世".repeat(100_000), { violations });
    },
  });
  await using full = await startListeners(services);
  const error = await callRaw(full, Buffer.alloc(0));
  expect(error?.code).toBe(status.INVALID_ARGUMENT);
  const [packed] = error?.metadata.get("grpc-status-details-bin") ?? [];
  const bytes = packed as Buffer;
  expect(encodeURI(error?.details ?? "").length + bytes.length * (4 / 3)).toBeLessThan(8 * 1024);
  expect(fromBinary(StatusSchema, bytes).details.length).toBe(1);
});

it("says which address it cannot have", async () => {
  const taken = createServer().listen(0, "127.0.0.1");
  await once(taken, "listening");
  const { port } = taken.address() as { port: number };
  const config = { ...readConfig({}), GRPC_PORT: port };
  const log = pino({ level: "silent" });
  await expect(
    startGrpc({ services: memoryServices(), config, log, budget: createByteBudget(1e9) }),
  ).rejects.toMatchObject({
    code: "EADDRINUSE",
    message: expect.stringContaining(`127.0.0.1:${port}`),
  });
  taken.close();
});

describe("health", () => {
  const Health = makeGenericClientConstructor(healthService, "Health");
  const clientFor = (of: Listeners) =>
    new Health(address(of), credentials.createInsecure()) as unknown as {
      check(
        request: object,
        callback: (error: ServiceError | null, response?: { status: string }) => void,
      ): void;
      watch(request: object): ClientReadableStream<{ status: string }>;
      close(): void;
    };

  it("answers for the server and for each service, and NOT_FOUND for others", async () => {
    const client = clientFor(listeners);
    const check = (service: string) =>
      new Promise((resolve) =>
        client.check({ service }, (error, response) => resolve(error?.code ?? response?.status)),
      );
    expect(await check("")).toBe("SERVING");
    for (const service of ["PredictionService", "ModelService", "ImageService"]) {
      expect(await check(`auspex.v1.${service}`)).toBe("SERVING");
    }
    expect(await check("nobody.v1.Service")).toBe(status.NOT_FOUND);
    client.close();
  });

  it("follows the services, and says NOT_SERVING first when draining", async () => {
    const services = memoryServices();
    await using own = await startListeners(services);
    const client = clientFor(own);
    const seen: string[] = [];
    const watch = client.watch({ service: "auspex.v1.PredictionService" });
    watch.on("data", (update: { status: string }) => seen.push(update.status));
    const ended = once(watch, "end");
    await until(() => seen.length === 1);
    services.setServing(false);
    await until(() => seen.length === 2);
    services.setServing(true);
    await until(() => seen.length === 3);
    const began = performance.now();
    await own.grpc.drain(30_000);
    await ended;
    expect(seen).toEqual(["SERVING", "NOT_SERVING", "SERVING", "NOT_SERVING"]);
    // The open health stream does not hold the drain up.
    expect(performance.now() - began).toBeLessThan(5_000);
    client.close();
  });
});

describe("reflection", () => {
  /** A ServerReflectionRequest with one text field; their numbers are the same in both versions. */
  const ask = (field: number, text: string) =>
    Buffer.concat([Buffer.from([(field << 3) | 2, text.length]), Buffer.from(text)]);
  const LIST_SERVICES = 7;
  const FILE_CONTAINING_SYMBOL = 4;

  it.each(["v1", "v1alpha"])("%s lists the services and knows their types", async (version) => {
    const client = new Client(address(listeners), credentials.createInsecure());
    const path = `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`;
    const stream = client.makeBidiStreamRequest(path, identity, identity);
    stream.write(ask(LIST_SERVICES, "*"));
    const [services] = (await once(stream, "data")) as [Buffer];
    for (const name of ["ImageService", "ModelService", "PredictionService"]) {
      expect(services.toString("latin1")).toContain(`auspex.v1.${name}`);
    }
    expect(services.toString("latin1")).toContain("grpc.health.v1.Health");
    stream.write(ask(FILE_CONTAINING_SYMBOL, "auspex.v1.PredictionService"));
    const [files] = (await once(stream, "data")) as [Buffer];
    for (const name of ["auspex/v1/tensor.proto", "google/protobuf/struct.proto"]) {
      expect(files.toString("latin1")).toContain(name);
    }
    stream.end();
    client.close();
  });

  it("does not pile up answers for who asks and does not read", async () => {
    const session = connectHttp2(listeners.grpcUrl);
    const request = session.request({
      ":method": "POST",
      ":path": "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
      "content-type": "application/grpc",
      te: "trailers",
    });
    request.pause();
    const question = ask(FILE_CONTAINING_SYMBOL, "auspex.v1.PredictionService");
    const framed = Buffer.concat([Buffer.from([0, 0, 0, 0, question.length]), question]);
    const many = Buffer.concat(Array.from({ length: 100 }, () => framed));
    // Each question has an answer of some 10 KB; the questions stop being taken when the answers are not.
    let taken = 0;
    const write = () => {
      request.write(many, (error) => {
        if (error) return;
        taken += 100;
        write();
      });
    };
    write();
    await stalled(() => taken);
    expect(taken).toBeLessThan(20_000);
    session.destroy();
  });
});

describe("buf curl", () => {
  const buf = (...args: string[]) =>
    promisify(execFile)(join(import.meta.dirname, "..", "..", "node_modules", ".bin", "buf"), [
      "curl",
      ...args,
    ]);

  it("lists services and calls by reflection", async () => {
    const base = ["--http2-prior-knowledge", "--protocol", "grpc"];
    const { stdout: services } = await buf(...base, "--list-services", listeners.grpcUrl);
    expect(services).toContain("auspex.v1.PredictionService");
    expect(services).toContain("grpc.health.v1.Health");
    const url = `${listeners.grpcUrl}/auspex.v1.PredictionService`;
    const created = await buf(
      ...base,
      "-d",
      '{"model":"a/b","input":{"x":[1,2]}}',
      `${url}/CreatePrediction`,
    );
    const { id } = JSON.parse(created.stdout).prediction;
    const watched = await buf(...base, "-d", JSON.stringify({ id }), `${url}/WatchPrediction`);
    expect(watched.stdout).toContain("PREDICTION_STATUS_SUCCEEDED");
  });
});

describe("a slow reader", () => {
  const stateBytes = 100_000;

  it("holds the producer: 10,000 states of 100 KB cost a bounded amount of memory", async () => {
    let produced = 0;
    let ended = false;
    const services = memoryServices({
      async *watchPrediction() {
        try {
          for (; produced < 10_000; produced++) {
            yield { prediction: { id: "x".repeat(stateBytes), revision: produced } };
          }
        } finally {
          ended = true;
        }
      },
    });
    await using own = await startListeners(services);
    // A client that opens the stream and then reads nothing: paused, HTTP/2 flow control fills up.
    const session = connectHttp2(own.grpcUrl);
    const request = session.request({
      ":method": "POST",
      ":path": WATCH,
      "content-type": "application/grpc",
      te: "trailers",
    });
    request.pause();
    request.end(Buffer.alloc(5));
    await once(request, "response");
    await stalled(() => produced);
    expect(produced * stateBytes).toBeLessThan(2 * 1024 * 1024);
    // Reading on gets more, in order.
    let bytes = 0;
    const before = produced;
    request.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
    });
    request.resume();
    await until(() => bytes > 5 * stateBytes && produced > before);
    request.close();
    await until(() => ended);
    expect(produced).toBeLessThan(10_000);
    session.destroy();
  });

  it("is let go at its deadline, even when it never reads", async () => {
    let ended = false;
    const services = memoryServices({
      async *watchPrediction() {
        try {
          for (;;) yield { prediction: { id: "x".repeat(stateBytes) } };
        } finally {
          ended = true;
        }
      },
    });
    await using own = await startListeners(services);
    const session = connectHttp2(own.grpcUrl);
    const request = session.request({
      ":method": "POST",
      ":path": WATCH,
      "content-type": "application/grpc",
      "grpc-timeout": "300m",
      te: "trailers",
    });
    request.on("error", () => {});
    request.pause();
    request.end(Buffer.alloc(5));
    await until(() => ended);
    session.destroy();
  });
});

describe("drain", () => {
  it("lets running calls finish and refuses new connections", async () => {
    const gate = Promise.withResolvers<void>();
    const stopping = Promise.withResolvers<void>();
    let waiting = 0;
    const services = memoryServices({
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
    });
    const own = await startListeners(services);
    const client = clientOf(own, "grpc", PredictionService);
    const unary = client.getPrediction({ id: "last" });
    const stream = (async () => {
      for await (const _ of client.watchPrediction({ id: "x" }));
    })();
    const streamEnded = expect(stream).rejects.toMatchObject({ code: status.UNAVAILABLE });
    await until(() => waiting === 2);
    const drained = own.grpc.drain(30_000);
    stopping.resolve();
    await streamEnded;
    gate.resolve();
    expect((await unary).prediction?.id).toBe("last");
    await drained;
    const late = await callRaw(own, Buffer.alloc(0));
    expect(late?.code).toBe(status.UNAVAILABLE);
    await own[Symbol.asyncDispose]();
  });

  it("cuts what is not done within the grace", async () => {
    let waiting = false;
    const services = memoryServices({
      getPrediction: () => {
        waiting = true;
        return new Promise(() => {});
      },
    });
    const own = await startListeners(services);
    const request = create(GetPredictionRequestSchema, { id: "x" });
    const call = callRaw(own, Buffer.from(toBinary(GetPredictionRequestSchema, request)));
    await until(() => waiting);
    await own.grpc.drain(100);
    expect((await call)?.code).toBeOneOf([status.UNAVAILABLE, status.CANCELLED]);
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
