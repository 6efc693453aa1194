/** Tokenizers that are damaged, lying or hostile, published to a running engine that goes on answering. */
import { mkdir, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { JsonObject } from "../../src/domain/payload.ts";
import { TOKENIZER_BYTES_MAX } from "../../src/engine/worker/tokenizer.ts";
import { TOKENIZER, textFiles, writeText } from "../models/text.ts";
import { type EngineFixture, mlpJob, startEngine } from "./harness.ts";

const NEVER = new AbortController().signal;

let fixture: EngineFixture;
beforeAll(async () => {
  const limits = { loadTimeoutMs: 5000, batchTimeoutMs: 1500, workerMemoryBytes: 700 * 1024 ** 2 };
  fixture = await startEngine({ workers: 1, runtime: undefined, ...limits }, async (modelsDir) => {
    await writeText(join(modelsDir, "acme", "good", "1"), {});
    const large = join(modelsDir, "acme", "large", "1");
    await mkdir(large, { recursive: true });
    await writeFile(join(large, "tokenizer.json"), "");
    await truncate(join(large, "tokenizer.json"), TOKENIZER_BYTES_MAX + 1);
    const { "tokenizer.json": _, ...others } = textFiles();
    for (const [name, bytes] of Object.entries(others)) await writeFile(join(large, name), bytes);
  });
});
afterAll(() => fixture?.stop());

async function publish(files: Readonly<Record<string, Uint8Array>>): Promise<string> {
  const { state } = await fixture.engine.models.publish({
    owner: "acme",
    name: "hostile",
    files,
    signal: NEVER,
  });
  return state.kind === "failed" ? state.reason : state.kind;
}

function embed(
  name: string,
  text: string,
  version = 1,
): Promise<{ readonly output: { readonly json: JsonObject } }> {
  return fixture.engine.run(mlpJob(0, { name, version, input: { json: { text }, tensors: {}, files: {} } }));
}

async function expectGood(): Promise<void> {
  expect((await embed("good", "red")).output.json.embeddings).toEqual([
    [expect.closeTo(10 / 3, 5), expect.closeTo(4 / 3, 5)],
  ]);
}

const withModel = (changes: object) => ({ ...TOKENIZER, model: { ...TOKENIZER.model, ...changes } });
const withRule = (rule: object) => ({ ...TOKENIZER, normalizer: { type: "Replace", content: "", ...rule } });
const nested = (depth: number): string =>
  `{"type":"Sequence","normalizers":[`.repeat(depth) + `]}`.repeat(depth);
const around = TOKENIZER.post_processor.single;

test.each<readonly [string, unknown, RegExp]>([
  ["is cut off", JSON.stringify(TOKENIZER).slice(0, -10), /tokenizer\.json is not JSON: /],
  ["is empty", "", /tokenizer\.json is not JSON: /],
  ["is no object", "null", /tokenizer\.json is not a JSON object/],
  ["is a list", "[]", /tokenizer\.json cannot be used: /],
  ["has no model", { ...TOKENIZER, model: undefined }, /cannot be used: .*model/],
  ["has no vocabulary", withModel({ vocab: null }), /cannot be used: /],
  ["has a rule of an unknown kind", { ...TOKENIZER, normalizer: { type: "Warp" } }, /cannot be used: .*Warp/],
  ["has a pattern that is none", withRule({ pattern: { Regex: "(" } }), /cannot be used: .*egular/],
  [
    "has rules too deep inside one another",
    JSON.stringify({ ...TOKENIZER, normalizer: 7 }).replace("7", nested(20_000)),
    /cannot be used: .*stack/,
  ],
  ["has no number for unknown words", withModel({ unk_token: "[NONE]" }), /no number for one of its tokens/],
  [
    "has a number that is none",
    withModel({ vocab: { ...TOKENIZER.model.vocab, "[UNK]": "one" } }),
    /no number for/,
  ],
  ["has a number below 0", withModel({ vocab: { ...TOKENIZER.model.vocab, "[UNK]": -1 } }), /no number for/],
  [
    "has a number beyond the model's",
    withModel({ vocab: { ...TOKENIZER.model.vocab, "[UNK]": 7 } }),
    /out of data bounds/,
  ],
  [
    "takes all words away",
    withRule({ pattern: { Regex: "." } }),
    /cannot be used: it finds no tokens in "text"/,
  ],
  [
    "leaves no room for a text",
    {
      ...TOKENIZER,
      post_processor: {
        ...TOKENIZER.post_processor,
        single: Array(8)
          .fill(around)
          .flat()
          .filter((part) => !("Sequence" in part))
          .concat(around[1]),
      },
    },
    /cannot be used: it puts 16 tokens around a text, where 16 are allowed in all/,
  ],
  [
    "makes a text grow without end",
    {
      ...TOKENIZER,
      normalizer: {
        type: "Sequence",
        normalizers: Array(40).fill({ type: "Replace", pattern: { String: "" }, content: "xx" }),
      },
    },
    /Invalid string length|outgrew its memory|silent for 5000 ms/,
  ],
  [
    "never comes to an end",
    withRule({ pattern: { Regex: "(\\w+\\s?)+!" } }),
    /silent for 5000 ms|longer than/,
  ],
])("a tokenizer that %s fails the version alone", async (_, tokenizer, reason) => {
  expect(await publish(textFiles({ tokenizer }))).toMatch(reason);
  await expectGood();
});

test("a tokenizer that is missing or too large fails the version", async () => {
  const { "tokenizer.json": _, ...files } = textFiles();
  expect(await publish(files)).toMatch(/the tokenizer tokenizer\.json is missing/);
  expect(fixture.engine.models.get("acme", "large", 1)?.state).toMatchObject({
    reason: expect.stringContaining(
      `has ${TOKENIZER_BYTES_MAX + 1} bytes; at most ${TOKENIZER_BYTES_MAX} are allowed`,
    ),
  });
});

test("a tokenizer that stalls on one text fails that prediction, and others are answered", async () => {
  const files = textFiles({ tokenizer: withRule({ pattern: { Regex: "(x+x+)+y" } }) });
  const { version, state } = await fixture.engine.models.publish({
    owner: "acme",
    name: "stalling",
    files,
    signal: NEVER,
  });
  expect(state.kind).toBe("ready");
  const stalled = embed("stalling", "x".repeat(60), version);
  const others = Array.from({ length: 5 }, () => expectGood());
  await expect(stalled).rejects.toThrow("the worker died twice while running this prediction");
  await Promise.all(others);
  expect((await embed("stalling", "red", version)).output.json.embeddings).toHaveLength(1);
});
