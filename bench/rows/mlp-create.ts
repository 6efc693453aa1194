/**
 * What durability and a worker process cost above the wire: a small MLP (64-128-128-10) behind CreatePrediction with
 * `wait`, typed tensors in and out, every prediction committed with synchronous=FULL before it is answered; against a
 * bare grpc-js echo of as many bytes each way.
 */
import { create, toBinary } from "@bufbuild/protobuf";
import { CreatePredictionRequestSchema, PredictionService } from "../../gen/auspex/v1/prediction_pb.ts";
import { DataType } from "../../gen/auspex/v1/tensor_pb.ts";
import { bareGrpc } from "../bare.ts";
import type { LoadOrder } from "../load.ts";
import { mlpServers } from "../mlp-server.ts";
import { type Generator, measure, type Target } from "../rounds.ts";
import type { BenchContext, Goal, Row, RowResult, Table } from "../row.ts";

/** The share of the echo's rate that the issue asks for, at this many calls in flight. */
const GOAL = { atLeast: 0.35, inFlight: 64 };
const FLOATS = 64;
const WARM_UP_SECONDS = 2;
export const CREATE_PATH = `/${PredictionService.typeName}/${PredictionService.method.createPrediction.name}`;

/** One row for `bench/mlp`, answered when it is finished or, without `wait`, when it is durable. */
export function mlpRequest({ wait = true } = {}): Uint8Array {
  const input = Float32Array.from({ length: FLOATS }, (_, i) => Math.sin(i));
  const request = create(CreatePredictionRequestSchema, {
    model: "bench/mlp",
    tensors: { x: { dtype: DataType.FLOAT32, shape: [1, FLOATS], data: new Uint8Array(input.buffer) } },
    ...(wait && { wait: { seconds: 10n } }),
  });
  return toBinary(CreatePredictionRequestSchema, request);
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
  await using servers = await mlpServers();
  const request = mlpRequest();
  const targets: Target[] = [];
  let answerBytes = 0;
  for (const { name, settings } of variants(workers)) {
    progress(`starting: ${name}`);
    const server = await servers.start(settings);
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
  const tables: Table[] = [];
  const goals: Goal[] = [];
  for (const count of inFlight) {
    const measurements = await measure(generator, [echo.target, ...targets], {
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
