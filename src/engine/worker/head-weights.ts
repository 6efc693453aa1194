/** One dense layer while it is fitted: its weights and what Adam remembers of their gradients, on TF.js. */
import type * as tf from "@tensorflow/tfjs-core";

/** Adam's usual constants. */
const BETA1 = 0.9;
const BETA2 = 0.999;
const EPSILON = 1e-8;

export interface HeadShape {
  readonly width: number;
  readonly classes: number;
  readonly activation: "softmax" | "sigmoid";
}

/** (width + 1) × classes each; the last row is the bias. */
export interface HeadState {
  readonly weights: Float32Array;
  readonly mean: Float32Array;
  readonly variance: Float32Array;
}

export function initialState({ width, classes }: HeadShape): HeadState {
  const zeros = (): Float32Array => new Float32Array((width + 1) * classes);
  // Of one layer, the loss has one valley: where the descent begins does not matter.
  return { weights: zeros(), mean: zeros(), variance: zeros() };
}

export class HeadWeights {
  readonly #core: typeof tf;
  readonly #shape: HeadShape;
  #weights: tf.Tensor2D;
  #mean: tf.Tensor2D;
  #variance: tf.Tensor2D;

  constructor(core: typeof tf, shape: HeadShape, state: HeadState) {
    this.#core = core;
    this.#shape = shape;
    const tensor = (values: Float32Array): tf.Tensor2D =>
      core.tensor2d(values, [shape.width + 1, shape.classes]);
    this.#weights = tensor(state.weights);
    this.#mean = tensor(state.mean);
    this.#variance = tensor(state.variance);
  }

  /**
   * One step of Adam on the mean cross entropy of the rows and `decay` / 2 times the sum of the squared weights.
   * @param step from 1
   */
  descend(x: Float32Array, y: Float32Array, rate: number, decay: number, step: number): void {
    const core = this.#core;
    const { classes } = this.#shape;
    const rows = y.length / classes;
    const [weights, mean, variance] = core.tidy(() => {
      const input = this.#input(x, rows);
      const scores = core.matMul(input, this.#weights);
      const given = this.#shape.activation === "softmax" ? core.softmax(scores) : core.sigmoid(scores);
      const error = core.div(core.sub(given, core.tensor2d(y, [rows, classes])), rows);
      const gradient = core.add(
        core.matMul(input, error, true, false),
        core.mul(this.#weights, decay),
      ) as tf.Tensor2D;
      const nextMean = core.add(core.mul(this.#mean, BETA1), core.mul(gradient, 1 - BETA1));
      const nextVariance = core.add(
        core.mul(this.#variance, BETA2),
        core.mul(core.square(gradient), 1 - BETA2),
      );
      const size = rate / (1 - BETA1 ** step);
      const spread = core.add(core.sqrt(core.div(nextVariance, 1 - BETA2 ** step)), EPSILON);
      const next = core.sub(this.#weights, core.mul(core.div(nextMean, spread), size));
      return [next, nextMean, nextVariance] as [tf.Tensor2D, tf.Tensor2D, tf.Tensor2D];
    });
    this.dispose();
    this.#weights = weights;
    this.#mean = mean;
    this.#variance = variance;
  }

  /** rows × classes, before the activation. */
  scores(x: Float32Array, rows: number): Float32Array {
    return this.#core.tidy(
      () => this.#core.matMul(this.#input(x, rows), this.#weights).dataSync() as Float32Array,
    );
  }

  read(): HeadState {
    return {
      weights: this.#weights.dataSync().slice() as Float32Array,
      mean: this.#mean.dataSync().slice() as Float32Array,
      variance: this.#variance.dataSync().slice() as Float32Array,
    };
  }

  dispose(): void {
    this.#core.dispose([this.#weights, this.#mean, this.#variance]);
  }

  /** A 1 more in each row takes the bias in. */
  #input(x: Float32Array, rows: number): tf.Tensor2D {
    const core = this.#core;
    return core.concat([core.tensor2d(x, [rows, this.#shape.width]), core.ones([rows, 1])], 1) as tf.Tensor2D;
  }
}
