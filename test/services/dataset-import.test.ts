/** Imports over a real store, with an engine and a clock that do what the test tells them to. */
import { expect, onTestFinished, test } from "vitest";
import type { Engine, PictureInfo } from "../../src/engine/engine.ts";
import { createDatasetImports, datasetKey } from "../../src/services/dataset-import.ts";
import type { Egress } from "../../src/services/egress.ts";
import { createHints } from "../../src/services/hints.ts";
import { until } from "../harness.ts";
import { rawZip } from "../raw-zip.ts";
import { tempStore } from "../store/temp-store.ts";

const MINUTE = 60_000_000;

/** Pictures that are looked at side by side. */
const GROUP = 4;

test("pictures get their rows long before bytes without a row are swept, however slow the rest is", async () => {
  const store = await tempStore();
  const stopping = new AbortController();
  const hints = createHints();
  const ignore = () => undefined;
  let ahead = 0;
  let seen = 0;
  const second = Promise.withResolvers<void>();
  const engine = {
    async inspect(): Promise<PictureInfo> {
      seen += 1;
      if (seen === GROUP) ahead = 2 * MINUTE;
      if (seen > GROUP) await second.promise;
      return { mediaType: "image/jpeg", width: 1, height: 1 };
    },
  } as unknown as Engine;
  const imports = createDatasetImports({
    store,
    engine,
    egress: {} as Egress,
    limits: {
      MAX_EXAMPLE_BYTES: 1000,
      MAX_ZIP_BYTES: 1e6,
      MAX_ZIP_ENTRIES: 100,
      MAX_ZIP_UNPACKED: 1e6,
      MAX_ZIP_RATIO: 200,
    },
    hints,
    now: () => Date.now() * 1000 + ahead,
    stopping: stopping.signal,
    log: { info: ignore, warn: ignore, error: ignore },
  });
  onTestFinished(() => {
    stopping.abort();
    second.resolve();
    return imports.idle();
  });
  const names = Array.from({ length: 2 * GROUP }, (_, i) => `circle/${i}.jpg`);
  const blob = await store.blobs.put(rawZip(names.map((name) => ({ name, data: Buffer.from(name) }))));
  const { dataset, begun } = await store.imports.create(
    { principal: "alice", type: "image", name: "shapes", labels: [], createdAt: 1 },
    { kind: "blob", blob },
  );
  const changes = hints.subscribe(datasetKey(dataset.id));
  imports.add(begun);
  await until(() => seen === 2 * GROUP);
  expect(await store.blobs.sweep(0)).toBe(0);
  second.resolve();
  await changes.next(AbortSignal.timeout(10_000));
  changes.close();
  expect((await store.datasets.get("alice", dataset.id))?.state).toEqual({ kind: "ready", failure: "" });
  const examples = await store.datasets.examplesOf("alice", dataset.id, { withFeedback: false });
  expect(examples).toHaveLength(2 * GROUP);
  for (const example of examples)
    expect(Buffer.from((await store.blobs.get(example.blob)) ?? []).toString()).toBe(
      `circle/${example.name}`,
    );
});
