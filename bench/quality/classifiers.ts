/** Three ways to tell pictures apart after a few examples, each measured on pictures that it never saw. */
import { LEARNING_RATE } from "../../src/domain/training.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { defaultEpochs, type Extractor, type FitExamples } from "../../src/engine/trainer.ts";
import type { Picture } from "./pictures.ts";

/** Of one picture. */
export type Features = ReadonlyMap<Picture, Float32Array>;

export interface Sample {
  readonly classes: number;
  readonly train: readonly Picture[];
  readonly test: readonly Picture[];
}

/** Pictures in one call to the trainer. */
const EMBED_BATCH = 16;

/** What the extractor sees, as trainings compute it. */
export async function embeddingsOf(
  engine: Engine,
  extractor: Extractor,
  pictures: readonly Picture[],
  onProgress: (done: number) => void,
): Promise<Features> {
  const features = new Map<Picture, Float32Array>();
  const { signal } = new AbortController();
  for (let start = 0; start < pictures.length; start += EMBED_BATCH) {
    const batch = pictures.slice(start, start + EMBED_BATCH);
    const images = await Promise.all(batch.map((picture) => picture.bytes()));
    const outcomes = await engine.trainer.embed(extractor, images, signal);
    for (const [index, picture] of batch.entries()) {
      const outcome = outcomes[index];
      if (!outcome?.ok) throw new Error(`${picture.key} cannot be read: ${outcome?.reason}`);
      features.set(picture, outcome.embedding);
    }
    onProgress(start + batch.length);
  }
  return features;
}

export async function pixelsOf(pictures: readonly Picture[]): Promise<Features> {
  const features = new Map<Picture, Float32Array>();
  for (const picture of pictures) features.set(picture, await picture.pixels());
  return features;
}

function featuresOf(features: Features, picture: Picture): Float32Array {
  const found = features.get(picture);
  if (!found) throw new Error(`${picture.key} has no features`);
  return found;
}

function examplesOf(pictures: readonly Picture[], classes: number, features: Features): FitExamples {
  const width = features.values().next().value?.length ?? 0;
  const embeddings = new Float32Array(pictures.length * width);
  const targets = new Uint8Array(pictures.length * classes);
  for (const [row, picture] of pictures.entries()) {
    embeddings.set(featuresOf(features, picture), row * width);
    targets[row * classes + picture.label] = 1;
  }
  return { embeddings, targets };
}

/** Accuracy of the head that a training makes with the server's defaults, after its last epoch. */
export async function headAccuracy(
  engine: Engine,
  extractor: Extractor,
  { classes, train, test }: Sample,
  features: Features,
  seed: number,
): Promise<number> {
  const request = {
    extractor,
    activation: "softmax",
    labels: Array.from({ length: classes }, (_, index) => String(index)),
    width: features.values().next().value?.length ?? 0,
    train: examplesOf(train, classes, features),
    test: examplesOf(test, classes, features),
    epochs: defaultEpochs(train.length, classes),
    learningRate: LEARNING_RATE.default,
    seed,
    checkpoint: null,
  } as const;
  for await (const { metrics, done } of engine.trainer.fit(request, new AbortController().signal)) {
    if (done) return metrics.testAccuracy;
  }
  throw new Error("the fit ended before its last epoch");
}

/** Accuracy of: the label whose examples' mean is nearest, by the angle. */
export function centroidAccuracy({ classes, train, test }: Sample, features: Features): number {
  const width = features.values().next().value?.length ?? 0;
  const centroids = Array.from({ length: classes }, () => new Float64Array(width));
  for (const picture of train) {
    const centroid = centroids[picture.label];
    const vector = featuresOf(features, picture);
    const length = Math.hypot(...vector) || 1;
    if (centroid)
      for (let i = 0; i < width; i++) centroid[i] = (centroid[i] ?? 0) + (vector[i] ?? 0) / length;
  }
  const lengths = centroids.map((centroid) => Math.hypot(...centroid) || 1);
  let right = 0;
  for (const picture of test) {
    const vector = featuresOf(features, picture);
    const scores = centroids.map(
      (centroid, label) =>
        vector.reduce((sum, value, i) => sum + value * (centroid[i] ?? 0), 0) / (lengths[label] ?? 1),
    );
    if (scores.indexOf(Math.max(...scores)) === picture.label) right++;
  }
  return right / test.length;
}
