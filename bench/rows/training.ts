/**
 * What a training costs the predictions beside it: latency over gRPC of a photograph on the full MobileNet, durable,
 * while nothing is trained, while a training looks at its pictures, and while one is in its epochs. One server, the
 * three in turn.
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { create, toBinary } from "@bufbuild/protobuf";
import sharp from "sharp";
import { CreatePredictionRequestSchema } from "../../gen/auspex/v1/prediction_pb.ts";
import { type Training, TrainingStatus } from "../../gen/auspex/v1/training_pb.ts";
import { photograph, startServer, until } from "../../test/harness.ts";
import { zipOf } from "../../test/pictures.ts";
import {
  start,
  succeeded,
  type TrainingClients,
  trainingClients,
  upload,
} from "../../test/training-client.ts";
import type { LoadOrder } from "../load.ts";
import { type Generator, measure, type Target } from "../rounds.ts";
import type { BenchContext, Goal, Row, RowResult, Table } from "../row.ts";
import { CREATE_PATH } from "./mlp-create.ts";

const MODEL = "auspex/mobilenet";
/** A lone caller, and a few. */
const IN_FLIGHT = [1, 4] as const;
/** The p95 may be half as long again. */
const GOAL = 0.667;
const WARM_UP_SECONDS = 2;
/** More than an idle core looks at. */
const LOOKED_AT_PER_SECOND = 120;
/** Whose epochs take longer than a round, under labels that tell nothing of them: no fit is at rest early. */
const EPOCH_PICTURES = 1000;
const LABELS = 40;
const EPOCHS = 1000;

const SIDE = 96;

/** Pictures of noise, dealt out to the labels. */
async function unlearnable(count: number, firstSeed: number): Promise<Buffer<ArrayBuffer>> {
  const files: Record<string, Uint8Array> = {};
  const raw = { width: SIDE, height: SIDE, channels: 3 } as const;
  for (let index = 0; index < count; index++) {
    const noise = createHash("shake256", { outputLength: SIDE * SIDE * 3 }).update(`${firstSeed + index}`);
    files[`${index % LABELS}/${index}.jpg`] = await sharp(noise.digest(), { raw }).jpeg().toBuffer();
  }
  return zipOf(files);
}

type Load = Omit<LoadOrder, "seconds" | "inFlight">;

interface Phase {
  readonly name: string;
  readonly datasetId: bigint;
  /** Whether the training is where it is to be measured. */
  readonly isIn: (training: Training) => boolean;
}

/**
 * A round of load while a training of the dataset is in its phase, from its first request to its last answer. Beside
 * busy workers it may come no further in a round: that is what the lowest priority is for.
 */
function during(
  phase: Phase,
  clients: TrainingClients,
  generator: Generator,
  pid: number,
  load: Load,
): Target {
  const { name, datasetId, isIn } = phase;
  return {
    name,
    pid,
    async load(round) {
      const { id } = await start(clients, datasetId, { epochs: EPOCHS });
      const now = async (): Promise<Training> => {
        const { training } = await clients.trainings.getTraining({ by: { case: "id", value: id } });
        if (!training) throw new Error("the training is gone");
        return training;
      };
      await until(async () => isIn(await now()));
      const result = await generator.run({ ...load, ...round });
      const after = await now();
      if (after.status !== TrainingStatus.RUNNING || !isIn(after)) {
        throw new Error(`${name}: the training left its phase within the round; it is at ${after.progress}`);
      }
      await clients.trainings.cancelTraining({ id });
      return result;
    },
  };
}

async function run({ generator, seconds, rounds, progress }: BenchContext): Promise<RowResult> {
  await using cleanUp = new AsyncDisposableStack();
  const server = await startServer({ settings: { MAX_BODY_BYTES: "500MiB" } });
  cleanUp.use(server);
  const clients = trainingClients(server);
  const image = await readFile(photograph("zebra"));
  const request = toBinary(
    CreatePredictionRequestSchema,
    create(CreatePredictionRequestSchema, { model: MODEL, files: { image }, wait: { seconds: 60n } }),
  );
  const address = new URL(server.grpcUrl).host;
  const load = {
    to: { kind: "grpc", address, path: CREATE_PATH },
    request,
    expect: "succeeded prediction",
  } as const;
  const pid = server.process.pid ?? 0;

  const loaded = (seconds * rounds + WARM_UP_SECONDS) * IN_FLIGHT.length;
  const pictures = Math.ceil(loaded * LOOKED_AT_PER_SECOND);
  progress(`drawing ${pictures + EPOCH_PICTURES} pictures and looking at ${EPOCH_PICTURES}`);
  const unseen = await upload(clients, await unlearnable(pictures, 1));
  const seen = await upload(clients, await unlearnable(EPOCH_PICTURES, 1_000_000));
  await succeeded(clients, (await start(clients, seen.id, { epochs: 1 })).id);

  const phases: readonly Phase[] = [
    {
      name: "while pictures are looked at",
      datasetId: unseen.id,
      isIn: ({ progress: share }) => share > 0 && share < 0.5,
    },
    { name: "in the epochs", datasetId: seen.id, isIn: ({ lastEpoch }) => lastEpoch !== undefined },
  ];
  const targets: Target[] = [
    { name: "no training", pid, load },
    ...phases.map((phase) => during(phase, clients, generator, pid, load)),
  ];
  const tables: Table[] = [];
  const goals: Goal[] = [];
  for (const inFlight of IN_FLIGHT) {
    const measurements = await measure(generator, targets, {
      inFlight,
      seconds,
      rounds,
      warmUpSeconds: WARM_UP_SECONDS,
      onRound: (round) => progress(`${inFlight} in flight: round ${round} of ${rounds}`),
    });
    tables.push({ title: `${inFlight} in flight`, measurements });
    const [without, ...others] = measurements;
    for (const { name, p95 } of others) {
      goals.push({
        what: `${inFlight} in flight: p95 without a training, of that ${name}`,
        value: (without?.p95.median ?? Number.NaN) / p95.median,
        atLeast: GOAL,
      });
    }
  }
  return {
    settings: {
      picture: `zebra.jpg, 800 × 533, ${image.length} bytes`,
      model: `${MODEL} on the first runtime that takes it, a worker a core; the trainer beside them`,
      rounds: `${rounds} × ${seconds} s for each, in turn, after ${WARM_UP_SECONDS} s of warming up; medians`,
    },
    tables,
    goals,
  };
}

export const training: Row = {
  name: "training",
  title: "latency of predictions while a model is trained beside them, against without",
  run,
};
