/** Imports over a real store: what happens when the store, a worker or the other side fails in one. */
import sharp from "sharp";
import { expect, onTestFinished, test } from "vitest";
import type { Dataset } from "../../src/domain/dataset.ts";
import { AuspexError } from "../../src/domain/error.ts";
import { createDatasetImports, datasetKey, type ImportOptions } from "../../src/services/dataset-import.ts";
import { createEgress } from "../../src/services/egress.ts";
import { createHints } from "../../src/services/hints.ts";
import type { Store } from "../../src/store/store.ts";
import { until } from "../harness.ts";
import { drawPicture, zipOf } from "../pictures.ts";
import { tempStore } from "../store/temp-store.ts";
import { listen } from "./http-listener.ts";

const MIB = 1024 ** 2;
const NEW = { principal: "alice", name: "shapes", type: "image", labels: [], createdAt: 1_000 } as const;
const silent = { info() {}, warn() {}, error() {} };

/** A server's part of it, whose store or engine may be made to fail. */
function importing(store: Store, given: Partial<ImportOptions> = {}) {
  const stopping = new AbortController();
  const egress = createEgress({ allow: ["127.0.0.1"] });
  const hints = createHints();
  const imports = createDatasetImports({
    store,
    engine: {
      async inspect(bytes) {
        const { width, height, format } = await sharp(bytes).metadata();
        return { width, height, mediaType: `image/${format}` };
      },
    },
    egress,
    limits: {
      MAX_EXAMPLE_BYTES: MIB,
      MAX_ZIP_BYTES: MIB,
      MAX_ZIP_ENTRIES: 2000,
      MAX_ZIP_UNPACKED: 4 * MIB,
      MAX_ZIP_RATIO: 200,
    },
    hints,
    now: () => 9_000,
    stopping: stopping.signal,
    log: silent,
    ...given,
  });
  const stop = async () => {
    stopping.abort();
    await imports.idle();
    await egress.close();
  };
  onTestFinished(stop);
  return { imports, hints, stop };
}

async function ended(store: Store, { id }: Dataset): Promise<Dataset> {
  return until(async () => {
    const now = await store.datasets.get("alice", id);
    return now?.state.kind !== "importing" && now;
  });
}

async function blobOf(store: Store, files: Record<string, Uint8Array>) {
  return { kind: "blob", blob: await store.blobs.put(await zipOf(files)) } as const;
}

test("a store that does not work for a while holds an import up, and does not fail it", async () => {
  const store = await tempStore();
  const source = await blobOf(store, { "circle/a.jpg": await drawPicture("circle", 1) });
  const { dataset, begun } = await store.imports.create(NEW, source);
  const failures: string[] = [];
  const once = (name: string): void => {
    if (failures.includes(name)) return;
    failures.push(name);
    throw new AuspexError("unavailable", "the disk is full");
  };
  const failing: Store["imports"] = {
    ...store.imports,
    clear: async (...args) => {
      once("clear");
      return store.imports.clear(...args);
    },
    end: async (args) => {
      once("end");
      return store.imports.end(args);
    },
  };
  const { imports, hints } = importing({ ...store, imports: failing });
  const told = hints.subscribe(datasetKey(dataset.id));
  imports.add(begun);
  await told.next(AbortSignal.timeout(10_000));
  expect(failures).toEqual(["clear", "end"]);
  expect(await ended(store, dataset)).toMatchObject({ state: { kind: "ready", failure: "" } });
  expect(imports.progress(dataset.id)).toBeUndefined();
});

test("a picture that kills its worker is skipped; a store that cannot keep a picture fails the import", async () => {
  const store = await tempStore();
  const deadly = await drawPicture("circle", 2);
  const files = { "circle/a.jpg": await drawPicture("circle", 1), "circle/deadly.jpg": deadly };
  const source = await blobOf(store, files);
  const first = await store.imports.create(NEW, source);
  const engine: ImportOptions["engine"] = {
    async inspect(bytes) {
      if (Buffer.compare(bytes, deadly) !== 0) return { mediaType: "image/jpeg", width: 96, height: 96 };
      throw new AuspexError("internal", "the worker died twice while looking at this picture");
    },
  };
  importing(store, { engine }).imports.add(first.begun);
  expect(await ended(store, first.dataset)).toMatchObject({
    state: { kind: "ready" },
    labels: [{ name: "circle", exampleCount: 1 }],
    skipped: { count: 1, first: [expect.stringMatching(/^circle\/deadly\.jpg: the worker died twice/)] },
  });

  const second = await store.imports.create(NEW, source);
  const blobs: Store["blobs"] = {
    ...store.blobs,
    put: () => Promise.reject(new AuspexError("unavailable", "the disk is full")),
  };
  importing({ ...store, blobs }).imports.add(second.begun);
  expect(await ended(store, second.dataset)).toMatchObject({
    state: { kind: "failed", failure: "the disk is full" },
    labels: [],
  });
});

test("labels of a dataset and of a zip are at most 250 together", async () => {
  const store = await tempStore();
  const picture = await drawPicture("circle", 1);
  const labels = Array.from({ length: 249 }, (_, index) => `label ${index}`);
  for (const [added, failure] of [
    [["label 7", "one more"], ""],
    [
      ["label 7", "one more", "another"],
      "Invalid zip: with it the dataset would have 251 labels; at most 250 are allowed",
    ],
  ] as const) {
    const dataset = await store.datasets.create({ ...NEW, labels });
    const files = Object.fromEntries(added.map((label) => [`${label}/a.jpg`, picture]));
    const source = await blobOf(store, files);
    const reply = await store.imports.begin({
      principal: "alice",
      datasetId: dataset.id,
      source,
      now: 2_000,
    });
    if (reply.kind !== "begun") throw new Error(reply.kind);
    importing(store).imports.add(reply.begun);
    const now = await ended(store, dataset);
    expect(now.state).toEqual({ kind: "ready", failure });
    expect(now.labels).toHaveLength(failure === "" ? 250 : 249);
  }
});

test("200 zips may wait beside the four at work; a stop leaves all to the next start", async () => {
  const store = await tempStore();
  const silentServer = await listen(() => {});
  onTestFinished(() => silentServer[Symbol.asyncDispose]());
  const { imports, stop } = importing(store);
  const source = { kind: "url", url: `${silentServer.origin}/a.zip` } as const;
  for (let index = 0; index < 203; index++) imports.add((await store.imports.create(NEW, source)).begun);
  expect(() => imports.refuseWhenFull()).not.toThrow();
  imports.add((await store.imports.create(NEW, source)).begun);
  expect(() => imports.refuseWhenFull()).toThrow("too many zips wait");
  await until(() => silentServer.received.length === 4);
  await stop();
  expect(silentServer.received).toHaveLength(4);
  expect(await store.imports.unended()).toHaveLength(204);
});
