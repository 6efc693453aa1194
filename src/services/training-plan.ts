/**
 * What a training is made of: which pictures it learns from and which are held out. Pure: the same examples, options
 * and extractor give the same plan, in whatever order they were stored.
 */
import { createHash } from "node:crypto";
import type { Dataset } from "../domain/dataset.ts";
import { AuspexError } from "../domain/error.ts";
import type { TrainingOptions } from "../domain/training.ts";
import type { TrainingExample } from "../store/dataset-store.ts";

const LABELS_MIN = 2;
/** One to learn from and one to hold out. */
const EXAMPLES_PER_LABEL_MIN = 2;
/** Labels that a failure names: the others are told by their number. */
const LABELS_NAMED_MAX = 5;

/** One row of what is learned from or held out. */
export interface PlannedPicture {
  readonly blob: string;
  readonly name: string;
  /** Indexes of its labels; one for type image. */
  readonly labels: readonly number[];
}

export interface TrainingPlan {
  /** Names, by label id. */
  readonly labels: readonly string[];
  readonly train: readonly PlannedPicture[];
  readonly test: readonly PlannedPicture[];
}

/**
 * Pictures are told apart by their bytes. The same picture under several labels has all of them in a multi-label
 * dataset; in the others it is an example of each, and these go to the same side, so that nothing that is held out
 * was ever learned from.
 *
 * @throws AuspexError `failed_precondition` when there are too few labels or examples, or more than `examplesMax`
 */
export function planTraining(
  dataset: Dataset,
  examples: readonly TrainingExample[],
  options: Pick<TrainingOptions, "seed" | "trainSplitRatio">,
  examplesMax: number,
): TrainingPlan {
  const labels = dataset.labels.toSorted((a, b) => a.id - b.id);
  const indexes = new Map(labels.map(({ id }, index) => [id, index]));
  const pictures = new Map<string, Picture>();
  const counts = labels.map(() => 0);
  for (const { blob, labelId, name } of examples) {
    const label = indexes.get(labelId);
    // It came with a label that was added after the dataset was read.
    if (label === undefined) continue;
    const picture = pictures.get(blob) ?? { blob, names: [], labels: [], rank: rankOf(blob, options.seed) };
    pictures.set(blob, picture);
    picture.labels.push(label);
    picture.names.push(name);
    counts[label] = (counts[label] ?? 0) + 1;
  }
  refuseTooFew(
    labels.map(({ name }, index) => ({ name, count: counts[index] ?? 0 })),
    examplesMax,
  );
  const ordered = [...pictures.values()].sort((a, b) => a.rank - b.rank || (a.blob < b.blob ? -1 : 1));
  const held = holdOut(ordered, counts, options.trainSplitRatio);
  const rows = (picture: Picture) => rowsOf(picture, dataset.type === "image-multi-label");
  return {
    labels: labels.map(({ name }) => name),
    train: ordered.filter((picture) => !held.has(picture)).flatMap(rows),
    test: ordered.filter((picture) => held.has(picture)).flatMap(rows),
  };
}

/** SHA-256 over everything that the fit's result depends on. */
export function planDigest(
  { labels, train, test }: TrainingPlan,
  options: TrainingOptions,
  extractor: string,
): Uint8Array {
  const hash = createHash("sha256");
  hash.update(JSON.stringify([extractor, options.epochs, options.learningRate, options.seed, labels]));
  for (const part of [train, test]) {
    hash.update(`\n${part.length}\n`);
    hash.update(part.map((picture) => `${picture.blob} ${picture.labels.join()}`).join("\n"));
  }
  return hash.digest();
}

interface Picture {
  readonly blob: string;
  readonly names: string[];
  readonly labels: number[];
  /** Its place in an order that looks drawn by lot, and depends on the picture and the seed alone. */
  readonly rank: number;
}

/** Of a picture's SHA-256, whose bits are as good as random, and of the seed: mixed as MurmurHash3 ends. */
function rankOf(blob: string, seed: number): number {
  let bits = Number.parseInt(blob.slice(0, 8), 16) ^ Math.imul(seed + 1, 0x9e3779b1);
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}

function rowsOf({ blob, names, labels }: Picture, together: boolean): PlannedPicture[] {
  if (together) return [{ blob, name: names[0] ?? "", labels: labels.toSorted((a, b) => a - b) }];
  return labels.map((label, index) => ({ blob, name: names[index] ?? "", labels: [label] }));
}

function refuseTooFew(
  labels: readonly { readonly name: string; readonly count: number }[],
  examplesMax: number,
): void {
  const refuse = (why: string) =>
    new AuspexError(
      "failed_precondition",
      `The dataset must contain at least ${LABELS_MIN} labels with at least ${EXAMPLES_PER_LABEL_MIN} examples each; ${why}.`,
    );
  if (labels.length < LABELS_MIN) throw refuse(`it has ${labels.length}`);
  const poor = labels.filter(({ count }) => count < EXAMPLES_PER_LABEL_MIN);
  if (poor.length > 0) {
    const named = poor
      .slice(0, LABELS_NAMED_MAX)
      .map(({ name, count }) => `label ${JSON.stringify(name)} has ${count}`);
    const others = poor.length - named.length;
    throw refuse(others > 0 ? `${named.join(", ")}, and ${others} more` : named.join(", "));
  }
  const total = labels.reduce((sum, { count }) => sum + count, 0);
  if (total > examplesMax) {
    throw new AuspexError(
      "failed_precondition",
      `The dataset has ${total} examples; this server trains on at most ${examplesMax}.`,
    );
  }
}

/**
 * Iterative stratification (Sechidis et al. 2011): the rarest label's pictures are shared out first, each to the side
 * that still wants most of that label. With one label a picture every label is split in the ratio asked for, and has
 * at least one picture on each side.
 */
function holdOut(
  pictures: readonly Picture[],
  counts: readonly number[],
  trainRatio: number,
): ReadonlySet<Picture> {
  const wantTest = counts.map((count) => clamp(Math.round(count * (1 - trainRatio)), 1, count - 1));
  const wantTrain = counts.map((count, label) => count - (wantTest[label] ?? 0));
  const left = [...counts];
  const byLabel = counts.map((): Picture[] => []);
  for (const picture of pictures) for (const label of picture.labels) byLabel[label]?.push(picture);
  const shared = new Set<Picture>();
  const held = new Set<Picture>();
  for (let label = rarest(left); label !== undefined; label = rarest(left)) {
    for (const picture of byLabel[label] ?? []) {
      if (shared.has(picture)) continue;
      shared.add(picture);
      const toTest = (wantTest[label] ?? 0) > (wantTrain[label] ?? 0);
      if (toTest) held.add(picture);
      for (const each of picture.labels) {
        const want = toTest ? wantTest : wantTrain;
        want[each] = (want[each] ?? 0) - 1;
        left[each] = (left[each] ?? 0) - 1;
      }
    }
  }
  return held;
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high);
}

/** The label with the fewest pictures that are not shared out; undefined when all are. */
function rarest(left: readonly number[]): number | undefined {
  let found: number | undefined;
  for (const [label, count] of left.entries()) {
    if (count > 0 && (found === undefined || count < (left[found] ?? 0))) found = label;
  }
  return found;
}
