/** Heads that stand on another version's embedding, in a running engine. */
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import type { ModelVersion } from "../../src/domain/model.ts";
import type { Engine, Job } from "../../src/engine/engine.ts";
import { createHead, type Head, writeExtractor } from "../models/extractor.ts";
import { writeMlp } from "../models/mlp.ts";
import { drawPicture } from "../pictures.ts";
import { residentBytes } from "../processes.ts";
import { type EngineFixture, RUNTIME, startEngine, until, workerPids } from "./harness.ts";

const LABELS = ["a", "b", "c"];
const signal = new AbortController().signal;

let fixture: EngineFixture;
afterEach(() => fixture.stop());

let picture: Uint8Array;
beforeAll(async () => {
  picture = await drawPicture("circle", 1);
});

async function write(folder: string, { files }: Head): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const [name, bytes] of Object.entries(files)) await writeFile(join(folder, name), bytes);
}

async function embeddingOf(engine: Engine, owner: string, name: string): Promise<Float32Array> {
  const [embedded] = await engine.trainer.embed({ owner, name, version: 1 }, [picture], signal);
  if (!embedded?.ok) throw new Error("there is no embedding");
  return embedded.embedding;
}

function job(owner: string, name: string): Job {
  return {
    owner,
    name,
    version: 1,
    input: { json: {}, tensors: {}, files: { image: picture } },
    signal,
    deadlineAt: undefined,
    deaths: 0,
    onWorkerDeath: async () => undefined,
  };
}

/** Of the labels a, b, c, in this order. */
async function probabilities(engine: Engine, owner: string, name: string): Promise<number[]> {
  const { output } = await engine.run(job(owner, name));
  const said = (output.json as { probabilities: { label: string; probability: number }[] }).probabilities;
  return LABELS.map((label) => said.find((item) => item.label === label)?.probability ?? Number.NaN);
}

function expectNear(actual: readonly number[], expected: readonly number[]): void {
  for (const [i, value] of expected.entries()) expect(actual[i]).toBeCloseTo(value, 4);
}

function stateOf(name: string): ModelVersion["state"] | undefined {
  return fixture.engine.models.get("acme", name, 1)?.state;
}

const failure = (text: string) => ({ kind: "failed", reason: expect.stringContaining(text) });

describe.each(["tfjs-wasm", "onnxruntime"])("heads on %s", (runtime) => {
  it("answer what their weights make of their backbone's embedding, found in any order", async () => {
    const [first, second] = [createHead("acme/b:1", LABELS), createHead("acme/b:1", LABELS, { seed: 2 })];
    fixture = await startEngine({ runtime }, async (models) => {
      await write(join(models, "acme", "a", "1"), first);
      await writeExtractor(join(models, "acme", "b", "1"));
      await write(join(models, "acme", "c", "1"), second);
    });
    const { engine } = fixture;
    expect(engine.models.list().map(({ state }) => state.kind)).toEqual(["ready", "ready", "ready"]);
    const embedding = await embeddingOf(engine, "acme", "b");
    expect(Math.max(...embedding)).toBeGreaterThan(0);
    const [a, c] = await Promise.all([
      probabilities(engine, "acme", "a"),
      probabilities(engine, "acme", "c"),
    ]);
    expectNear(a, first.probabilities(embedding));
    expectNear(c, second.probabilities(embedding));
    expect(a).not.toEqual(c);
    const before = engine.stats().batches;
    const many = await Promise.all(Array.from({ length: 64 }, () => probabilities(engine, "acme", "a")));
    for (const one of many) expectNear(one, a);
    expect(engine.stats().batches - before).toBeLessThan(40);
  });
});

describe("a head", () => {
  it("is failed while its backbone is not there, and ready once it is", async () => {
    const head = createHead("acme/base:1", LABELS);
    fixture = await startEngine({}, (models) => write(join(models, "acme", "head", "1"), head));
    const { engine, modelsDir } = fixture;
    expect(stateOf("head")).toEqual(failure("its backbone acme/base:1 is not there"));
    await writeExtractor(join(modelsDir, ".aside"));
    await mkdir(join(modelsDir, "acme", "base"));
    await rename(join(modelsDir, ".aside"), join(modelsDir, "acme", "base", "1"));
    await until(() => stateOf("head")?.kind === "ready");
    expectNear(
      await probabilities(engine, "acme", "head"),
      head.probabilities(await embeddingOf(engine, "acme", "base")),
    );
  });

  it("says what is wrong with its backbone", async () => {
    const on = (backbone: string, options = {}) => createHead(backbone, LABELS, options);
    fixture = await startEngine({}, async (models) => {
      const folder = (model: string) => join(models, ...model.split("/"), "1");
      await writeExtractor(folder("acme/base"));
      await writeExtractor(folder("other/base"));
      await writeExtractor(folder("acme/silent"), { embedding: null });
      await writeExtractor(folder("acme/wrong"), { embedding: "nowhere" });
      await writeExtractor(folder("acme/broken"), { labels: ["one"] });
      await write(folder("acme/foreign"), on("other/base:1"));
      await write(folder("acme/deaf"), on("acme/silent:1"));
      await write(folder("acme/lost"), on("acme/wrong:1"));
      await write(folder("acme/cracked"), on("acme/broken:1"));
      await write(folder("acme/wide"), on("acme/base:1", { width: 7 }));
      await write(folder("acme/self"), on("acme/self:1"));
      await write(folder("acme/ping"), on("acme/pong:1"));
      await write(folder("acme/pong"), on("acme/ping:1"));
      await write(folder("acme/head"), on("acme/base:1"));
      await write(folder("acme/hat"), on("acme/head:1"));
    });
    expect(stateOf("foreign")).toEqual(failure("other/base:1 is neither acme's nor the catalogue's"));
    expect(stateOf("deaf")).toEqual(failure("acme/silent:1 names no embedding"));
    expect(stateOf("wrong")).toMatchObject({
      kind: "ready",
      notes: [expect.stringContaining("no embedding: it has no layer or node nowhere")],
    });
    expect(stateOf("lost")).toEqual(failure("its backbone acme/wrong:1 has no embedding"));
    expect(stateOf("cracked")).toEqual(failure("its backbone acme/broken:1 failed: "));
    expect(stateOf("wide")).toEqual(failure("takes 7 numbers, and its backbone acme/base:1 gives 6"));
    expect(stateOf("self")).toEqual(failure("acme/self:1 has a backbone itself"));
    expect(stateOf("ping")?.kind).toBe("failed");
    expect(stateOf("pong")?.kind).toBe("failed");
    expect(stateOf("hat")).toEqual(failure("acme/head:1 has a backbone itself"));
    expect(stateOf("head")?.kind).toBe("ready");
  });

  it("keeps its backbone from being deleted, and in memory when its files go", async () => {
    const head = createHead("acme/base:1", LABELS);
    fixture = await startEngine({}, async (models) => {
      await writeExtractor(join(models, "acme", "base", "1"));
      await write(join(models, "acme", "head", "1"), head);
    });
    const { engine, modelsDir } = fixture;
    const before = await probabilities(engine, "acme", "head");
    await expect(engine.models.remove("acme", "base", 1)).rejects.toMatchObject({
      code: "failed_precondition",
      message: "acme/base:1 is the backbone of acme/head:1, which has to be deleted first",
    });
    await rm(join(modelsDir, "acme", "base"), { recursive: true });
    await until(() => stateOf("base") === undefined);
    await expect(engine.run(job("acme", "base"))).rejects.toMatchObject({ code: "not_found" });
    expect(await probabilities(engine, "acme", "head")).toEqual(before);
    expect(await engine.models.remove("acme", "head", 1)).toBe(true);
  });

  it("lets its backbone go with itself", async () => {
    fixture = await startEngine({}, async (models) => {
      await writeExtractor(join(models, "acme", "base", "1"));
      await write(join(models, "acme", "head", "1"), createHead("acme/base:1", LABELS));
    });
    const { engine } = fixture;
    expect(await engine.models.remove("acme", "head", 1)).toBe(true);
    expect(await engine.models.remove("acme", "base", 1)).toBe(true);
    expect(engine.models.list()).toEqual([]);
  });

  it("costs little memory: a hundred beside one", async () => {
    const heads = (count: number) => async (models: string) => {
      await writeExtractor(join(models, "acme", "base", "1"), {}, 1);
      // Of 1,024 numbers and ten labels it would be 40 KB; these are as many bytes.
      for (let i = 0; i < count; i++) {
        const labels = Array.from({ length: 1500 }, (_, label) => `label ${label}`);
        await write(join(models, "acme", `head-${i}`, "1"), createHead("acme/base:1", labels, { seed: i }));
      }
    };
    const memory = async (count: number): Promise<number> => {
      fixture = await startEngine({ runtime: "onnxruntime", workers: 1 }, heads(count));
      await until(async () => (await workerPids()).length === 2);
      const [largest = 0] = (await workerPids()).map(residentBytes).sort((a, b) => b - a);
      return largest;
    };
    const one = await memory(1);
    await fixture.stop();
    const hundred = await memory(100);
    expect((hundred - one) / 1024 ** 2).toBeLessThan(100);
  });

  it("is refused when it names an embedding of its own, or a backbone without a version", async () => {
    fixture = await startEngine();
    const publish = (backbone: string, manifest: object) => {
      const { files } = createHead(backbone, LABELS, { manifest });
      return fixture.engine.models.publish({ owner: "acme", name: "head", files, signal });
    };
    await expect(publish("acme/base", { embedding: "pool" })).rejects.toMatchObject({
      code: "invalid_argument",
      violations: [
        { description: "backbone: must be owner/name:version" },
        { description: "embedding: is the backbone's own, and not to be named here" },
      ],
    });
  });
});

it("a tensor model may be a head, too", async () => {
  fixture = await startEngine({ runtime: RUNTIME }, async (models) => {
    await writeExtractor(join(models, "acme", "base", "1"));
    await write(
      join(models, "acme", "head", "1"),
      createHead("acme/base:1", LABELS, { manifest: { task: "tensor", picture: null, labels: [] } }),
    );
    await writeMlp(join(models, "acme", "odd", "1"), { manifest: { backbone: "acme/base:1" } });
  });
  expect(stateOf("head")?.kind).toBe("ready");
  expect(stateOf("odd")).toEqual(failure("takes 64 numbers, and its backbone acme/base:1 gives 6"));
});
