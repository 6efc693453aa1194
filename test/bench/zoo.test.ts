/** The zoo's own parts: what it rebuilds, reads, and measures. Its models are compared by `node bench/zoo/main.ts`. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { check, composition } from "../../bench/zoo/check.ts";
import { difference } from "../../bench/zoo/difference.ts";
import { prepareZoo } from "../../bench/zoo/folders.ts";
import type { ZooModel } from "../../bench/zoo/models.ts";
import { readShard, readTopology } from "../../bench/zoo/modules.ts";
import { efficientNetB0 } from "../../bench/zoo/rebuilt/efficientnet-b0.ts";
import { mobileNetV3Small } from "../../bench/zoo/rebuilt/mobilenet-v3-small.ts";
import { sentenceTensors, tokenize, type Vocabulary } from "../../bench/zoo/sentences.ts";
import type { HostTensors, LoadedModel } from "../../src/engine/worker/runtime.ts";
import { createRuntimes, type Runtimes } from "../../src/engine/worker/runtimes.ts";
import { integrity, tarball } from "../catalog/tarball.ts";

let cacheDir: string;

beforeAll(async () => {
  cacheDir = await mkdtemp(join(tmpdir(), "auspex-zoo-"));
});

afterAll(() => rm(cacheDir, { recursive: true }));

async function prepared(model: ZooModel): Promise<string> {
  const [found] = await prepareZoo([model], {
    cacheDir,
    pull: {
      npm: { cli: undefined, cacheDir: undefined },
      onProgress: () => {},
      signal: AbortSignal.timeout(30_000),
    },
  });
  if (found?.kind !== "ready") throw new Error(found?.reason);
  return found.folder;
}

/** Small pictures: the same operators, in a fraction of the time. */
const SIZE = 64;

function rebuilt(name: string, build: (size: number) => ReturnType<typeof efficientNetB0>): ZooModel {
  return {
    name,
    feed: { kind: "pictures", width: SIZE, height: SIZE, range: [0, 255] },
    origin: { kind: "rebuilt", note: "", build, size: SIZE },
  };
}

const REBUILT = [rebuilt("efficientnet-b0", efficientNetB0), rebuilt("mobilenet-v3-small", mobileNetV3Small)];

/** `other` is TF.js too, with its outputs changed. */
function withOther(change: (outputs: HostTensors) => HostTensors): Runtimes {
  const runtimes = createRuntimes();
  return {
    async load(folder, manifest, pinned) {
      const choice = await runtimes.load(folder, manifest, "tfjs-wasm");
      if (pinned !== "other") return choice;
      const { model } = choice;
      const changed: LoadedModel = { ...model, run: async (inputs) => change(await model.run(inputs)) };
      return { ...choice, model: changed };
    },
  };
}

describe.each(REBUILT)("$name, rebuilt", (model) => {
  test("runs on TF.js for one row and for three, and its classes depend on the picture", async () => {
    const seen: HostTensors[] = [];
    const runtimes = withOther((outputs) => {
      seen.push(outputs);
      return outputs;
    });
    const result = await check(runtimes, "other", await prepared(model), model.feed);
    expect(result).toMatchObject({ kind: "compared", rows: [1, 3], difference: { relative: 0 } });
    const [one, three] = seen.map((outputs) => Object.values(outputs));
    expect(one?.map(({ shape }) => shape)).toEqual([
      [1, 1000],
      [1, 1000],
    ]);
    expect(three?.map(({ shape }) => shape)).toEqual([
      [3, 1000],
      [3, 1000],
    ]);
    const logits = three?.[1]?.data ?? new Float32Array();
    const apart = logits.slice(0, 1000).map((value, i) => Math.abs(value - (logits[i + 1000] ?? value)));
    expect(Math.max(...apart)).toBeGreaterThan(0.05);
    // Neither died out nor blew up on the way.
    expect(Math.max(...logits.map(Math.abs))).toBeGreaterThan(0.5);
    expect(Math.max(...logits.map(Math.abs))).toBeLessThan(100);
  });

  test("is the same graph each time, of the operators that converters write", async () => {
    const folder = await prepared(model);
    if (model.origin.kind !== "rebuilt") throw new Error("is not rebuilt");
    const { shards, model: json } = model.origin.build(SIZE);
    expect(JSON.parse(await readFile(join(folder, "model.json"), "utf8"))).toEqual(json);
    for (const [name, bytes] of shards) expect((await readFile(join(folder, name))).equals(bytes)).toBe(true);
    const { format, kinds } = await composition(folder);
    expect(format).toBe("graph");
    expect(kinds).toEqual(
      expect.arrayContaining(["_FusedConv2D", "FusedDepthwiseConv2dNative", "Mean", "Pad"]),
    );
  });
});

test("an output that is off by a hundredth is found, and so is one that is missing", async () => {
  const [model] = REBUILT;
  if (!model) throw new Error("there is no model");
  const folder = await prepared(model);
  const scaled = withOther((outputs) =>
    Object.fromEntries(
      Object.entries(outputs).map(([name, tensor]) => [
        name,
        { ...tensor, data: tensor.data.map((x) => x * 1.01) },
      ]),
    ),
  );
  const off = await check(scaled, "other", folder, model.feed);
  expect(off.kind === "compared" && off.difference.relative).toBeCloseTo(0.01 / 1.01, 4);
  const missing = await check(
    withOther(() => ({})),
    "other",
    folder,
    model.feed,
  );
  expect(missing.kind === "compared" && missing.difference.relative).toBe(Number.POSITIVE_INFINITY);
});

describe("difference", () => {
  const floats = (...values: number[]): HostTensors => ({
    y: { dtype: "float32", shape: [values.length], data: Float32Array.from(values) },
  });
  const ints = (...values: number[]): HostTensors => ({
    y: { dtype: "int32", shape: [values.length], data: Int32Array.from(values) },
  });

  test("is relative to the element, down to a hundredth of the largest", () => {
    expect(difference(floats(100, 50), floats(100, 49)).relative).toBeCloseTo(0.02);
    expect(difference(floats(100, 0), floats(100, 0.001)).relative).toBeCloseTo(0.001);
    expect(difference(floats(100, 0), floats(100, 0.001)).ofLargest).toBeCloseTo(0.00001, 8);
    expect(difference(floats(0, 0), floats(0, 0)).relative).toBe(0);
  });

  test("is the part of the elements where they are whole numbers", () => {
    expect(difference(ints(1, 2, 3, 4), ints(1, 2, 9, 4)).relative).toBe(0.25);
  });

  test("is infinite where types, shapes or finiteness differ", () => {
    const infinite = Number.POSITIVE_INFINITY;
    expect(difference(floats(1), ints(1)).relative).toBe(infinite);
    expect(difference(floats(1), floats(1, 2)).relative).toBe(infinite);
    expect(difference(floats(1, 1), floats(1, Number.NaN)).relative).toBe(infinite);
    expect(difference({}, {}).relative).toBe(infinite);
  });
});

describe("models as JavaScript modules", () => {
  const wrapped = (text: string): string =>
    `!function(e){}(function(){return f()({1:[function(e,a,n){${text}},{}]},{},[1])(1)});`;
  const topology = { modelTopology: { a: [0.5, -0.25, 10.5, 1e-7], name: "x:.5,!0" }, weightsManifest: [] };
  const literal = `{modelTopology:{a:[.5,-.25,10.5,1e-7],name:"x:.5,!0"},weightsManifest:[]}`;

  test("are read without being run", () => {
    expect(readTopology(wrapped(`a.exports=${literal}`))).toEqual(topology);
    expect(readTopology(wrapped(`a.exports={modelTopology:{b:!0,c:!1,d:null}}`))).toEqual({
      modelTopology: { b: true, c: false, d: null },
    });
    expect(readShard(wrapped(`n.exports="AAECAw=="`))).toEqual(Buffer.of(0, 1, 2, 3));
    expect(() => readTopology(wrapped(`a.exports={modelTopology:run()}`))).toThrow();
    expect(() => readShard(wrapped("a.exports=1"))).toThrow("no base64 text");
  });

  test("become a model folder", async () => {
    const bytes = tarball([
      { path: "package/m/model.min.js", data: wrapped(`a.exports=${literal}`) },
      { path: "package/m/group1-shard1of1.min.js", data: wrapped(`n.exports="AAECAw=="`) },
    ]);
    const archive = join(cacheDir, "modules.tgz");
    await writeFile(archive, bytes);
    const folder = await prepared({
      name: "modules",
      feed: { kind: "sentences" },
      origin: {
        kind: "published",
        layout: { kind: "modules" },
        watched: [],
        entry: {
          model: "zoo/modules",
          version: 1,
          isDefault: false,
          archive: {
            from: { kind: "file", url: pathToFileURL(archive) },
            integrity: integrity(bytes),
            bytes: bytes.length,
          },
          folder: "package/m",
          files: ["model.min.js", "group1-shard1of1.min.js"].map((file) => ({ from: file, to: file })),
          labels: null,
          manifest: { task: "tensor" },
        },
      },
    });
    expect(JSON.parse(await readFile(join(folder, "model.json"), "utf8"))).toEqual(topology);
    expect(await readFile(join(folder, "group1-shard1of1"))).toEqual(Buffer.of(0, 1, 2, 3));
  });
});

describe("sentences", () => {
  const reserved = Array.from({ length: 6 }, (_, i) => [`<${i}>`, 0] as const);
  const vocabulary: Vocabulary = [
    ...reserved,
    ["\u2581a", -1],
    ["b", -2],
    ["\u2581ab", -2.5],
    ["c", -4],
    ["bc", -5],
  ];

  test("are split where the sum of the scores is greatest", () => {
    expect(tokenize("ab", vocabulary)).toEqual([8]);
    expect(tokenize(" abc  a ", vocabulary)).toEqual([6, 10, 6]);
    expect(tokenize("a!b", vocabulary)).toEqual([6, 0, 7]);
  });

  test("give each id its sentence and place", () => {
    const { indices, values } = sentenceTensors(["ab", "ab a"], vocabulary);
    expect([...values.data]).toEqual([8, 8, 6]);
    expect(indices).toMatchObject({ shape: [3, 2], data: Int32Array.of(0, 0, 1, 0, 1, 1) });
  });
});
