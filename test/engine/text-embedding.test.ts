/** Text embeddings over the engine: tiny models whose vectors are worked out by hand, and the real one. */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { cacheFolder } from "../../catalog/command.ts";
import { AuspexError } from "../../src/domain/error.ts";
import type { Job, JobResult } from "../../src/engine/engine.ts";
import { TEXT_CHARACTERS_MAX, TEXTS_MAX } from "../../src/engine/task-schemas.ts";
import { textParts, textsInput } from "../../src/engine/text-parts.ts";
import { plusOne } from "../models/onnx.ts";
import {
  fixed,
  noVectors,
  otherInput,
  scaledByAll,
  textFiles,
  VECTORS,
  WORDS,
  withPlaces,
  writeText,
} from "../models/text.ts";
import { type EngineFixture, mlpJob, startEngine, until, workerPids } from "./harness.ts";

const CATALOGUE = cacheFolder(join(import.meta.dirname, "..", "..", "catalog"));

let fixture: EngineFixture;
beforeAll(async () => {
  const options = { workers: 1, runtime: undefined, catalogueDirs: [CATALOGUE] };
  fixture = await startEngine(options, async (modelsDir) => {
    const folder = (name: string) => join(modelsDir, "acme", name, "1");
    await writeText(folder("lookup"), {});
    await writeText(folder("first"), { text: { pooling: "first" } });
    await writeText(folder("unit"), { text: { normalize: true } });
    await writeText(folder("short"), { text: { maxTokens: 5 } });
    await writeText(folder("scaled"), { graph: scaledByAll });
    await writeText(folder("places"), { graph: withPlaces(16) });
    await writeText(folder("too-few-places"), { graph: withPlaces(15) });
  });
});
afterAll(() => fixture?.stop());

function job(name: string, json: Job["input"]["json"], more: Partial<Job> = {}): Job {
  const owner = name === "minilm" ? "auspex" : "acme";
  return mlpJob(0, { owner, name, input: { json, tensors: {}, files: {} }, ...more });
}

function vectors({ output }: JobResult): number[][] {
  return output.json.embeddings as number[][];
}

async function embed(name: string, ...texts: string[]): Promise<number[][]> {
  return vectors(await fixture.engine.run(job(name, { texts })));
}

async function complaints(json: Job["input"]["json"]): Promise<string[]> {
  const error = await fixture.engine.run(job("lookup", json)).catch((thrown: unknown) => thrown);
  if (!(error instanceof AuspexError)) throw new Error("it was taken");
  expect(error.code).toBe("invalid_argument");
  return error.violations.map((v) => `${v.field} ${v.description}`);
}

/** The mean of the words' vectors, [CLS] and [SEP] around them. */
function byHand(text: string): number[] {
  const words = ["[CLS]", ...text.split(/\s+/).filter((word) => word !== ""), "[SEP]"];
  const ids = words.map((word) => Math.max(WORDS.indexOf(word as never), 1));
  return [0, 1].map((i) => ids.reduce((sum, id) => sum + (VECTORS[id]?.[i] ?? 0), 0) / ids.length);
}

const state = (name: string) => fixture.engine.models.get("acme", name, 1)?.state;

describe("pooling", () => {
  test("is the mean of a text's tokens, with padding left out", async () => {
    const texts = ["red", "red green blue blue", "   ", "purple red", "green\nblue"];
    const expected = texts.map((text) => byHand(text).map((value) => expect.closeTo(value, 5)));
    expect(await embed("lookup", ...texts)).toEqual(expected);
    expect(byHand("red")).toEqual([10 / 3, 4 / 3]);
  });

  test("may be the first token, and vectors may be scaled to length 1", async () => {
    expect(await embed("first", "red", "green blue")).toEqual([
      [3, 1],
      [3, 1],
    ]);
    const [unit = []] = await embed("unit", "red");
    const length = Math.hypot(10 / 3, 4 / 3);
    expect(unit).toEqual([expect.closeTo(10 / 3 / length, 6), expect.closeTo(4 / 3 / length, 6)]);
  });

  test("sees of a long text as many tokens as the model takes", async () => {
    const [three, four, other] = await embed(
      "short",
      "red green blue",
      "red green blue red",
      "green green blue",
    );
    expect(four).toEqual(three);
    expect(three).toEqual(byHand("red green blue").map((value) => expect.closeTo(value, 5)));
    expect(other).not.toEqual(three);
  });
});

test("text is one of texts, and the output may be typed", async () => {
  const one = await fixture.engine.run(job("lookup", { text: "red green" }));
  expect(one.output).toEqual({ json: { embeddings: [expect.any(Array)] }, tensors: {} });
  expect(one.executionTime).toBeGreaterThan(0);
  const texts = ["red green", "blue"];
  const typed = await fixture.engine.run(job("lookup", { texts }, { typedOutput: true }));
  const { dtype, shape, data } = typed.output.tensors.embeddings ?? {};
  expect({ json: typed.output.json, dtype, shape }).toEqual({ json: {}, dtype: "float32", shape: [2, 2] });
  const numbers = [...new Float32Array(new Uint8Array(data ?? []).buffer)];
  expect(numbers).toEqual((await embed("lookup", ...texts)).flat());
  expect(numbers.slice(0, 2)).toEqual(vectors(one)[0]);
});

describe("batches", () => {
  test("texts of several callers go together, and each gets its own", async () => {
    const { batches } = fixture.engine.stats();
    const texts = Array.from({ length: 60 }, (_, i) => `${"red ".repeat(i % 7)}green`);
    const answers = await Promise.all(texts.map((text) => fixture.engine.run(job("lookup", { text }))));
    for (const [i, text] of texts.entries())
      expect(vectors(answers[i] as JobResult)).toEqual([byHand(text).map((v) => expect.closeTo(v, 5))]);
    expect(fixture.engine.stats().batches - batches).toBeLessThan(10);
  });

  test("a text that fails takes only its own prediction with it", async () => {
    const runs = [{ texts: ["red", "blue"] }, { texts: ["red", "broken"] }, { text: "green" }];
    const settled = await Promise.allSettled(runs.map((json) => fixture.engine.run(job("lookup", json))));
    expect(settled.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    const { reason } = settled[1] as PromiseRejectedResult;
    expect(reason).toMatchObject({
      code: "failed_precondition",
      message: expect.stringMatching(/^the model failed on this input: .*out of data bounds/s),
    });
  });

  test("a model in which texts touch one another runs them one by one, and says so", async () => {
    expect(state("lookup")).toMatchObject({ kind: "ready", notes: [] });
    const notes = ["each text runs alone: its vector depends on the texts beside it"];
    expect(state("scaled")).toMatchObject({ kind: "ready", notes });
    const texts = ["red", "blue blue blue", "green red"];
    const alone = await Promise.all(texts.map((text) => embed("scaled", text)));
    expect(await embed("scaled", ...texts)).toEqual(alone.flat());
  });

  test("are of parts that weigh as much as the model's maximum", () => {
    // 256 characters weigh 1, and a text no more than the tokens that are read of it.
    const input = textsInput(["a".repeat(256), "b".repeat(257), "c", "d".repeat(30_000), "e"], 256);
    expect(input.weights).toEqual([1, 2, 1, 4, 1]);
    const split = (maximum: number) => textParts(input, maximum).map(({ weights }) => weights);
    expect(split(32)).toEqual([[1, 2, 1, 4, 1]]);
    expect(split(4)).toEqual([[1, 2, 1], [4], [1]]);
    expect(split(1)).toEqual([[1], [2], [1], [4], [1]]);
    expect(textParts(input, 4).flatMap(({ texts }) => texts)).toEqual(input.texts);
  });

  test("a job of as many texts as may be is answered in order", async () => {
    const texts = Array.from(
      { length: TEXTS_MAX },
      (_, i) => `${"blue ".repeat(i % 5)}${"red ".repeat(i % 3)}`,
    );
    const long = texts.map((text, i) => (i % 50 === 1 ? text.repeat(300) : text || "green"));
    const alone = await Promise.all(long.slice(0, 20).map((text) => embed("lookup", text)));
    const all = await embed("lookup", ...long);
    expect(all).toHaveLength(TEXTS_MAX);
    expect(all.slice(0, 20)).toEqual(alone.flat().map((v) => v.map((x) => expect.closeTo(x, 5))));
  });
});

describe("input", () => {
  test("is one text or a list of them", async () => {
    expect(await complaints({})).toEqual(["input.text is required"]);
    expect(await complaints({ text: "red", texts: ["red"] })).toEqual([
      "input.texts cannot be given together with input.text",
    ]);
    expect(await complaints({ text: 7 })).toEqual(["input.text must be a text"]);
    expect(await complaints({ texts: "red" })).toEqual(["input.texts must be a list"]);
    expect(await complaints({ texts: ["red", 7, null, ""] })).toEqual([
      "input.texts[1] must be a text",
      "input.texts[2] is required",
      "input.texts[3] is required",
    ]);
  });

  test("has 1 to 256 texts", async () => {
    const wrong = (count: number) => [`input.texts must have 1 to 256 texts, not ${count}`];
    expect(await complaints({ texts: [] })).toEqual(wrong(0));
    expect(await complaints({ texts: Array(TEXTS_MAX + 1).fill("red") })).toEqual(wrong(257));
    expect(await complaints({ texts: Array(TEXTS_MAX).fill(7) })).toHaveLength(10);
  });

  test("has texts of 1 to 32,768 characters, of which none has to be a word", async () => {
    expect(await complaints({ text: "" })).toEqual(["input.text is required"]);
    expect(await complaints({ text: "x".repeat(TEXT_CHARACTERS_MAX + 1) })).toEqual([
      "input.text has 32769 characters; at most 32768 are allowed",
    ]);
    const longest = [
      "x".repeat(TEXT_CHARACTERS_MAX),
      "😀".repeat(TEXT_CHARACTERS_MAX),
      " ",
      "\n\t\u0000\ufffd",
    ];
    for (const text of longest)
      expect(await embed("lookup", text)).toEqual([[expect.any(Number), expect.any(Number)]]);
    expect(await embed("minilm", ...longest)).toHaveLength(4);
  });
});

describe("loading", () => {
  test("tries a text of as many tokens as may be", () => {
    expect(state("places")).toMatchObject({ kind: "ready" });
    expect(state("too-few-places")).toMatchObject({
      kind: "failed",
      reason: expect.stringMatching(/a text of 16 tokens \(text\.maxTokens\) failed: .*15 by 16/s),
    });
  });

  test.each([
    ["no tokens", plusOne, "a model of texts has an input input_ids, and this one has x"],
    ["no vectors", noVectors, "the model gives no vector for each token, but last_hidden_state [1, 4]"],
    ["another input", otherInput, "the input pixels is not one of input_ids, attention_mask, token_type_ids"],
    ["fixed texts", fixed, "the input input_ids must be of whole numbers [any, any], not int32 [any, 128]"],
  ])("refuses a graph with %s", async (_, graph, reason) => {
    const { signal } = new AbortController();
    const files = textFiles({ graph });
    const { state } = await fixture.engine.models.publish({ owner: "acme", name: "graph", files, signal });
    expect(state).toEqual({ kind: "failed", reason: `onnxruntime: ${reason}` });
  });

  test("on another runtime says which one it takes", async () => {
    const other = await startEngine({ workers: 1, runtime: "tfjs-wasm" }, (modelsDir) =>
      writeText(join(modelsDir, "acme", "lookup", "1"), {}),
    );
    expect(other.engine.models.get("acme", "lookup", 1)?.state).toEqual({
      kind: "failed",
      reason: "the task text-embedding runs on onnxruntime, and the runtime is set to tfjs-wasm",
    });
    await other.stop();
  });
});

test("a worker that dies is replaced, and the texts run again", async () => {
  let deaths = 0;
  const texts = Array.from(
    { length: TEXTS_MAX },
    (_, i) => `${"rain in the hills, sun at the coast ".repeat(30)}${i}`,
  );
  const onWorkerDeath = async () => void deaths++;
  const running = fixture.engine.run(job("minilm", { texts }, { typedOutput: true, onWorkerDeath }));
  const { batches } = fixture.engine.stats();
  await until(() => fixture.engine.stats().batches > batches);
  for (const pid of await workerPids()) process.kill(pid, "SIGKILL");
  expect((await running).output.tensors.embeddings?.shape).toEqual([TEXTS_MAX, 384]);
  expect(deaths).toBe(1);
});

describe("a job of many parts", () => {
  const page = "rain in the hills, sun at the coast ".repeat(30);
  const texts = Array.from({ length: TEXTS_MAX }, (_, i) => `${i} ${page}`);

  test("lets a question in between", async () => {
    let isDone = false;
    const many = fixture.engine.run(job("minilm", { texts }, { typedOutput: true })).then(() => {
      isDone = true;
    });
    const { batches } = fixture.engine.stats();
    await until(() => fixture.engine.stats().batches > batches);
    await embed("minilm", "Will it rain?");
    expect(isDone).toBe(false);
    await many;
    // Of 32 parts, each a batch, it had to wait for those that were under way.
    expect(fixture.engine.stats().batches - batches).toBe(33);
  });

  test("leaves the queue when it is canceled", async () => {
    const stop = new AbortController();
    const { batches } = fixture.engine.stats();
    const running = fixture.engine.run(job("minilm", { texts }, { signal: stop.signal }));
    await until(() => fixture.engine.stats().batches > batches);
    stop.abort();
    await expect(running).rejects.toMatchObject({ code: "canceled" });
    expect(fixture.engine.stats().queued).toBe(0);
    await embed("minilm", "the worker is free again");
    expect(fixture.engine.stats().batches - batches).toBeLessThan(5);
  });

  test("ends with the first part that fails", async () => {
    const broken = Array.from({ length: TEXTS_MAX }, (_, i) => (i === 8 ? "broken" : page));
    const { batches } = fixture.engine.stats();
    await expect(fixture.engine.run(job("lookup", { texts: broken }))).rejects.toMatchObject({
      code: "failed_precondition",
    });
    expect(fixture.engine.stats().queued).toBe(0);
    expect(fixture.engine.stats().batches - batches).toBeLessThan(8);
  });
});

// Pulled by `npm ci`, unless it was told not to.
describe.skipIf(process.env.AUSPEX_SKIP_MODELS === "1")("auspex/minilm", () => {
  const cosine = (a: readonly number[] = [], b: readonly number[] = []): number =>
    a.reduce((sum, x, i) => sum + x * (b[i] ?? 0), 0);

  test("has the similarities that are published for the model", async () => {
    const sentences = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."];
    const [weather, sunny, stadium] = await embed("minilm", ...sentences);
    expect(weather).toHaveLength(384);
    expect(cosine(weather, weather)).toBeCloseTo(1, 5);
    // Of the weights before they were quantized: within 0.03.
    expect(Math.abs(cosine(weather, sunny) - 0.666)).toBeLessThan(0.03);
    expect(Math.abs(cosine(weather, stadium) - 0.1046)).toBeLessThan(0.03);
    expect(Math.abs(cosine(sunny, stadium) - 0.1411)).toBeLessThan(0.03);
  });

  test.each([
    ["How do I reset my password?", "I forgot my login and need a new one", "The soup needs more salt"],
    ["A man is eating food.", "A man is eating a piece of bread.", "A cheetah is running behind its prey."],
    ["invoice", "bill", "volcano"],
  ])("finds %j nearer to %j than to %j", async (text, like, unlike) => {
    const [a, b, c] = await embed("minilm", text, like, unlike);
    expect(cosine(a, b)).toBeGreaterThan(cosine(a, c) + 0.2);
  });

  test("gives a text the same vector alone as among others, of any length", async () => {
    const texts = Array.from(
      { length: 40 },
      (_, i) => `Line ${i} of the report: ${"more words follow here. ".repeat(i % 9)}`,
    );
    const alone = await Promise.all(texts.map((text) => embed("minilm", text)));
    const together = await embed("minilm", ...texts);
    const apart = together.flatMap((vector, i) =>
      vector.map((x, k) => Math.abs(x - (alone[i]?.[0]?.[k] ?? 2))),
    );
    expect(Math.max(...apart)).toBeLessThan(1e-5);
  });
});
