/** Datasets through the real server: zips, single examples, pages, deletion, and whose they are. */
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  type Dataset,
  DatasetService,
  DatasetState,
  DatasetType,
  DeletionState,
  ExampleSource,
} from "../../gen/auspex/v1/dataset_pb.ts";
import { clientOf, startServer, type TestServer, until } from "../harness.ts";
import { drawPicture, zipOf, zipOfShapes } from "../pictures.ts";

const KEYS = { alice: "alice-key-0123456789", bob: "bob-key-0123456789ab" };
let server: TestServer;
const clientFor = (who: keyof typeof KEYS) => clientOf(server, "grpc", DatasetService, KEYS[who]);

beforeAll(async () => {
  const API_KEYS = `alice:${KEYS.alice},bob:${KEYS.bob}`;
  server = await startServer({ settings: { API_KEYS, MAX_EXAMPLE_BYTES: "200KiB" } });
});
afterAll(() => server?.[Symbol.asyncDispose]());

const refused = (call: () => Promise<unknown>): Promise<ConnectError> =>
  call().then(
    () => {
      throw new Error("the call was not refused");
    },
    (thrown: unknown) => ConnectError.from(thrown),
  );

async function upload(data: Uint8Array<ArrayBuffer>, name = "shapes"): Promise<Dataset> {
  const { dataset } = await clientFor("alice").uploadDataset({
    name,
    type: DatasetType.IMAGE,
    zip: { source: { case: "data", value: data } },
    waitUntilReady: true,
  });
  if (!dataset) throw new Error("no dataset was answered");
  return dataset;
}

const countsOf = ({ labels }: Dataset) =>
  Object.fromEntries(labels.map(({ name, exampleCount }) => [name, Number(exampleCount)]));

test("a zip with a wrapping folder, rubbish, a broken file, a large one and a double", async () => {
  const circle = await drawPicture("circle", 1);
  const files = {
    "shapes/": new Uint8Array(),
    "shapes/circle/a.jpg": circle,
    "shapes/circle/b.jpg": await drawPicture("circle", 2),
    "shapes/circle/again.jpg": circle,
    "shapes/square/a.png": await drawPicture("square", 1, { format: "png" }),
    "shapes/square/also.jpg": circle,
    "shapes/square/broken.jpg": circle.subarray(0, circle.length >> 1),
    "shapes/square/large.png": await drawPicture("square", 3, { format: "png", size: 320 }),
    "shapes/square/.DS_Store": Buffer.from("x"),
    "shapes/square/Thumbs.db": Buffer.from("x"),
    "shapes/readme.txt": Buffer.from("These are shapes."),
    "__MACOSX/shapes/circle/._a.jpg": Buffer.from("x"),
  };
  expect(files["shapes/square/large.png"].length).toBeGreaterThan(200 * 1024);
  const dataset = await upload(await zipOf(files));
  expect(dataset).toMatchObject({
    name: "shapes",
    type: DatasetType.IMAGE,
    state: DatasetState.READY,
    failure: "",
  });
  expect(countsOf(dataset)).toEqual({ circle: 2, square: 2 });
  expect(dataset).toMatchObject({ exampleCount: 4n, duplicateCount: 1n, skippedCount: 3n });
  expect(dataset.skipped).toEqual([
    expect.stringMatching(/^shapes\/square\/broken\.jpg: /),
    expect.stringMatching(/^shapes\/square\/large\.png: has \d+ bytes; at most 204800 are allowed$/),
    "shapes/readme.txt: is not in the folder of a label",
  ]);
  expect((await clientFor("alice").getDataset({ id: dataset.id })).dataset).toEqual(dataset);

  const { examples } = await clientFor("alice").listExamples({ datasetId: dataset.id });
  expect(examples.map(({ name }) => name)).toEqual(["a.jpg", "b.jpg", "a.png", "also.jpg"]);
  expect(examples[2]).toMatchObject({
    mediaType: "image/png",
    width: 96,
    height: 96,
    source: ExampleSource.UPLOAD,
  });
  const { data } = await clientFor("alice").getExample({ id: examples[0]?.id ?? 0n, includeData: true });
  expect(Buffer.from(data).equals(circle)).toBe(true);
});

test("without waiting: importing at once, then ready; meanwhile it takes no other zip", async () => {
  const alice = clientFor("alice");
  const zip = { source: { case: "data", value: await zipOfShapes(["circle", "ring"], 30) } } as const;
  const { dataset } = await alice.uploadDataset({ type: DatasetType.IMAGE, zip });
  const id = dataset?.id ?? 0n;
  expect(dataset).toMatchObject({
    name: "dataset",
    state: DatasetState.IMPORTING,
    labels: [],
    exampleCount: 0n,
  });
  for (const call of [() => alice.addExamples({ datasetId: id, zip }), () => alice.deleteDataset({ id })]) {
    expect((await refused(call)).code).toBe(Code.FailedPrecondition);
  }
  const seen: bigint[] = [];
  const ready = await until(async () => {
    const now = (await alice.getDataset({ id })).dataset;
    if (now?.state === DatasetState.IMPORTING) {
      expect(now).toMatchObject({ labels: [], exampleCount: 0n });
      if (now.importTotal > 0n) expect(now.importTotal).toBe(60n);
      seen.push(now.importedCount);
    }
    return now?.state === DatasetState.READY && now;
  });
  expect(seen).toEqual(seen.toSorted((a, b) => Number(a - b)));
  expect(ready).toMatchObject({ exampleCount: 60n, importedCount: 0n, importTotal: 0n });
});

test("a caller that goes away does not stop its import", async () => {
  const alice = clientFor("alice");
  const gone = new AbortController();
  const data = await zipOfShapes(["circle", "cross"], 40, { firstSeed: 500 });
  const zip = { source: { case: "data", value: data } } as const;
  const request = { name: "left alone", type: DatasetType.IMAGE, zip, waitUntilReady: true };
  const call = refused(() => alice.uploadDataset(request, { signal: gone.signal }));
  const find = async () =>
    (await alice.listDatasets({ pageSize: 200 })).datasets.find(({ name }) => name === request.name);
  await until(find);
  gone.abort();
  expect((await call).code).toBe(Code.Canceled);
  const dataset = await until(async () => {
    const now = await find();
    return now?.state === DatasetState.READY && now;
  });
  expect(dataset.exampleCount).toBe(80n);
});

test("another zip adds to a dataset; one that is no good leaves it as it was", async () => {
  const alice = clientFor("alice");
  const dataset = await upload(await zipOfShapes(["circle", "square"], 3, { firstSeed: 100 }));
  const add = async (value: Uint8Array<ArrayBuffer>) => {
    const zip = { source: { case: "data", value } } as const;
    const begun = await alice.addExamples({ datasetId: dataset.id, zip });
    expect(begun.dataset).toMatchObject({ state: DatasetState.IMPORTING, exampleCount: 6n });
    return until(async () => {
      const now = (await alice.getDataset({ id: dataset.id })).dataset;
      return now?.state === DatasetState.READY && now;
    });
  };
  const failed = await add(Buffer.from("This is no zip."));
  expect(failed.failure).toMatch(/^Invalid zip: /);
  expect(countsOf(failed)).toEqual({ circle: 3, square: 3 });
  const nothing = await add(
    await zipOf({ "triangle/a.txt": Buffer.from("no picture"), "triangle/b.jpg": Buffer.from("") }),
  );
  expect(nothing.failure).toMatch(/^Invalid zip: it has no picture that can be read/);
  expect(nothing).toMatchObject({ skippedCount: 2n, labels: failed.labels });
  const added = await add(await zipOfShapes(["square", "ring"], 4, { firstSeed: 102 }));
  expect(added).toMatchObject({ failure: "", duplicateCount: 1n, skippedCount: 0n });
  expect(countsOf(added)).toEqual({ circle: 3, square: 6, ring: 4 });
});

test("a first zip that is no good fails the dataset, which can be deleted", async () => {
  const dataset = await upload(Buffer.from("This is no zip."));
  expect(dataset).toMatchObject({ state: DatasetState.FAILED, exampleCount: 0n, labels: [] });
  expect(dataset.failure).toMatch(/^Invalid zip: /);
  const { deletion } = await clientFor("alice").deleteDataset({ id: dataset.id });
  expect(deletion?.kind).toBe("dataset");
});

test("single labels and examples, and their errors", async () => {
  const alice = clientFor("alice");
  const { dataset } = await alice.createDataset({
    name: "own",
    labels: ["circle"],
    type: DatasetType.IMAGE_MULTI_LABEL,
  });
  const datasetId = dataset?.id ?? 0n;
  expect(dataset).toMatchObject({ state: DatasetState.READY, type: DatasetType.IMAGE_MULTI_LABEL });
  const { label } = await alice.createLabel({ datasetId, name: "square" });
  expect((await refused(() => alice.createLabel({ datasetId, name: "square" }))).code).toBe(
    Code.AlreadyExists,
  );
  expect((await alice.getLabel({ id: label?.id ?? 0n })).label).toEqual(label);

  const data = await drawPicture("square", 7);
  const request = { datasetId, labelId: label?.id ?? 0n, name: "mine.jpg", data };
  const { example } = await alice.createExample(request);
  expect(example?.label).toEqual({ ...label, exampleCount: 1n });
  expect((await alice.createExample({ ...request, name: "again.jpg" })).example).toEqual(example);
  expect((await alice.getExample({ id: example?.id ?? 0n })).example).toEqual(example);

  const exact = new Uint8Array(200 * 1024);
  exact.set(data);
  expect((await alice.createExample({ ...request, data: exact })).example?.sizeBytes).toBe(204_800n);
  const large = new Uint8Array(200 * 1024 + 1);
  large.set(data);
  for (const [field, call] of Object.entries({
    data: () => alice.createExample({ ...request, data: large }),
    "data: ": () => alice.createExample({ ...request, data: data.subarray(0, 300) }),
    name: () => alice.createExample({ ...request, name: "" }),
    label_id: () => alice.createExample({ ...request, labelId: 0n }),
    "labels[1]": () => alice.createDataset({ name: "x", labels: ["a", "a"], type: DatasetType.IMAGE }),
    type: () => alice.createDataset({ name: "x" }),
    zip: () => alice.uploadDataset({ type: DatasetType.IMAGE }),
    "zip.url": () =>
      alice.uploadDataset({
        type: DatasetType.IMAGE,
        zip: { source: { case: "url", value: "http://127.0.0.1/a.zip" } },
      }),
    page_token: () => alice.listDatasets({ pageToken: "x" }),
    dataset_id: () => alice.listExamples({}),
  })) {
    const { code, rawMessage } = await refused(call);
    expect([code, rawMessage]).toEqual([Code.InvalidArgument, expect.stringContaining(field)]);
  }
  expect((await refused(() => alice.createExample({ ...request, labelId: 999_999n }))).code).toBe(
    Code.NotFound,
  );

  await alice.deleteExample({ id: example?.id ?? 0n });
  expect((await refused(() => alice.deleteExample({ id: example?.id ?? 0n }))).code).toBe(Code.NotFound);
  expect((await alice.listExamples({ labelId: label?.id ?? 0n })).examples).toHaveLength(1);
});

test("pages follow each other without gaps, with some passed over", async () => {
  const alice = clientFor("alice");
  const dataset = await upload(await zipOfShapes(["circle", "square"], 4, { firstSeed: 200 }));
  const names: string[] = [];
  let pageToken = "";
  do {
    const page = await alice.listExamples({ datasetId: dataset.id, pageSize: 3, pageToken });
    names.push(...page.examples.map(({ name }) => name));
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  const all = ["circle", "square"].flatMap((shape) => [1, 2, 3, 4].map((index) => `${shape}-${index}.jpg`));
  expect(names).toEqual(all);
  const skipping = await alice.listExamples({ datasetId: dataset.id, skip: 5, pageSize: 2 });
  expect(skipping.examples.map(({ name }) => name)).toEqual(all.slice(5, 7));

  const { datasets } = await alice.listDatasets({ pageSize: 200 });
  const first = await alice.listDatasets({ pageSize: 1 });
  const second = await alice.listDatasets({ pageSize: 1, pageToken: first.nextPageToken });
  const third = await alice.listDatasets({ pageSize: 1, skip: 1, pageToken: first.nextPageToken });
  expect([first, second, third].map((page) => page.datasets[0]?.id)).toEqual(
    datasets.slice(0, 3).map(({ id }) => id),
  );
  const end = await alice.listDatasets({ skip: datasets.length });
  expect(end).toMatchObject({ datasets: [], nextPageToken: "" });
});

test("a deletion is followed to its end, and nothing of the dataset is left", async () => {
  const alice = clientFor("alice");
  const dataset = await upload(await zipOfShapes(["circle", "square"], 3, { firstSeed: 300 }));
  const labelId = dataset.labels[0]?.id ?? 0n;
  const { examples } = await alice.listExamples({ datasetId: dataset.id });
  const { deletion } = await alice.deleteDataset({ id: dataset.id });
  expect(deletion).toMatchObject({
    kind: "dataset",
    deleted: String(dataset.id),
    state: DeletionState.QUEUED,
  });
  const id = deletion?.id ?? "";
  for (const call of [
    () => alice.getDataset({ id: dataset.id }),
    () => alice.deleteDataset({ id: dataset.id }),
    () => alice.getLabel({ id: labelId }),
    () => alice.listExamples({ labelId }),
    () => alice.getExample({ id: examples[0]?.id ?? 0n }),
    () => clientFor("bob").getDeletion({ id }),
  ]) {
    expect((await refused(call)).code).toBe(Code.NotFound);
  }
  const ended = await until(async () => {
    const now = (await alice.getDeletion({ id })).deletion;
    return now?.state === DeletionState.SUCCEEDED && now;
  });
  expect(ended).toMatchObject({ progress: 1, failure: "" });
});

test("what is somebody else's is not there", async () => {
  const bob = clientFor("bob");
  const dataset = await upload(await zipOfShapes(["circle"], 1, { firstSeed: 400 }));
  const { id } = dataset;
  const labelId = dataset.labels[0]?.id ?? 0n;
  const { examples } = await clientFor("alice").listExamples({ datasetId: id });
  const example = examples[0]?.id ?? 0n;
  const data = await drawPicture("circle", 401);
  const zip = { source: { case: "data", value: await zipOfShapes(["circle"], 1) } } as const;
  for (const call of [
    () => bob.getDataset({ id }),
    () => bob.deleteDataset({ id }),
    () => bob.addExamples({ datasetId: id, zip }),
    () => bob.createLabel({ datasetId: id, name: "ring" }),
    () => bob.getLabel({ id: labelId }),
    () => bob.createExample({ datasetId: id, labelId, name: "x", data }),
    () => bob.getExample({ id: example, includeData: true }),
    () => bob.listExamples({ datasetId: id }),
    () => bob.listExamples({ labelId }),
    () => bob.deleteExample({ id: example }),
  ]) {
    expect((await refused(call)).code).toBe(Code.NotFound);
  }
  expect((await bob.listDatasets({})).datasets).toEqual([]);
});
