import { describe, expect, it } from "vitest";
import { metricsOf } from "../../src/domain/metrics.ts";

/** Rows of 0 and 1, written as rows. */
const rows = (...lines: readonly string[]): Uint8Array => Uint8Array.from(lines.join(""), Number);

const NOTHING = { targets: rows(), decisions: rows() };

describe("one label to a row", () => {
  // Right: a a a b b c. Said: a a b b a c.
  const test = {
    targets: rows("100", "100", "100", "010", "010", "001"),
    decisions: rows("100", "100", "010", "010", "100", "001"),
  };
  const metrics = metricsOf({
    labels: ["a", "b", "c"],
    isMultiLabel: false,
    test,
    training: { targets: rows("100", "010"), decisions: rows("100", "001") },
    trainingLoss: 0.25,
  });

  it("counts right against given", () => {
    expect(metrics.confusionMatrix).toEqual([
      [2, 1, 0],
      [1, 1, 0],
      [0, 0, 1],
    ]);
    expect(metrics.confusionTables).toEqual([]);
  });

  it("has the f1 that hand and paper have", () => {
    // a: 2 hits, 1 false positive, 1 false negative; b: 1, 1, 1; c: 1, 0, 0.
    expect(metrics.f1).toEqual([4 / 6, 2 / 4, 1]);
  });

  it("has the shares that are right", () => {
    expect(metrics.testAccuracy).toBeCloseTo(4 / 6, 12);
    expect(metrics.trainingAccuracy).toBe(0.5);
    expect(metrics.trainingLoss).toBe(0.25);
    expect(metrics.labelTestAccuracy).toEqual([]);
    expect(metrics.labelTrainingAccuracy).toEqual([]);
  });

  it("is 0, and not undefined, where there is nothing to tell", () => {
    const empty = metricsOf({
      labels: ["a", "b"],
      isMultiLabel: false,
      test: NOTHING,
      training: NOTHING,
      trainingLoss: 0,
    });
    expect(empty.f1).toEqual([0, 0]);
    expect(empty.testAccuracy).toBe(0);
    expect(empty.confusionMatrix).toEqual([
      [0, 0],
      [0, 0],
    ]);
  });
});

describe("any number of labels to a row", () => {
  // By label: a is right in rows 1, 2, 3 and said in 1, 2, 4; b is right in 2 and never said.
  const metrics = metricsOf({
    labels: ["a", "b"],
    isMultiLabel: true,
    test: { targets: rows("10", "11", "10", "00"), decisions: rows("10", "10", "00", "10") },
    training: { targets: rows("10", "01"), decisions: rows("10", "00") },
    trainingLoss: 1.5,
  });

  it("has a table for each label", () => {
    expect(metrics.confusionTables).toEqual([
      [
        [0, 1],
        [1, 2],
      ],
      [
        [3, 0],
        [1, 0],
      ],
    ]);
    expect(metrics.confusionMatrix).toEqual([]);
  });

  it("has f1 and accuracy by label, and the accuracy of all decisions", () => {
    expect(metrics.f1).toEqual([4 / 6, 0]);
    expect(metrics.labelTestAccuracy).toEqual([0.5, 0.75]);
    expect(metrics.testAccuracy).toBe(0.625);
    expect(metrics.labelTrainingAccuracy).toEqual([1, 0.5]);
    expect(metrics.trainingAccuracy).toBe(0.75);
  });
});
