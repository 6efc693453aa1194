/**
 * What durability and a worker process cost above the wire: a small MLP (64-128-128-10) behind CreatePrediction with
 * `wait`, typed tensors in and out, every prediction committed with synchronous=FULL before it is answered; against a
 * bare grpc-js echo of as many bytes each way, and the runtime in a loop at the batches that so many callers make.
 */
import { create, toBinary } from "@bufbuild/protobuf";
import { CreatePredictionRequestSchema, PredictionService } from "../../gen/auspex/v1/prediction_pb.ts";
import { DataType } from "../../gen/auspex/v1/tensor_pb.ts";
import { bareGrpc } from "../bare.ts";
import type { LoadOrder } from "../load.ts";
import { mlpServers } from "../mlp-server.ts";
import { type Generator, measure, type Target } from "../rounds.ts";
import type { BenchContext, Goal, Row, RowResult, Table } from "../row.ts";
import { startTensorFloor } from "../tensor-floor.ts";

/** The share of the echo's rate that the issue asks for, at this many calls in flight. */
const GOAL = { atLeast: 0.5, inFlight: 64 };
const IN_FLIGHT: readonly number[] = [1, 16, 64, 256];
/** A tensor model's own, unless its auspex.json says another. */
const BATCH_MAX = 32;
const FLOATS = 64;
const WARM_UP_SECONDS = 1;
export const CREATE_PATH = `/${PredictionService.typeName}/${PredictionService.method.createPrediction.name}`;

/** Rows for `bench/mlp`, answered when they are finished or, without `wait`, when they are durable. */
export function mlpRequest({ wait = true, rows = 1 } = {}): Uint8Array {
  const input = Float32Array.from({ length: rows * FLOATS }, (_, i) => Math.sin(i));
  const request = create(CreatePredictionRequestSchema, {
    model: "bench/mlp",
    tensors: { x: { dtype: DataType.FLOAT32, shape: [rows, FLOATS], data: new Uint8Array(input.buffer) } },
    ...(wait && { wait: { seconds: 10n } }),
  });
  return toBinary(CreatePredictionRequestSchema, request);
}

/** The bytes of one answer, and proof that the server answers as it should. */
async function probe(generator: Generator, load: Omit<LoadOrder, "inFlight" | "seconds">): Promise<number> {
  const { response } = await generator.run({ ...load, inFlight: 1, seconds: 0.1 });
  return response.length;
}

async function run(context: BenchContext): Promise<RowResult> {
  const { generator, inFlight = IN_FLIGHT, workers, seconds, rounds, progress } = context;
  await using servers = await mlpServers();
  const request = mlpRequest();
  const targets: Target[] = [];
  let answerBytes = 0;
  for (const count of workers) {
    const name = `durable create, ${count} worker${count === 1 ? "" : "s"}`;
    progress(`starting: ${name}`);
    const server = await servers.start({ WORKERS: String(count) });
    const address = new URL(server.grpcUrl).host;
    const load = {
      to: { kind: "grpc", address, path: CREATE_PATH },
      request,
      expect: "succeeded prediction",
    } as const;
    answerBytes = await probe(generator, load);
    targets.push({ name, pid: server.process.pid ?? 0, load });
  }
  await using echo = await bareGrpc(answerBytes, request);
  await using loop = startTensorFloor(servers.folder, FLOATS, BATCH_MAX);
  const tables: Table[] = [];
  const goals: Goal[] = [];
  for (const count of inFlight) {
    const measurements = await measure(generator, [echo.target, loop.target, ...targets], {
      inFlight: count,
      seconds,
      rounds,
      warmUpSeconds: WARM_UP_SECONDS,
      onRound: (round) => progress(`${count} in flight: round ${round} of ${rounds}`),
    });
    tables.push({ title: `${count} in flight`, measurements });
    const [echoed, , ours] = measurements;
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
      loop: `one process, batches of as many rows as are in flight, at most ${BATCH_MAX}, as the server's`,
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
