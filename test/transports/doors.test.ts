/** What must be the same through gRPC, Connect and gRPC-Web. */
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Prediction, PredictionService, PredictionStatus } from "../../gen/auspex/v1/prediction_pb.ts";
import { BadRequestSchema, RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { AuspexError, ERROR_CODES, type ErrorCode } from "../../src/domain/error.ts";
import type { CallContext } from "../../src/services/call.ts";
import { clientOf, DOORS, type Listeners, startListeners, until } from "./listeners.ts";
import { BAD_KEY, memoryServices } from "./memory-services.ts";

/** The calls that operations were given, by the model or id that they name. */
const calls = new Map<string, CallContext>();
let returned = 0;
let listeners: Listeners;

function refusalOf(code: string): AuspexError {
  return new AuspexError(code as ErrorCode, `refused: ${code} ünï`, {
    violations: [{ field: 'tensors["x"].shape', description: "is \ud800 wrong", reason: "out_of_range" }],
    retryAfterMs: 1250,
  });
}

beforeAll(async () => {
  listeners = await startListeners(
    memoryServices({
      async getPrediction({ id }, call) {
        calls.set(id, call);
        if (id in ERROR_CODES) throw refusalOf(id);
        if (id === "bug") throw new TypeError("a secret of ours");
        if (id === "who") return { prediction: { id: call.principal.name } };
        // Never answers by itself, and does not look at the signal.
        return new Promise(() => {});
      },
      async *watchPrediction({ id }, call) {
        calls.set(id, call);
        try {
          yield { prediction: { id, revision: 1 } };
          if (id in ERROR_CODES) throw refusalOf(id);
          if (id === "bug") throw new TypeError("a secret of ours");
          await new Promise((_, reject) =>
            call.signal.addEventListener("abort", () => reject(call.signal.reason)),
          );
        } finally {
          returned += 1;
        }
      },
    }),
  );
});
afterAll(() => listeners[Symbol.asyncDispose]());

async function failure(promise: Promise<unknown>): Promise<ConnectError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof ConnectError)) throw new Error(`expected a ConnectError, not ${String(error)}`);
  return error;
}

async function collect<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of stream) items.push(item);
  return items;
}

function expectRefusal(error: ConnectError, code: ErrorCode): void {
  expect(error.code).toBe(ERROR_CODES[code].grpc);
  expect(error.rawMessage).toBe(`refused: ${code} ünï`);
  const [badRequest] = error.findDetails(BadRequestSchema);
  expect(
    badRequest?.fieldViolations.map(({ field, description, reason }) => [field, description, reason]),
  ).toEqual([['tensors["x"].shape', "is \ufffd wrong", "out_of_range"]]);
  const [retry] = error.findDetails(RetryInfoSchema);
  expect(retry?.retryDelay).toMatchObject({ seconds: 1n, nanos: 250_000_000 });
}

describe.each(DOORS)("%s", (door) => {
  const client = () => clientOf(listeners, door, PredictionService);

  it("creates, and watches to the end", async () => {
    await using plain = await startListeners(memoryServices());
    const predictions = clientOf(plain, door, PredictionService);
    const { prediction } = await predictions.createPrediction({
      model: "a/b",
      tensors: { x: { dtype: 1, shape: [1], data: new Uint8Array([1, 2, 3, 4]) } },
    });
    expect(prediction?.tensors.x?.data).toEqual(new Uint8Array([1, 2, 3, 4]));
    const states = await collect(predictions.watchPrediction({ id: prediction?.id ?? "" }));
    expect(states.map((state) => (state.prediction as Prediction).revision)).toEqual([1, 2, 3]);
    expect(states.at(-1)?.prediction?.status).toBe(PredictionStatus.SUCCEEDED);
  });

  it.each(Object.keys(ERROR_CODES) as ErrorCode[])(
    "maps %s with its details, unary and streamed",
    async (code) => {
      expectRefusal(await failure(client().getPrediction({ id: code })), code);
      expectRefusal(await failure(collect(client().watchPrediction({ id: code }))), code);
    },
  );

  it("says internal error of what is unknown, and logs it", async () => {
    const before = listeners.logged.length;
    for (const call of [
      client().getPrediction({ id: "bug" }),
      collect(client().watchPrediction({ id: "bug" })),
    ]) {
      const error = await failure(call);
      expect([error.code, error.rawMessage]).toEqual([Code.Internal, "internal error"]);
    }
    const entries = listeners.logged.slice(before).filter((entry) => entry.msg === "call failed");
    expect(entries.map((entry) => entry.method)).toEqual([
      "auspex.v1.PredictionService/GetPrediction",
      "auspex.v1.PredictionService/WatchPrediction",
    ]);
    expect(JSON.stringify(entries)).toContain("a secret of ours");
  });

  it("knows the caller by its bearer token", async () => {
    const who = async (headers: Record<string, string>) =>
      (await client().getPrediction({ id: "who" }, { headers })).prediction?.id;
    expect(await who({})).toBe("local");
    expect(await who({ Authorization: "Bearer alice" })).toBe("alice");
    expect(await who({ authorization: "bEARER  bob" })).toBe("bob");
    expect(await who({ authorization: "Basic Ym9i" })).toBe("local");
    const headers = { authorization: `Bearer ${BAD_KEY}` };
    expect((await failure(client().getPrediction({ id: "who" }, { headers }))).code).toBe(
      Code.Unauthenticated,
    );
    expect((await failure(collect(client().watchPrediction({ id: "who" }, { headers })))).code).toBe(
      Code.Unauthenticated,
    );
  });

  it("F18 a cancel reaches a unary call's signal within 50 ms", async () => {
    const id = `${door} cancel unary`;
    const abort = new AbortController();
    const call = failure(client().getPrediction({ id }, { signal: abort.signal }));
    await until(() => calls.has(id));
    await expectAbortWithin50Ms(id, () => abort.abort());
    expect((await call).code).toBe(Code.Canceled);
  });

  it("F18 a cancel reaches a stream's signal within 50 ms and ends its iterator", async () => {
    const id = `${door} cancel stream`;
    const abort = new AbortController();
    const before = returned;
    const call = failure(collect(client().watchPrediction({ id }, { signal: abort.signal })));
    await until(() => calls.has(id));
    await expectAbortWithin50Ms(id, () => abort.abort());
    expect((await call).code).toBe(Code.Canceled);
    await until(() => returned === before + 1);
  });

  it("ends at the caller's deadline, and tells the operation of it", async () => {
    const began = Date.now();
    for (const [id, call] of [
      [`${door} deadline unary`, (id: string) => client().getPrediction({ id }, { timeoutMs: 150 })],
      [
        `${door} deadline stream`,
        (id: string) => collect(client().watchPrediction({ id }, { timeoutMs: 150 })),
      ],
    ] as const) {
      expect((await failure(call(id))).code).toBe(Code.DeadlineExceeded);
      await until(() => calls.get(id)?.signal.aborted === true);
      const { deadlineAt = 0 } = calls.get(id) ?? {};
      // The server counts from when the call reaches it.
      expect(deadlineAt - began).toBeGreaterThanOrEqual(150);
      expect(deadlineAt - began).toBeLessThan(5_000);
    }
  });
});

async function expectAbortWithin50Ms(id: string, abort: () => void): Promise<void> {
  const signal = calls.get(id)?.signal;
  expect(signal?.aborted).toBe(false);
  const began = performance.now();
  const aborted = new Promise<number>((resolve) => {
    signal?.addEventListener("abort", () => resolve(performance.now() - began));
  });
  abort();
  expect(await aborted).toBeLessThan(50);
}
