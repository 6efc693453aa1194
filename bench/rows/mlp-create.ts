/**
 * What durability and a worker process cost above the wire: a small MLP (64-128-128-10) behind CreatePrediction with
 * `wait`, typed tensors in and out, every prediction committed with synchronous=FULL before it is answered; against a
 * bare grpc-js echo of as many bytes each way.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { CreatePredictionRequestSchema, PredictionService } from "../../gen/auspex/v1/prediction_pb.ts";
import { DataType } from "../../gen/auspex/v1/tensor_pb.ts";
import { startServer } from "../../test/harness.ts";
import { writeMlp } from "../../test/models/mlp.ts";
import { ECHO_PATH } from "../echo-server.ts";
import type { LoadOrder } from "../load.ts";
import { type Generator, measure, type Target } from "../rounds.ts";
import type { BenchContext, Goal, Row, RowResult, Table } from "../row.ts";

/** The share of the echo's rate that the issue asks for, at this many calls in flight. */
const GOAL = { atLeast: 0.35, inFlight: 64 };
const FLOATS = 64;
const WARM_UP_SECONDS = 2;
export const CREATE_PATH = `/${PredictionService.typeName}/${PredictionService.method.createPrediction.name}`;

/** One row for `bench/mlp`. */
export function mlpRequest(): Uint8Array {
  const input = Float32Array.from({ length: FLOATS }, (_, i) => Math.sin(i));
  const request = create(CreatePredictionRequestSchema, {
    model: "bench/mlp",
    tensors: { x: { dtype: DataType.FLOAT32, shape: [1, FLOATS], data: new Uint8Array(input.buffer) } },
    wait: { seconds: 10n },
  });
  return toBinary(CreatePredictionRequestSchema, request);
}

async function startEcho(bytes: number) {
  const child = fork(join(import.meta.dirname, "..", "echo-server.ts"), [String(bytes)]);
  const [{ port }] = (await once(child, "message")) as [{ port: number }];
  return {
    address: `127.0.0.1:${port}`,
    pid: child.pid ?? 0,
    async [Symbol.asyncDispose]() {
      child.disconnect();
      await once(child, "exit");
    },
  };
}

interface Variant {
  readonly name: string;
  readonly settings: Readonly<Record<string, string>>;
}

function variants(workers: readonly number[]): readonly Variant[] {
  const [first = 1] = workers;
  return [
    ...workers.map((count) => ({
      name: `durable create, ${count} worker${count === 1 ? "" : "s"}`,
      settings: { WORKERS: String(count) },
    })),
    { name: `the same, batching off`, settings: { WORKERS: String(first), BATCH_MAX: "1" } },
  ];
}

/** The bytes of one answer, and proof that the server answers as it should. */
async function probe(generator: Generator, load: Omit<LoadOrder, "inFlight" | "seconds">): Promise<number> {
  const { response } = await generator.run({ ...load, inFlight: 1, seconds: 0.1 });
  return response.length;
}

async function run(context: BenchContext): Promise<RowResult> {
  const { generator, inFlight, workers, seconds, rounds, progress } = context;
  await using cleanUp = new AsyncDisposableStack();
  const modelsDir = await mkdtemp(join(tmpdir(), "auspex-bench-"));
  cleanUp.defer(() => rm(modelsDir, { recursive: true, force: true }));
  await writeMlp(join(modelsDir, "bench", "mlp", "1"));
  const request = mlpRequest();
  const targets: Target[] = [];
  let answerBytes = 0;
  for (const { name, settings } of variants(workers)) {
    progress(`starting: ${name}`);
    const server = await startServer({ settings: { MODELS_DIR: modelsDir, CATALOGUE: "0", ...settings } });
    cleanUp.use(server);
    // Asked to stop before it is made to, so that a profiler in it writes its findings (bench/README.md).
    cleanUp.defer(async () => void (await server.terminate()));
    const address = new URL(server.grpcUrl).host;
    const load = {
      to: { kind: "grpc", address, path: CREATE_PATH },
      request,
      expect: "succeeded prediction",
    } as const;
    answerBytes = await probe(generator, load);
    targets.push({ name, pid: server.process.pid ?? 0, load });
  }
  const echo = await startEcho(answerBytes);
  cleanUp.use(echo);
  const floor: Target = {
    name: "bare grpc-js echo",
    pid: echo.pid,
    load: { to: { kind: "grpc", address: echo.address, path: ECHO_PATH }, request, expect: "bytes" },
  };
  const tables: Table[] = [];
  const goals: Goal[] = [];
  for (const count of inFlight) {
    const measurements = await measure(generator, [floor, ...targets], {
      inFlight: count,
      seconds,
      rounds,
      warmUpSeconds: WARM_UP_SECONDS,
      onRound: (round) => progress(`${count} in flight: round ${round} of ${rounds}`),
    });
    tables.push({ title: `${count} in flight`, measurements });
    const [echoed, ours] = measurements;
    if (count === GOAL.inFlight && echoed && ours) {
      const value = ours.rate.median / echoed.rate.median;
      goals.push({
        what: `${ours.name}, rate of the echo's at ${count} in flight`,
        value,
        atLeast: GOAL.atLeast,
      });
    }
  }
  return {
    settings: {
      bytes: `${request.length} in, ${answerBytes} out`,
      store: "SQLite, WAL, synchronous=FULL; every answer after its commit",
      batching: "the model's own maximum, unless the name says off",
      rounds: `${rounds} × ${seconds} s for each, in turn, after ${WARM_UP_SECONDS} s of warming up; medians`,
    },
    tables,
    goals,
  };
}

export const mlpCreate: Row = {
  name: "mlp-create",
  title: "durable CreatePrediction with wait over gRPC, MLP 64-128-128-10",
  run,
};
