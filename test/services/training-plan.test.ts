import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import type { Dataset, DatasetId, DatasetType, LabelId } from "../../src/domain/dataset.ts";
import { planDigest, planTraining, type TrainingPlan } from "../../src/services/training-plan.ts";
import type { TrainingExample } from "../../src/store/dataset-store.ts";

const OPTIONS = { seed: 1, trainSplitRatio: 0.9 };
const MANY = 1_000_000;

function datasetOf(names: readonly string[], type: DatasetType = "image"): Dataset {
  const id = 1 as DatasetId;
  return {
    id,
    principal: "alice",
    name: "shapes",
    type,
    state: { kind: "ready", failure: "" },
    labels: names.map((name, i) => ({ id: (10 + i) as LabelId, datasetId: id, name, exampleCount: 0 })),
    duplicateCount: 0,
    skipped: { count: 0, first: [] },
    createdAt: 0,
    updatedAt: 0,
  };
}

const blobOf = (text: string) => createHash("sha256").update(text).digest("hex");

/** `{ circle: ["a", "b"] }`: the picture of each text, under each label. */
function examplesOf(pictures: Readonly<Record<string, readonly string[]>>): TrainingExample[] {
  return Object.values(pictures).flatMap((texts, label) =>
    texts.map((text) => ({ blob: blobOf(text), labelId: (10 + label) as LabelId, name: `${text}.jpg` })),
  );
}

function plan(
  pictures: Readonly<Record<string, readonly string[]>>,
  { type = "image" as DatasetType, options = OPTIONS, examplesMax = MANY } = {},
): TrainingPlan {
  const dataset = datasetOf(Object.keys(pictures), type);
  return planTraining(dataset, examplesOf(pictures), options, examplesMax);
}

const numbered = (prefix: string, count: number) =>
  Array.from({ length: count }, (_, index) => `${prefix}${index}`);

/** Rows of each label. */
function counts({ labels }: TrainingPlan, rows: TrainingPlan["train"]): number[] {
  return labels.map((_, label) => rows.filter((row) => row.labels.includes(label)).length);
}

describe("the split", () => {
  test.each([
    [2, 0.9, 1],
    [2, 0.01, 1],
    [3, 0.99, 1],
    [10, 0.9, 1],
    [10, 0.5, 5],
    [25, 0.7, 8],
    [100, 0.9, 10],
  ])("of %i examples at %f holds out %i, for every label", (count, trainSplitRatio, held) => {
    const split = plan(
      { circle: numbered("c", count), square: numbered("s", count) },
      { options: { seed: 3, trainSplitRatio } },
    );
    expect(counts(split, split.test)).toEqual([held, held]);
    expect(counts(split, split.train)).toEqual([count - held, count - held]);
  });

  test("is by label where labels differ in size", () => {
    const split = plan({ circle: numbered("c", 200), square: numbered("s", 2), ring: numbered("r", 20) });
    expect(counts(split, split.test)).toEqual([20, 1, 2]);
  });

  test("depends on the pictures and the seed, not on the order of examples", () => {
    const pictures = { circle: numbered("c", 50), square: numbered("s", 50) };
    const reversed = planTraining(
      datasetOf(["circle", "square"]),
      examplesOf(pictures).reverse(),
      OPTIONS,
      MANY,
    );
    expect(reversed).toEqual(plan(pictures));
    const other = plan(pictures, { options: { ...OPTIONS, seed: 2 } });
    expect(other.test.map(({ blob }) => blob).toSorted()).not.toEqual(
      plan(pictures)
        .test.map(({ blob }) => blob)
        .toSorted(),
    );
  });

  test("never has a picture on both sides, also where it has two labels", () => {
    const twins = numbered("twin", 20);
    const split = plan({
      circle: [...numbered("c", 20), ...twins],
      square: [...numbered("s", 20), ...twins],
    });
    expect(split.train.length + split.test.length).toBe(80);
    const held = new Set(split.test.map(({ blob }) => blob));
    expect(split.train.filter(({ blob }) => held.has(blob))).toEqual([]);
    expect(split.test.every(({ labels }) => labels.length === 1)).toBe(true);
    expect(split.test.filter(({ name }) => name.startsWith("twin")).length % 2).toBe(0);
  });

  test("of multi-label pictures keeps every label on both sides", () => {
    const split = plan(
      {
        rare: ["a", "b"],
        common: [...numbered("c", 40), "a", "b"],
        half: [...numbered("c", 20), ...numbered("h", 20)],
      },
      { type: "image-multi-label" },
    );
    expect(split.train.length + split.test.length).toBe(62);
    expect(counts(split, split.test).every((count) => count >= 1)).toBe(true);
    expect(counts(split, split.train).every((count) => count >= 1)).toBe(true);
    const both = [...split.train, ...split.test].find(({ name }) => name === "a.jpg");
    expect(both?.labels).toEqual([0, 1]);
  });
});

describe("what is refused", () => {
  const least = "The dataset must contain at least 2 labels with at least 2 examples each; ";
  test.each([
    [{}, `${least}it has 0.`],
    [{ circle: ["a", "b", "c"] }, `${least}it has 1.`],
    [{ circle: ["a", "b"], square: ["c"] }, `${least}label "square" has 1.`],
    [{ circle: ["a", "b"], square: [] }, `${least}label "square" has 0.`],
    [{ circle: ["a"], square: [], ring: ["b", "c"] }, `${least}label "circle" has 1, label "square" has 0.`],
    [
      Object.fromEntries(numbered("l", 8).map((name) => [name, []])),
      `${least}${numbered("l", 5)
        .map((name) => `label "${name}" has 0`)
        .join(", ")}, and 3 more.`,
    ],
  ])("%j", (pictures, message) => {
    expect(() => plan(pictures)).toThrow(message);
    expect(() => plan(pictures, { type: "image-multi-label" })).toThrow(message);
  });

  test("more examples than the server trains on", () => {
    const pictures = { circle: numbered("c", 3), square: numbered("s", 3) };
    expect(plan(pictures, { examplesMax: 6 }).train).toHaveLength(4);
    expect(() => plan(pictures, { examplesMax: 5 })).toThrow(
      "The dataset has 6 examples; this server trains on at most 5.",
    );
  });
});

test("an example of a label that came after the dataset was read is left out", () => {
  const pictures = { circle: numbered("c", 4), square: numbered("s", 4), late: numbered("l", 4) };
  const split = planTraining(datasetOf(["circle", "square"]), examplesOf(pictures), OPTIONS, MANY);
  expect(split.train.length + split.test.length).toBe(8);
});

test("the digest changes with whatever changes the result, and with nothing else", () => {
  const pictures = { circle: numbered("c", 4), square: numbered("s", 4) };
  const options = { ...OPTIONS, epochs: 5, learningRate: 0.001, withFeedback: false };
  const digest = (split = plan(pictures), given = {}, extractor = "a/b:1") =>
    Buffer.from(planDigest(split, { ...options, ...given }, extractor)).toString("hex");
  const different = [
    digest(),
    digest(plan({ ...pictures, circle: numbered("c", 5) })),
    digest(plan(pictures, { options: { ...OPTIONS, trainSplitRatio: 0.5 } })),
    digest(plan({ round: pictures.circle, square: pictures.square })),
    digest(undefined, { epochs: 6 }),
    digest(undefined, { learningRate: 0.002 }),
    digest(undefined, { seed: 2 }),
    digest(undefined, {}, "a/b:2"),
  ];
  expect(new Set(different).size).toBe(different.length);
  expect(digest(undefined, { withFeedback: true })).toBe(digest());
});
