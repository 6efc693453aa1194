/** `node bench/quality/main.ts`: how well trained models tell photographs apart that they never saw. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createEngine } from "../../src/engine/create-engine.ts";
import type { Engine, EngineLog } from "../../src/engine/engine.ts";
import type { Extractor } from "../../src/engine/trainer.ts";
import { startServer } from "../../test/harness.ts";
import { zipOf } from "../../test/pictures.ts";
import { start, succeeded, trainingClients, upload } from "../../test/training-client.ts";
import {
  centroidAccuracy,
  embeddingsOf,
  type Features,
  headAccuracy,
  pixelsOf,
  type Sample,
} from "./classifiers.ts";
import {
  cifarPictures,
  fileName,
  type Picture,
  type PictureSet,
  shuffled,
  stampPictures,
} from "./pictures.ts";

const FEATURE_EXTRACTOR = { owner: "auspex", name: "mobilenet" } as const;
const CIFAR_TRAIN = 20;
const CIFAR_TEST = 200;
const CIFAR_GOAL = 0.73;
const STAMPS_FOLDS = 5;
const STAMPS_GOAL = 0.95;
const TRAINING_SECONDS_GOAL = 60;
/** Goals are asked of the first pair; the last one is the hardest that the folders make. */
const STAMP_PAIRS: readonly Readonly<Record<string, string>>[] = [
  { mammal: "animals/mammals", fruit: "food/fruit" },
  { bird: "animals/birds", flower: "plants/flowers" },
  { mammal: "animals/mammals", bird: "animals/birds" },
];

const HELP = `node bench/quality/main.ts [options]

Fetches labelled photographs (once, into the catalogue's cache), trains on some of them with the server's defaults, and
tells the accuracy on the others, beside nearest centroids and the same head on raw pixels. Then one training through
the server. Exits with 1 when a goal is missed.

  --only <part,…>   of cifar, stamps and server (default all)
  --seeds <n>       draws of the examples (default 5)
  --help`;

const SILENT: EngineLog = { info() {}, warn() {}, error() {} };

interface Accuracies {
  readonly head: number;
  readonly centroid: number;
  readonly rawHead: number;
}

let missed = false;

function goal(what: string, value: number, isMet: boolean, asked: string): void {
  console.log(`  ${isMet ? "met    " : "NOT MET"}  ${what}: ${value.toFixed(3)}, goal ${asked}`);
  if (!isMet) missed = true;
}

function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
}

/** Mean, standard deviation (of the sample), least and most. */
function figures(values: readonly number[]): { readonly mean: number; readonly text: string } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  const deviation = Math.sqrt(squares / Math.max(1, values.length - 1));
  const [least, most] = [Math.min(...values), Math.max(...values)];
  return {
    mean,
    text: `${mean.toFixed(4)} ± ${deviation.toFixed(4)}  (${least.toFixed(3)}–${most.toFixed(3)}, n = ${values.length})`,
  };
}

function print(results: readonly Accuracies[]): number {
  const head = figures(results.map((result) => result.head));
  console.log(`  trained head on embeddings      ${head.text}`);
  console.log(`  nearest centroid of embeddings  ${figures(results.map((r) => r.centroid)).text}`);
  console.log(`  the same head on raw pixels     ${figures(results.map((r) => r.rawHead)).text}`);
  return head.mean;
}

async function measure(
  engine: Engine,
  extractor: Extractor,
  sample: Sample,
  features: { readonly embeddings: Features; readonly pixels: Features },
  seed: number,
): Promise<Accuracies> {
  return {
    head: await headAccuracy(engine, extractor, sample, features.embeddings, seed),
    centroid: centroidAccuracy(sample, features.embeddings),
    rawHead: await headAccuracy(engine, extractor, sample, features.pixels, seed),
  };
}

async function featuresOf(engine: Engine, extractor: Extractor, pictures: readonly Picture[]) {
  const onProgress = (done: number) => progress(`looked at ${done} of ${pictures.length}`);
  const embeddings = await embeddingsOf(engine, extractor, pictures, onProgress);
  const pixels = await pixelsOf(pictures);
  progress("");
  return { embeddings, pixels };
}

async function cifar(engine: Engine, extractor: Extractor, seeds: number): Promise<void> {
  const { labels, pictures, source } = await cifarPictures();
  const byLabel = labels.map((_, label) =>
    shuffled(
      pictures.filter((p) => p.label === label),
      0,
    ),
  );
  // The held-out pictures are the same for every seed; what is trained on is drawn from the others.
  const test = byLabel.flatMap((all) => all.slice(0, CIFAR_TEST));
  const rest = byLabel.map((all) => all.slice(CIFAR_TEST));
  const draws = Array.from({ length: seeds }, (_, index) =>
    rest.flatMap((all) => shuffled(all, index + 1).slice(0, CIFAR_TRAIN)),
  );
  console.log(`\n${source}: ${labels.length} labels, ${CIFAR_TRAIN} examples each, ${test.length} held out`);
  const features = await featuresOf(engine, extractor, [...new Set([...test, ...draws.flat()])]);
  const results: Accuracies[] = [];
  for (const [index, train] of draws.entries()) {
    progress(`seed ${index + 1} of ${seeds}`);
    results.push(
      await measure(engine, extractor, { classes: labels.length, train, test }, features, index + 1),
    );
  }
  progress("");
  const mean = print(results);
  goal("mean accuracy", mean, mean >= CIFAR_GOAL, `at least ${CIFAR_GOAL}`);
}

async function stamps(engine: Engine, extractor: Extractor, seeds: number): Promise<void> {
  for (const [place, folders] of STAMP_PAIRS.entries()) {
    const set = await stampPictures(folders);
    if (!set) {
      console.log("\nthe stamps are left out: Debian's packages cannot be had here");
      return;
    }
    const counts = set.labels.map(
      (name, label) => `${set.pictures.filter((picture) => picture.label === label).length} × ${name}`,
    );
    console.log(`\n${set.source}: ${counts.join(", ")}; ${STAMPS_FOLDS} folds, ${seeds} times`);
    const features = await featuresOf(engine, extractor, set.pictures);
    const folds: Accuracies[] = [];
    for (let seed = 1; seed <= seeds; seed++) {
      for (let fold = 0; fold < STAMPS_FOLDS; fold++) {
        progress(`seed ${seed} of ${seeds}, fold ${fold + 1}`);
        folds.push(await measure(engine, extractor, foldOf(set, seed, fold), features, seed));
      }
    }
    progress("");
    const mean = print(folds);
    if (place === 0) goal("mean accuracy of the folds", mean, mean >= STAMPS_GOAL, `at least ${STAMPS_GOAL}`);
  }
}

/** Every fifth picture of each label is held out. */
function foldOf({ labels, pictures }: PictureSet, seed: number, fold: number): Sample {
  const byLabel = labels.map((_, label) =>
    shuffled(
      pictures.filter((p) => p.label === label),
      seed,
    ),
  );
  const isHeld = (index: number) => index % STAMPS_FOLDS === fold;
  return {
    classes: labels.length,
    train: byLabel.flatMap((all) => all.filter((_, index) => !isHeld(index))),
    test: byLabel.flatMap((all) => all.filter((_, index) => isHeld(index))),
  };
}

async function server(): Promise<void> {
  const set = await stampPictures(STAMP_PAIRS[0] ?? {});
  if (!set) return;
  const files: Record<string, Uint8Array> = {};
  for (const picture of set.pictures) {
    files[`${set.labels[picture.label]}/${picture.label}-${fileName(picture)}`] = await picture.bytes();
  }
  await using running = await startServer({ settings: { MAX_BODY_BYTES: "200MiB" } });
  const clients = trainingClients(running);
  const { id, exampleCount } = await upload(clients, await zipOf(files));
  const began = performance.now();
  const { stats, lastEpoch } = await succeeded(clients, (await start(clients, id)).id);
  const seconds = (performance.now() - began) / 1000;
  const part = (time: { seconds: bigint; nanos: number } | undefined) =>
    `${(Number(time?.seconds ?? 0n) + (time?.nanos ?? 0) / 1e9).toFixed(1)} s`;
  console.log(`\none training through the server: ${exampleCount} examples of ${set.labels.join(" and ")}`);
  console.log(
    `  looking at the pictures ${part(stats?.embeddingTime)}, ${stats?.epochs} epochs ${part(stats?.trainingTime)}, publishing ${part(stats?.publishTime)}`,
  );
  console.log(
    `  accuracy on the ${stats?.testExamples} held out: ${lastEpoch?.metrics?.testAccuracy.toFixed(3)}`,
  );
  const isMet = seconds < TRAINING_SECONDS_GOAL;
  goal("seconds from start to published", seconds, isMet, `less than ${TRAINING_SECONDS_GOAL}`);
}

async function withEngine(use: (engine: Engine, extractor: Extractor) => Promise<void>): Promise<void> {
  const modelsDir = await mkdtemp(join(tmpdir(), "auspex-quality-"));
  const engine = await createEngine({
    modelsDir,
    catalogueDirs: [join(import.meta.dirname, "..", "..", "catalog", ".cache")],
    workers: 1,
    threads: 1,
    runtime: undefined,
    maxPixels: 50_000_000,
    workerMemoryBytes: 2 * 1024 ** 3,
    batchTimeoutMs: 60_000,
    loadTimeoutMs: 60_000,
    batchMax: undefined,
    batchDelayMs: 0,
    log: SILENT,
  });
  try {
    const extractor = engine.models.latest(FEATURE_EXTRACTOR.owner, FEATURE_EXTRACTOR.name);
    if (!extractor) throw new Error("auspex/mobilenet is not there: npm run models -- pull auspex/mobilenet");
    await use(engine, extractor);
  } finally {
    await engine.close(0);
    await rm(modelsDir, { recursive: true, force: true });
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      only: { type: "string", default: "cifar,stamps,server" },
      seeds: { type: "string", default: "5" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  const parts = values.only.split(",");
  const seeds = Number(values.seeds);
  const isWrong = !parts.every((part) => ["cifar", "stamps", "server"].includes(part)) || !(seeds >= 1);
  if (values.help || isWrong) {
    console.log(HELP);
    process.exitCode = values.help ? 0 : 2;
    return;
  }
  await withEngine(async (engine, extractor) => {
    if (parts.includes("cifar")) await cifar(engine, extractor, seeds);
    if (parts.includes("stamps")) await stamps(engine, extractor, seeds);
  });
  if (parts.includes("server")) await server();
  if (missed) process.exitCode = 1;
}

await main();
