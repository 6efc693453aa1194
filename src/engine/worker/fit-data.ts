/** The examples of a fit as they come in, and then scaled so that every number of an embedding counts alike. */
import type { FitPiece, FitPlan } from "../protocol.ts";

/** Rows of `width` numbers and of `classes` targets. */
export interface Matrix {
  readonly rows: number;
  readonly x: Float32Array;
  readonly y: Uint8Array;
}

/** What has been taken from each number of an embedding, and what the rest was multiplied by. */
export interface Scaling {
  readonly mean: Float64Array;
  readonly factor: Float64Array;
}

export class FitData {
  readonly train: Matrix;
  readonly test: Matrix;
  readonly #width: number;
  readonly #classes: number;
  readonly #filled = { train: 0, test: 0 };

  constructor({ width, labels, trainRows, testRows }: FitPlan) {
    this.#width = width;
    this.#classes = labels.length;
    this.train = emptyMatrix(trainRows, width, labels.length);
    this.test = emptyMatrix(testRows, width, labels.length);
  }

  add({ part, embeddings, targets }: FitPiece): void {
    const { x, y } = this[part];
    const first = this.#filled[part];
    x.set(embeddings, first * this.#width);
    y.set(targets, first * this.#classes);
    this.#filled[part] = first + embeddings.length / this.#width;
  }

  /** Once, when all is there: each number of the rows to train on gets the mean 0 and a variance of at most 1. */
  scale(): Scaling {
    if (this.#filled.train !== this.train.rows || this.#filled.test !== this.test.rows) {
      throw new Error("a fit was begun before its examples were there");
    }
    const scaling = scalingOf(this.train, this.#width);
    for (const { x } of [this.train, this.test]) applyScaling(x, scaling);
    return scaling;
  }
}

function emptyMatrix(rows: number, width: number, classes: number): Matrix {
  return { rows, x: new Float32Array(rows * width), y: new Uint8Array(rows * classes) };
}

/** A number that varies less than the average one is not blown up: what little it says may be chance. */
function scalingOf({ x, rows }: Matrix, width: number): Scaling {
  const mean = new Float64Array(width);
  const square = new Float64Array(width);
  for (let at = 0; at < x.length; at++) {
    const column = at % width;
    mean[column] = (mean[column] ?? 0) + (x[at] ?? 0) / rows;
  }
  for (let at = 0; at < x.length; at++) {
    const column = at % width;
    square[column] = (square[column] ?? 0) + ((x[at] ?? 0) - (mean[column] ?? 0)) ** 2 / rows;
  }
  const deviation = square.map(Math.sqrt);
  const least = deviation.reduce((sum, value) => sum + value, 0) / width;
  return { mean, factor: deviation.map((value) => (least > 0 ? 1 / Math.max(value, least) : 0)) };
}

function applyScaling(x: Float32Array, { mean, factor }: Scaling): void {
  const width = mean.length;
  for (let at = 0; at < x.length; at++) {
    const column = at % width;
    x[at] = ((x[at] ?? 0) - (mean[column] ?? 0)) * (factor[column] ?? 0);
  }
}
