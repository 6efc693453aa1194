/**
 * Pictures end to end: a photograph of 800 × 533 pixels over gRPC, durable, classified by the full MobileNet, against
 * the engine's own decoding and inference in a loop on the same cores. The other ways to share out the cores, and
 * batching off, stand beside.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { CreatePredictionRequestSchema } from "../../gen/auspex/v1/prediction_pb.ts";
import { photograph, startServer } from "../../test/harness.ts";
import { bareGrpc } from "../bare.ts";
import type { LoadReply } from "../load.ts";
import type { PictureOrder } from "../picture-floor.ts";
import { type Measurement, measure, type Target } from "../rounds.ts";
import type { BenchContext, Row, RowResult } from "../row.ts";
import { CREATE_PATH } from "./mlp-create.ts";

const MODEL = "auspex/mobilenet";
const FOLDER = join(import.meta.dirname, "..", "..", "catalog", ".cache", "auspex", "mobilenet", "1");
/** The share of the faster loop's rate that is asked for. */
const GOAL = 0.9;
const MANY = 16;
const LONE = 1;
/** What a loop runs together. At 16 in flight each of two workers has 8. */
const FLOOR_BATCHES = [8, 1] as const;
const WARM_UP_SECONDS = 2;
/** An answer of ours with its five classes, about. */
const ANSWER_BYTES = 600;

interface Variant {
  readonly name: string;
  /** Whether one call in flight tells anything of it. */
  readonly lone: boolean;
  readonly settings: Readonly<Record<string, string>>;
}

function variants(cores: number): readonly Variant[] {
  const workers = `${cores} worker${cores === 1 ? "" : "s"} × 1 thread`;
  return [
    { name: `durable create, ${workers}`, lone: true, settings: { WORKERS: String(cores) } },
    {
      name: "the same, batching off",
      lone: false,
      settings: { WORKERS: String(cores), BATCH_MAX: "1" },
    },
    // On one core these are the first ones again.
    ...(cores > 1 ? [{ name: `1 worker × ${cores} threads`, lone: true, settings: { WORKERS: "1" } }] : []),
  ];
}

/** The loops, as targets that drive themselves. */
function startFloor(count: number, image: Uint8Array) {
  const child = fork(join(import.meta.dirname, "..", "picture-floor.ts"), [String(count)], {
    serialization: "advanced",
  });
  const exited = once(child, "exit");
  const target = (batch: number): Target => ({
    name: `loop × ${count}, ${batch} at a time`,
    pid: child.pid ?? 0,
    async load({ seconds }) {
      const order: PictureOrder = { folder: FOLDER, image, batch, seconds };
      child.send(order);
      const [reply] = (await once(child, "message")) as [LoadReply];
      if (reply.kind === "error") throw new Error(reply.message);
      return reply.result;
    },
  });
  return {
    target,
    async [Symbol.asyncDispose]() {
      child.disconnect();
      await exited;
    },
  };
}

/**
 * The part of the loop's rate that is left where each of its pictures also goes through a bare grpc-js echo and the
 * generator, on the same cores: what no server on grpc-js can pass here, however little it does.
 */
function ceiling(loop: Measurement, echo: Measurement): number {
  const alone = loop.workerCpu.median;
  return alone / (alone + echo.mainCpu.median + echo.generatorCpu.median);
}

async function run(context: BenchContext): Promise<RowResult> {
  const { generator, seconds, rounds, progress } = context;
  await using cleanUp = new AsyncDisposableStack();
  const cores = availableParallelism();
  const image = await readFile(photograph("zebra"));
  const request = toBinary(
    CreatePredictionRequestSchema,
    create(CreatePredictionRequestSchema, { model: MODEL, files: { image }, wait: { seconds: 60n } }),
  );
  const loops = cleanUp.use(startFloor(cores, image));
  const loneLoop = cleanUp.use(startFloor(1, image));
  const echo = cleanUp.use(await bareGrpc(ANSWER_BYTES, request));
  const targets: Target[] = [];
  const loneTargets: Target[] = [];
  for (const { name, lone, settings } of variants(cores)) {
    progress(`starting: ${name}`);
    const server = await startServer({ settings });
    cleanUp.use(server);
    cleanUp.defer(async () => void (await server.terminate()));
    const address = new URL(server.grpcUrl).host;
    const load = {
      to: { kind: "grpc", address, path: CREATE_PATH },
      request,
      expect: "succeeded prediction",
    } as const;
    const target = { name, pid: server.process.pid ?? 0, load };
    targets.push(target);
    if (lone) loneTargets.push(target);
  }
  const at = (inFlight: number, contenders: readonly Target[]) =>
    measure(generator, contenders, {
      inFlight,
      seconds,
      rounds,
      warmUpSeconds: WARM_UP_SECONDS,
      onRound: (round) => progress(`${inFlight} in flight: round ${round} of ${rounds}`),
    });
  const lone = await at(LONE, [loneLoop.target(1), echo.target, ...loneTargets]);
  const loopTargets = FLOOR_BATCHES.map(loops.target);
  const many = await at(MANY, [...loopTargets, echo.target, ...targets]);
  const [fastest] = many.slice(0, loopTargets.length).toSorted((a, b) => b.rate.median - a.rate.median);
  const [echoed, ours] = many.slice(loopTargets.length);
  if (!fastest || !echoed || !ours) throw new Error("a floor or the server was not measured");
  return {
    settings: {
      picture: `zebra.jpg, 800 × 533, ${image.length} bytes`,
      model: `${MODEL} on the first runtime that takes it`,
      floor: "p50, p95 and p99 are of one turn of the loop; CPU of its processes is under workers",
      rounds: `${rounds} × ${seconds} s for each, in turn, after ${WARM_UP_SECONDS} s of warming up; medians`,
    },
    tables: [
      { title: `${LONE} in flight`, measurements: lone },
      { title: `${MANY} in flight`, measurements: many },
    ],
    figures: [
      {
        title: "The faster loop's rate with a bare grpc-js echo of each picture beside it, by their CPU",
        headings: ["of the loop's"],
        lines: [[ceiling(fastest, echoed).toFixed(3)]],
      },
    ],
    goals: [
      {
        what: `${ours.name}, rate of the faster loop's at ${MANY} in flight`,
        value: ours.rate.median / fastest.rate.median,
        atLeast: GOAL,
      },
    ],
  };
}

export const pictures: Row = {
  name: "pictures",
  title: "a photograph over gRPC, durable and classified, against decoding and inference in a loop",
  run,
};
