import { expect, test } from "vitest";
import { type DatasetId, type ExampleId, LABELS_MAX, type LabelId } from "../../src/domain/dataset.ts";
import type { DatasetImport, NewDataset, NewExample } from "../../src/store/dataset-store.ts";
import type { Store } from "../../src/store/store.ts";
import { newId, tempStore } from "./temp-store.ts";

const ALICE: NewDataset = {
  principal: "alice",
  name: "shapes",
  type: "image",
  labels: ["circle", "square"],
  createdAt: 1_000,
};

/** Its blob is made of the text. */
function picture(text: string, given: Partial<NewExample> = {}): NewExample {
  const blob = Buffer.from(text).toString("hex").padEnd(64, "0");
  return { name: `${text}.jpg`, blob, mediaType: "image/jpeg", width: 3, height: 2, sizeBytes: 7, ...given };
}

async function shapes(store: Store) {
  const dataset = await store.datasets.create(ALICE);
  const [circle, square] = dataset.labels;
  if (!circle || !square) throw new Error("a label is missing");
  const add = async (label: LabelId, text: string, source: "upload" | "feedback" = "upload") => {
    const args = { principal: "alice", datasetId: dataset.id, labelId: label, source, now: 2_000 };
    return store.examples.insert({ ...args, example: picture(text) });
  };
  return { dataset, circle, square, add };
}

async function begin(store: Store, datasetId: DatasetId): Promise<DatasetImport> {
  const source = { kind: "blob", blob: "f".repeat(64) } as const;
  const reply = await store.imports.begin({ principal: "alice", datasetId, source, now: 3_000 });
  if (reply.kind !== "begun") throw new Error(`the import was refused: ${reply.kind}`);
  return reply.begun;
}

const NOTHING = { count: 0, first: [] };
const list = { principal: "alice", after: 0, skip: 0, limit: 100 };
const examplesOf = (store: Store, datasetId: DatasetId) =>
  store.examples.list({ ...list, datasetId, labelId: undefined, source: undefined });

test("numbers rise through datasets, labels and examples, and each is its principal's alone", async () => {
  const store = await tempStore();
  const { dataset, circle, square, add } = await shapes(store);
  const added = await add(square.id, "a");
  if (added.kind !== "inserted") throw new Error(added.kind);
  const numbers = [dataset.id, circle.id, square.id, added.example.id].map(Number);
  expect(numbers).toEqual([1001, 1002, 1003, 1004]);
  expect(added.example.label).toEqual({ ...square, exampleCount: 1 });

  expect(await store.datasets.get("alice", dataset.id)).toEqual({
    ...dataset,
    labels: [circle, { ...square, exampleCount: 1 }],
    updatedAt: 2_000,
  });
  expect(await store.examples.get("alice", added.example.id)).toEqual(added.example);
  expect(await store.datasets.getLabel("alice", square.id)).toEqual({ ...square, exampleCount: 1 });

  expect(await store.datasets.get("bob", dataset.id)).toBeUndefined();
  expect(await store.datasets.getLabel("bob", square.id)).toBeUndefined();
  expect(await store.examples.get("bob", added.example.id)).toBeUndefined();
  expect(await store.datasets.list({ ...list, principal: "bob" })).toEqual([]);
  expect(await store.datasets.examplesOf("bob", dataset.id, { withFeedback: true })).toEqual([]);
  const foreign = { ...list, principal: "bob", datasetId: dataset.id, labelId: undefined, source: undefined };
  expect(await store.examples.list(foreign)).toBeUndefined();
  expect(await store.examples.delete({ principal: "bob", id: added.example.id, now: 9 })).toBe(false);
  const bobs = { principal: "bob", datasetId: dataset.id, now: 9 };
  expect(await store.datasets.createLabel({ ...bobs, name: "ring" })).toEqual({ kind: "unknown" });
  const adding = { ...bobs, labelId: square.id, source: "upload", example: picture("b") } as const;
  expect(await store.examples.insert(adding)).toEqual({ kind: "unknown" });
  const source = { kind: "url", url: "https://zips.example/a.zip" } as const;
  expect(await store.imports.begin({ ...bobs, source })).toEqual({ kind: "unknown" });
  const deleting = { principal: "bob", id: dataset.id, deletionId: newId(), now: 9 };
  expect(await store.datasets.delete(deleting)).toEqual({ kind: "unknown" });
});

test("the same picture under the same label is one example; feedback names are unique", async () => {
  const store = await tempStore();
  const { dataset, circle, square, add } = await shapes(store);
  const first = await add(circle.id, "a");
  const again = await add(circle.id, "a");
  expect([first.kind, again.kind, (await add(square.id, "a")).kind]).toEqual([
    "inserted",
    "found",
    "inserted",
  ]);
  expect("example" in again && again.example).toEqual("example" in first && first.example);

  expect((await add(circle.id, "b", "feedback")).kind).toBe("inserted");
  expect((await add(square.id, "b", "feedback")).kind).toBe("name_taken");
  expect((await add(dataset.id as number as LabelId, "c")).kind).toBe("unknown_label");
  const names = async (withFeedback: boolean) =>
    (await store.datasets.examplesOf("alice", dataset.id, { withFeedback })).map(({ name }) => name);
  expect(await names(false)).toEqual(["a.jpg", "a.jpg"]);
  expect(await names(true)).toEqual(["a.jpg", "a.jpg", "b.jpg"]);
});

test("pages of examples: by dataset, label and source, after an id, with some passed over", async () => {
  const store = await tempStore();
  const { dataset, circle, square, add } = await shapes(store);
  for (const text of ["a", "b", "c"]) await add(circle.id, text);
  await add(square.id, "d", "feedback");
  const query = { ...list, datasetId: dataset.id, labelId: undefined, source: undefined };
  const names = async (given: Partial<Parameters<Store["examples"]["list"]>[0]>) =>
    (await store.examples.list({ ...query, ...given }))?.map(({ name }) => name.slice(0, 1)).join("");
  expect(await names({})).toBe("abcd");
  expect(await names({ source: "upload" })).toBe("abc");
  expect(await names({ source: "feedback" })).toBe("d");
  expect(await names({ skip: 1, limit: 2 })).toBe("bc");
  const [first] = (await examplesOf(store, dataset.id)) ?? [];
  expect(await names({ after: first?.id ?? 0, skip: 1 })).toBe("cd");
  expect(await names({ datasetId: undefined, labelId: square.id })).toBe("d");
  expect(await names({ labelId: circle.id, limit: 1 })).toBe("a");
  const other = await store.datasets.create(ALICE);
  expect(await names({ datasetId: other.id })).toBe("");
  expect(await names({ datasetId: other.id, labelId: circle.id })).toBeUndefined();
  expect(await names({ datasetId: 999 as DatasetId })).toBeUndefined();
});

test("pages of datasets by id; labels up to their number", async () => {
  const store = await tempStore();
  const ids: number[] = [];
  for (let index = 0; index < 4; index++) ids.push((await store.datasets.create(ALICE)).id);
  const page = async (given: object) =>
    (await store.datasets.list({ ...list, ...given })).map(({ id }) => id);
  expect(await page({})).toEqual(ids);
  expect(await page({ limit: 2 })).toEqual(ids.slice(0, 2));
  expect(await page({ after: ids[0], skip: 1, limit: 1 })).toEqual([ids[2]]);

  const labels = Array.from({ length: LABELS_MAX - 1 }, (_, index) => `label ${index}`);
  const { id } = await store.datasets.create({ ...ALICE, labels });
  const create = async (name: string) =>
    (await store.datasets.createLabel({ principal: "alice", datasetId: id, name, now: 5_000 })).kind;
  expect([await create("label 0"), await create("last"), await create("one more")]).toEqual([
    "exists",
    "created",
    "full",
  ]);
  expect((await store.datasets.get("alice", id))?.labels).toHaveLength(LABELS_MAX);
  expect((await store.datasets.get("alice", id))?.updatedAt).toBe(5_000);
});

test("what an import brings is shown when it ends, all at once", async () => {
  const store = await tempStore();
  const { dataset, circle, add } = await shapes(store);
  await add(circle.id, "a");
  const before = await store.datasets.get("alice", dataset.id);
  const begun = await begin(store, dataset.id);
  const examples = [
    { ...picture("a"), label: "circle" },
    { ...picture("b"), label: "circle" },
    { ...picture("c"), label: "ring" },
  ];
  expect(await store.imports.insert({ begun, examples, now: 4_000 })).toBe(1);
  expect(await store.imports.insert({ begun, examples: examples.slice(2), now: 4_000 })).toBe(1);

  expect(await store.datasets.get("alice", dataset.id)).toEqual({ ...before, state: { kind: "importing" } });
  expect(await examplesOf(store, dataset.id)).toHaveLength(1);
  expect(await store.datasets.examplesOf("alice", dataset.id, { withFeedback: true })).toHaveLength(1);
  const hidden = (begun.id + 1) as number;
  for (let id = hidden; id < hidden + 8; id++) {
    expect(await store.examples.get("alice", id as ExampleId)).toBeUndefined();
    expect(await store.datasets.getLabel("alice", id as LabelId)).toBeUndefined();
    expect((await add(id as LabelId, "z")).kind).toBe("unknown_label");
    expect(await store.examples.delete({ principal: "alice", id: id as ExampleId, now: 9 })).toBe(false);
  }

  const skipped = { count: 1, first: ["circle/x.txt: it is no picture"] };
  await store.imports.end({ begun, end: { kind: "taken_up", duplicates: 2, skipped }, now: 5_000 });
  const after = await store.datasets.get("alice", dataset.id);
  expect(after).toMatchObject({
    state: { kind: "ready", failure: "" },
    duplicateCount: 2,
    skipped,
    updatedAt: 5_000,
  });
  expect(after?.labels.map(({ name, exampleCount }) => [name, exampleCount])).toEqual([
    ["circle", 2],
    ["square", 0],
    ["ring", 1],
  ]);
  expect(await store.imports.unended()).toEqual([]);
  expect(await examplesOf(store, dataset.id)).toHaveLength(3);
});

test("an import that fails leaves nothing, and keeps what was there", async () => {
  const store = await tempStore();
  const { dataset, circle, add } = await shapes(store);
  await add(circle.id, "a");
  const before = await store.datasets.get("alice", dataset.id);
  const begun = await begin(store, dataset.id);
  expect(await store.imports.unended()).toEqual([begun]);
  const examples = ["a", "b", "c", "d"].map((text) => ({ ...picture(text), label: `${text}s` }));
  await store.imports.insert({ begun, examples, now: 4_000 });
  await add(circle.id, "own");
  expect(await store.imports.clear(begun, 3)).toBe(false);
  expect(await store.imports.clear(begun, 3)).toBe(true);
  const end = { kind: "failed", failure: "Invalid zip: it is cut off", skipped: NOTHING } as const;
  await store.imports.end({ begun, end, now: 5_000 });
  expect(await store.datasets.get("alice", dataset.id)).toEqual({
    ...before,
    state: { kind: "ready", failure: end.failure },
    labels: before?.labels.map((label) => ({ ...label, exampleCount: label.id === circle.id ? 2 : 0 })),
    updatedAt: 5_000,
  });
  // Too late: it changes nothing any more.
  await store.imports.end({ begun, end: { kind: "taken_up", duplicates: 9, skipped: NOTHING }, now: 6_000 });
  expect(await store.imports.clear(begun, 3)).toBe(true);
  expect((await store.datasets.get("alice", dataset.id))?.duplicateCount).toBe(0);
});

test("a picture that somebody adds while an import holds it, too, stays when the import fails", async () => {
  const store = await tempStore();
  const { dataset, circle, add } = await shapes(store);
  const begun = await begin(store, dataset.id);
  await store.imports.insert({ begun, examples: [{ ...picture("a"), label: "circle" }], now: 4_000 });
  const added = await add(circle.id, "a");
  expect(added.kind).toBe("inserted");
  expect(await store.imports.clear(begun, 10)).toBe(true);
  await store.imports.end({ begun, end: { kind: "failed", failure: "no", skipped: NOTHING }, now: 5_000 });
  expect(await examplesOf(store, dataset.id)).toEqual("example" in added && [added.example]);
});

test("a first zip that fails leaves a failed dataset, which another zip can mend", async () => {
  const store = await tempStore();
  const source = { kind: "url", url: "https://zips.example/shapes.zip" } as const;
  const { dataset, begun } = await store.imports.create({ ...ALICE, labels: [] }, source);
  expect(dataset.state).toEqual({ kind: "importing" });
  expect(begun.source).toEqual(source);
  const args = { principal: "alice", datasetId: dataset.id, now: 4_000 };
  expect(await store.datasets.createLabel({ ...args, name: "ring" })).toEqual({ kind: "importing" });
  expect(await store.imports.begin({ ...args, source })).toEqual({ kind: "importing" });
  const deleting = { principal: "alice", id: dataset.id, now: 4_000 };
  expect(await store.datasets.delete({ ...deleting, deletionId: newId() })).toEqual({ kind: "importing" });
  await store.imports.clear(begun, 10);
  await store.imports.end({ begun, end: { kind: "failed", failure: "no", skipped: NOTHING }, now: 5_000 });
  expect((await store.datasets.get("alice", dataset.id))?.state).toEqual({ kind: "failed", failure: "no" });
  expect(await store.datasets.createLabel({ ...args, name: "ring" })).toEqual({ kind: "failed" });

  const second = await begin(store, dataset.id);
  await store.imports.insert({ begun: second, examples: [{ ...picture("a"), label: "ring" }], now: 6_000 });
  await store.imports.end({
    begun: second,
    end: { kind: "taken_up", duplicates: 0, skipped: NOTHING },
    now: 7_000,
  });
  const mended = await store.datasets.get("alice", dataset.id);
  expect(mended?.state).toEqual({ kind: "ready", failure: "" });
  expect(mended?.labels).toMatchObject([{ name: "ring", exampleCount: 1 }]);
});

test("a deleted dataset is unknown at once, and its rows go a part at a time", async () => {
  const store = await tempStore();
  const { dataset, circle, square, add } = await shapes(store);
  for (const text of ["a", "b", "c", "d", "e"]) await add(circle.id, text);
  const kept = await store.datasets.create(ALICE);
  const deletionId = newId();
  const reply = await store.datasets.delete({ principal: "alice", id: dataset.id, deletionId, now: 6_000 });
  if (reply.kind !== "deleted") throw new Error(reply.kind);
  expect(await store.datasets.get("alice", dataset.id)).toBeUndefined();
  expect(await store.datasets.getLabel("alice", square.id)).toBeUndefined();
  expect((await add(circle.id, "f")).kind).toBe("unknown");
  expect(await examplesOf(store, dataset.id)).toBeUndefined();
  expect((await store.datasets.list(list)).map(({ id }) => id)).toEqual([kept.id]);

  expect(await store.deletions.get("alice", deletionId)).toEqual(reply.deletion);
  expect(await store.deletions.get("bob", deletionId)).toBeUndefined();
  expect(await store.deletions.unfinished(10)).toEqual([reply.deletion]);
  expect(await store.deletions.countExamples(dataset.id)).toBe(5);
  const parts = [];
  for (let done = false; !done; parts.push(done)) done = await store.deletions.purgeDataset(dataset.id, 2);
  expect(parts).toEqual([false, false, true]);
  expect(await store.deletions.countExamples(dataset.id)).toBe(0);

  await store.deletions.record(reply.deletion, { state: "succeeded", progress: 1, failure: "" });
  expect(await store.deletions.unfinished(10)).toEqual([]);
  await store.deletions.record(reply.deletion, { state: "failed", progress: 0, failure: "too late" });
  expect(await store.deletions.get("alice", deletionId)).toMatchObject({ state: "succeeded", progress: 1 });
  const askedBefore = Number.parseInt(deletionId.replace("-", "").slice(0, 12), 16) * 1000;
  expect(await store.deletions.deleteEnded({ askedBefore, limit: 10 })).toBe(0);
  expect(await store.deletions.deleteEnded({ askedBefore: askedBefore + 1000, limit: 10 })).toBe(1);
  expect(await store.deletions.get("alice", deletionId)).toBeUndefined();
});

test("a blob is in use as long as an example or an import has it", async () => {
  const store = await tempStore();
  const { dataset, circle } = await shapes(store);
  const [ofExample, ofImport, ofNobody] = await Promise.all(
    ["example", "import", "nobody"].map((text) => store.blobs.put(Buffer.from(text))),
  );
  if (!ofExample || !ofImport) throw new Error("a blob is missing");
  const example = picture("a", { blob: ofExample });
  const args = { principal: "alice", datasetId: dataset.id, now: 9 };
  await store.examples.insert({ ...args, labelId: circle.id, source: "upload", example });
  await store.imports.begin({ ...args, source: { kind: "blob", blob: ofImport } });
  expect(await store.blobs.sweep(0)).toBe(1);
  expect(await store.blobs.get(ofNobody ?? "")).toBeUndefined();
  expect(await store.blobs.get(ofImport)).toEqual(Buffer.from("import"));
  expect(await store.blobs.get(ofExample)).toEqual(Buffer.from("example"));
});

test("embeddings of pictures that no example has any more are swept", async () => {
  const store = await tempStore();
  const { dataset, circle } = await shapes(store);
  const blobs = Array.from({ length: 1200 }, (_, index) => index.toString(16).padStart(64, "0"));
  const kept = [blobs[0], blobs[700], blobs[1199]].map((blob) => picture("a", { blob: blob ?? "" }));
  const args = {
    principal: "alice",
    datasetId: dataset.id,
    labelId: circle.id,
    source: "upload",
    now: 9,
  } as const;
  for (const example of kept) await store.examples.insert({ ...args, example });
  for (const extractor of ["auspex/a:1", "auspex/b:1"]) {
    await store.embeddings.put(extractor, new Map(blobs.map((blob) => [blob, new Float32Array([1])])));
  }
  expect(await store.embeddings.sweep()).toBe(2 * (1200 - 3));
  expect(await store.embeddings.sweep()).toBe(0);
  const left = await store.embeddings.missing("auspex/b:1", blobs);
  expect(blobs.filter((blob) => !left.includes(blob))).toEqual(kept.map(({ blob }) => blob));
});
