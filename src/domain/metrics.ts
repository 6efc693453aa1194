/** How good a classifier is, from what it says of examples beside what is right. */
import type { Metrics } from "./training.ts";

/** Rows of one 0 or 1 for each label. */
export interface Judged {
  readonly targets: Uint8Array;
  readonly decisions: Uint8Array;
}

export interface MetricsSource {
  readonly labels: readonly string[];
  /** Whether a row may have any number of 1s. Otherwise each row of both kinds has one. */
  readonly isMultiLabel: boolean;
  /** Held out. */
  readonly test: Judged;
  readonly training: Judged;
  /** Mean cross entropy, in nats. */
  readonly trainingLoss: number;
}

export function metricsOf(source: MetricsSource): Metrics {
  const { labels, isMultiLabel, test, training, trainingLoss } = source;
  const tables = labels.map((_, label) => tableOf(test, labels.length, label));
  const trainingTables = labels.map((_, label) => tableOf(training, labels.length, label));
  const matrix = isMultiLabel ? [] : confusionOf(test, labels.length);
  return {
    labels,
    f1: tables.map(f1Of),
    confusionMatrix: matrix,
    confusionTables: isMultiLabel ? tables : [],
    testAccuracy: isMultiLabel ? mean(tables.map(accuracyOf)) : diagonalShare(matrix),
    trainingAccuracy: isMultiLabel
      ? mean(trainingTables.map(accuracyOf))
      : diagonalShare(confusionOf(training, labels.length)),
    trainingLoss,
    labelTestAccuracy: isMultiLabel ? tables.map(accuracyOf) : [],
    labelTrainingAccuracy: isMultiLabel ? trainingTables.map(accuracyOf) : [],
  };
}

/** [[true negatives, false positives], [false negatives, true positives]] */
type Table = readonly (readonly number[])[];

function tableOf({ targets, decisions }: Judged, width: number, label: number): Table {
  const table = [
    [0, 0],
    [0, 0],
  ];
  for (let at = label; at < targets.length; at += width) {
    const row = table[targets[at] ?? 0];
    const given = decisions[at] ?? 0;
    if (row) row[given] = (row[given] ?? 0) + 1;
  }
  return table;
}

/** 2 · hits over all that is there and all that was said to be; 0 where there is neither. */
function f1Of([negative = [], positive = []]: Table): number {
  const [, falsePositives = 0] = negative;
  const [falseNegatives = 0, hits = 0] = positive;
  const all = 2 * hits + falsePositives + falseNegatives;
  return all === 0 ? 0 : (2 * hits) / all;
}

function accuracyOf([negative = [], positive = []]: Table): number {
  const [passes = 0, falsePositives = 0] = negative;
  const [falseNegatives = 0, hits = 0] = positive;
  const all = passes + falsePositives + falseNegatives + hits;
  return all === 0 ? 0 : (passes + hits) / all;
}

/** Counts of rows, [right label][given label]. */
function confusionOf({ targets, decisions }: Judged, width: number): number[][] {
  const matrix = Array.from({ length: width }, () => new Array<number>(width).fill(0));
  for (let start = 0; start < targets.length; start += width) {
    const right = matrix[targets.subarray(start, start + width).indexOf(1)];
    const given = decisions.subarray(start, start + width).indexOf(1);
    if (right && given >= 0) right[given] = (right[given] ?? 0) + 1;
  }
  return matrix;
}

function diagonalShare(matrix: readonly (readonly number[])[]): number {
  const all = matrix.flat().reduce((sum, count) => sum + count, 0);
  const hits = matrix.reduce((sum, row, label) => sum + (row[label] ?? 0), 0);
  return all === 0 ? 0 : hits / all;
}

function mean(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
}
