/** Rows of numbers in which labels can be told apart, for what is fitted to embeddings. */
import type { FitExamples } from "../../src/engine/trainer.ts";
import { uniform } from "./mlp.ts";

/** As many rows of each class, in turn, around a place of its own. */
export function clusters(rows: number, width: number, classes: number, seed: number): FitExamples {
  return labelled(rows, width, classes, seed, (row) =>
    Array.from({ length: classes }, (_, label) => (row % classes === label ? 1 : 0)),
  );
}

/** Each label that a row has moves the numbers of that label by 4, where all of them vary by 2. */
export function labelled(
  rows: number,
  width: number,
  classes: number,
  seed: number,
  labelsOf: (row: number) => readonly number[],
): FitExamples {
  const random = uniform(seed);
  const targets = Uint8Array.from(Array.from({ length: rows }, (_, row) => labelsOf(row)).flat());
  const embeddings = Float32Array.from({ length: rows * width }, (_, at) => {
    const row = Math.floor(at / width);
    const label = (at % width) % classes;
    return 10 + (at % width) + 2 * random() + 4 * (targets[row * classes + label] ?? 0);
  });
  return { embeddings, targets };
}
