/**
 * Fits a head, one dense layer, to embeddings: logistic regression by mini-batches with Adam and weight decay, on
 * TF.js. Nothing in it is random but what the seed fixes, and TF.js runs on one thread of WebAssembly, so the same
 * plan and examples give the same bytes, wherever the fit was interrupted.
 */
import { createHash, type Hash } from "node:crypto";
import type * as tf from "@tensorflow/tfjs-core";
import { type Judged, metricsOf } from "../../domain/metrics.ts";
import type { FitPiece, FitPlan } from "../protocol.ts";
import { BATCH_ROWS, type FitStep } from "../trainer.ts";
import { readCheckpoint, type Standing, writeCheckpoint } from "./fit-checkpoint.ts";
import { FitData, type Matrix } from "./fit-data.ts";
import { headFiles } from "./head-files.ts";
import { type HeadShape, HeadWeights, initialState } from "./head-weights.ts";
import { afterEpoch, isAtRest, RESTLESS, stepFactor } from "./rest.ts";
import { seededOrder } from "./seeded-order.ts";

/** Rows that are looked at together after an epoch. */
const JUDGE_ROWS = 256;

/**
 * How much half the squared weights count beside the sum of all rows' losses, for each number of an embedding: the
 * inverse of what logistic regression elsewhere calls C. With 20 pictures a label, ten labels of CIFAR-10 and
 * `auspex/mobilenet`, 73.6, 73.9, 74.1, 74.3 and 73.9 % of 2,000 held-out pictures are right with 0.001, 0.01, 0.05,
 * 0.1 and 0.2.
 */
const DECAY_PER_NUMBER = 0.1;

/**
 * A step of Adam moves a score by up to its size times the numbers of an embedding. The learning rates are meant for
 * so many, which the default feature extractor has.
 */
const NOMINAL_WIDTH = 1024;

/**
 * A checkpoint costs a copy of the weights and a write to the store: of ten labels' 120 KB ten times a second, of 250
 * labels' 3 MB every two seconds.
 */
const CHECKPOINT = { leastMs: 100, bytesPerMs: 1500 } as const;
/** Of each weight: itself and Adam's two moments, float32. */
const STATE_BYTES = 3 * 4;

export class Fit {
  readonly #core: typeof tf;
  readonly #plan: FitPlan;
  readonly #shape: HeadShape;
  readonly #data: FitData;
  readonly #hash: Hash;
  #work: Iterator<FitStep | null> | undefined;
  #weights: HeadWeights | undefined;
  readonly #checkpointMs: number;
  #checkpointAt = performance.now();

  /** @param checkpointMs that lie between two checkpoints, at least; by their size when it is not given */
  constructor(core: typeof tf, plan: FitPlan, checkpointMs?: number) {
    this.#core = core;
    this.#plan = plan;
    const bytes = (plan.width + 1) * plan.labels.length * STATE_BYTES;
    this.#checkpointMs = checkpointMs ?? Math.max(CHECKPOINT.leastMs, bytes / CHECKPOINT.bytesPerMs);
    this.#shape = { width: plan.width, classes: plan.labels.length, activation: plan.activation };
    this.#data = new FitData(plan);
    this.#hash = createHash("sha256").update(JSON.stringify({ ...plan, id: 0 }));
  }

  add(piece: FitPiece): void {
    this.#data.add(piece);
    this.#hash.update(piece.part).update(piece.embeddings).update(piece.targets);
  }

  /** @returns the epochs that ended within so many milliseconds */
  run(checkpoint: Uint8Array | null, forMs: number): readonly FitStep[] {
    this.#work ??= this.#epochs(checkpoint);
    const endsAt = performance.now() + forMs;
    const steps: FitStep[] = [];
    do {
      const { value, done } = this.#work.next();
      if (done) break;
      if (value) steps.push(value);
    } while (performance.now() < endsAt);
    return steps;
  }

  dispose(): void {
    this.#weights?.dispose();
    this.#weights = undefined;
  }

  /** Yields null wherever it may pause. */
  *#epochs(checkpoint: Uint8Array | null): Generator<FitStep | null> {
    const { epochs } = this.#plan;
    const scaling = this.#data.scale();
    const digest = this.#hash.digest();
    const standing = this.#standing(checkpoint, digest);
    const weights = new HeadWeights(this.#core, this.#shape, standing.state);
    this.#weights = weights;
    let { rest } = standing;
    for (let epoch = standing.epoch + 1; epoch <= epochs; epoch++) {
      yield* this.#descend(weights, epoch, stepFactor(rest));
      const training = yield* this.#judge(weights, this.#data.train);
      const test = yield* this.#judge(weights, this.#data.test);
      rest = afterEpoch(rest, training.loss);
      const isLast = isAtRest(rest) || epoch === epochs;
      const { labels, activation } = this.#plan;
      const metrics = metricsOf({
        labels,
        isMultiLabel: activation === "sigmoid",
        test,
        training,
        trainingLoss: training.loss,
      });
      yield {
        epoch,
        metrics,
        checkpoint: this.#isDue(isLast)
          ? writeCheckpoint(digest, { epoch, rest, state: weights.read() })
          : null,
        done: isLast
          ? {
              files: headFiles(this.#shape, weights.read(), scaling),
              testDecisions: test.decisions,
              earlyStopped: epoch < epochs,
            }
          : null,
      };
      if (isLast) return;
    }
  }

  /** Where the checkpoint says, if it is one of this fit with epochs left; else at the beginning. */
  #standing(checkpoint: Uint8Array | null, digest: Buffer): Standing {
    const { width, classes } = this.#shape;
    const found = checkpoint && readCheckpoint(checkpoint, digest, (width + 1) * classes);
    return found && found.epoch < this.#plan.epochs
      ? found
      : { epoch: 0, rest: RESTLESS, state: initialState(this.#shape) };
  }

  #isDue(isLast: boolean): boolean {
    const now = performance.now();
    if (isLast || now - this.#checkpointAt < this.#checkpointMs) return false;
    this.#checkpointAt = now;
    return true;
  }

  *#descend(weights: HeadWeights, epoch: number, factor: number): Generator<null> {
    const { epochs, learningRate, seed, width } = this.#plan;
    const { rows, x, y } = this.#data.train;
    const { classes } = this.#shape;
    const order = seededOrder(rows, seed, epoch);
    const steps = Math.ceil(rows / BATCH_ROWS);
    for (let step = 0; step < steps; step++) {
      const picked = order.subarray(step * BATCH_ROWS, (step + 1) * BATCH_ROWS);
      const batchX = new Float32Array(picked.length * width);
      const batchY = new Float32Array(picked.length * classes);
      for (const [i, row] of picked.entries()) {
        batchX.set(x.subarray(row * width, (row + 1) * width), i * width);
        batchY.set(y.subarray(row * classes, (row + 1) * classes), i * classes);
      }
      const done = (epoch - 1) * steps + step;
      // Smaller and smaller, so that the weights settle in whatever number of epochs there is.
      const rate = learningRate * (1 - done / (epochs * steps)) * factor * (NOMINAL_WIDTH / width);
      weights.descend(batchX, batchY, rate, (DECAY_PER_NUMBER * width) / rows, done + 1);
      yield null;
    }
  }

  *#judge(weights: HeadWeights, { rows, x, y }: Matrix): Generator<null, Judged & { readonly loss: number }> {
    const { width, classes, activation } = this.#shape;
    const decisions = new Uint8Array(rows * classes);
    let loss = 0;
    for (let first = 0; first < rows; first += JUDGE_ROWS) {
      const count = Math.min(JUDGE_ROWS, rows - first);
      const scores = weights.scores(x.subarray(first * width, (first + count) * width), count);
      for (let i = 0; i < count; i++) {
        const at = (first + i) * classes;
        const row = scores.subarray(i * classes, (i + 1) * classes);
        decide(row, activation, decisions.subarray(at, at + classes));
        loss += crossEntropy(row, y.subarray(at, at + classes), activation);
      }
      yield null;
    }
    return { targets: y, decisions, loss: rows === 0 ? 0 : loss / rows };
  }
}

/** The largest score, the first of equal ones; or each score that stands for more than a half. */
function decide(scores: Float32Array, activation: FitPlan["activation"], decisions: Uint8Array): void {
  if (activation === "sigmoid") {
    for (const [i, score] of scores.entries()) decisions[i] = score > 0 ? 1 : 0;
    return;
  }
  decisions[scores.indexOf(scores.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY))] = 1;
}

/** In nats; of independent labels the sum. */
function crossEntropy(scores: Float32Array, targets: Uint8Array, activation: FitPlan["activation"]): number {
  if (activation === "sigmoid") {
    // log(1 + exp(-score)) for what is there, log(1 + exp(score)) for what is not, without overflow.
    return scores.reduce((sum, score, i) => sum + softplus(targets[i] ? -score : score), 0);
  }
  const largest = scores.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const sum = scores.reduce((total, score) => total + Math.exp(score - largest), 0);
  return largest + Math.log(sum) - (scores[targets.indexOf(1)] ?? 0);
}

function softplus(value: number): number {
  return Math.max(value, 0) + Math.log1p(Math.exp(-Math.abs(value)));
}
