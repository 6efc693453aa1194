/** Folders with a `model.onnx`, served as they are over the engine. */
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { TensorProto_DataType as DataType } from "../../gen/onnx/onnx_pb.ts";
import type { Job } from "../../src/engine/engine.ts";
import {
  type GraphInit,
  info,
  int64s,
  node,
  onnxModel,
  plusOne,
  tensor,
  withExternalData,
  writeOnnx,
} from "../models/onnx.ts";
import { type EngineFixture, floats, mlpJob, startEngine, until, workerPids } from "./harness.ts";

const PICTURE = { width: 5, height: 4 };
const LABELS = ["red", "green", "blue"];

/** Reads one pixel, at (3, 1), of pictures that come plane by plane, or pixel by pixel. */
const pixelReader = (input: NonNullable<GraphInit["input"]>, axis: bigint): GraphInit => ({
  input,
  output: [info("y", DataType.FLOAT, ["n", 3])],
  initializer: [int64s("row", [1], true), int64s("column", [3], true)],
  node: [
    node("Gather", ["x", "row"], ["line"], { axis }),
    node("Gather", ["line", "column"], ["y"], { axis }),
  ],
});

/** Twice the ids, and 2^40 where an id is 7. */
const ids: GraphInit = {
  input: [info("ids", DataType.INT64, ["n", "length"])],
  output: [info("twice", DataType.INT64, ["n", "length"])],
  initializer: [int64s("seven", [7], true), int64s("large", [2n ** 40n], true)],
  node: [
    node("Add", ["ids", "ids"], ["sum"]),
    node("Equal", ["ids", "seven"], ["is_seven"]),
    node("Where", ["is_seven", "large", "sum"], ["twice"]),
  ],
};

const weighted: GraphInit = {
  ...plusOne,
  initializer: [tensor("one", Float32Array.of(1, 10, 100, 1000), [4])],
};

let fixture: EngineFixture;
beforeAll(async () => {
  fixture = await startEngine({ workers: 1, runtime: undefined }, async (modelsDir) => {
    const folder = (name: string) => join(modelsDir, "acme", name, "1");
    const picture = { task: "image-classification", labels: LABELS, picture: PICTURE };
    await writeOnnx(folder("plus-one"), onnxModel(plusOne));
    await writeOnnx(folder("ids"), onnxModel(ids));
    const planes = [info("x", DataType.FLOAT, ["n", 3, PICTURE.height, PICTURE.width])];
    await writeOnnx(folder("planes"), onnxModel(pixelReader(planes, 2n)), picture);
    const pixels = [info("x", DataType.FLOAT, ["n", "height", "width", 3])];
    await writeOnnx(folder("pixels"), onnxModel(pixelReader(pixels, 1n)), picture);
    const four = [info("x", DataType.FLOAT, ["n", 4, PICTURE.height, PICTURE.width])];
    await writeOnnx(folder("four"), onnxModel(pixelReader(four, 2n)), picture);
    const double = [info("x", DataType.DOUBLE, ["n", 4])];
    const relu = { output: [info("y", DataType.DOUBLE, ["n", 4])], node: [node("Relu", ["x"], ["y"])] };
    await writeOnnx(folder("double"), onnxModel({ input: double, ...relu }));
    const { model, data } = withExternalData(weighted, "weights.data", 8);
    await mkdir(folder("external"), { recursive: true });
    await writeFile(join(folder("external"), "weights.data"), data);
    await writeOnnx(folder("external"), model);
  });
});
afterAll(() => fixture?.stop());

const state = (name: string) => fixture.engine.models.get("acme", name, 1)?.state;
const four = { dtype: "float32", shape: [1, 4], data: bytesOf(Float32Array.of(1, 2, 3, 4)) } as const;

function bytesOf(values: Float32Array | Int32Array): Uint8Array {
  return new Uint8Array(values.buffer);
}

function job(name: string, tensors: Job["input"]["tensors"], more: Partial<Job["input"]> = {}): Job {
  return mlpJob(0, { name, input: { json: {}, files: {}, ...more, tensors } });
}

test("a tensor model answers, in rows of several callers too", async () => {
  expect(state("plus-one")).toMatchObject({ kind: "ready", runtime: "onnxruntime" });
  const runs = Array.from({ length: 20 }, (_, i) => {
    const x = { dtype: "float32", shape: [1, 4], data: bytesOf(Float32Array.of(i, 2, 3, 4)) } as const;
    return fixture.engine.run(job("plus-one", { x }));
  });
  const { batches } = fixture.engine.stats();
  const answers = (await Promise.all(runs)).map((result) => floats(result));
  expect(answers).toEqual(Array.from({ length: 20 }, (_, i) => [i + 1, 3, 4, 5]));
  expect(fixture.engine.stats().batches - batches).toBeLessThan(20);
});

test("int64 goes as int32, and what does not fit says so", async () => {
  const given = (...values: number[]) => ({
    ids: { dtype: "int32", shape: [1, values.length], data: bytesOf(Int32Array.from(values)) } as const,
  });
  const { output } = await fixture.engine.run(job("ids", given(-3, 0, 2 ** 30 - 1)));
  const { dtype, shape, data } = output.tensors.twice ?? {};
  expect({ dtype, shape }).toEqual({ dtype: "int32", shape: [1, 3] });
  expect([...new Int32Array(new Uint8Array(data ?? []).buffer)]).toEqual([-6, 0, 2 ** 31 - 2]);
  await expect(fixture.engine.run(job("ids", given(7)))).rejects.toThrow(
    `the output twice has ${2 ** 40}, beyond 32 bits`,
  );
});

test.each(["planes", "pixels"])(
  "a picture model whose input is %s sees each pixel where it is",
  async (name) => {
    const raw = Uint8Array.from({ length: PICTURE.width * PICTURE.height * 3 }, (_, i) => (i * 37) % 256);
    const image = await sharp(raw, { raw: { ...PICTURE, channels: 3 } })
      .png()
      .toBuffer();
    const at = (1 * PICTURE.width + 3) * 3;
    const expected = LABELS.map((label, c) => ({ label, probability: (raw[at + c] ?? 0) / 255 }));
    // Several, so that more than the first picture of a batch is looked at.
    const runs = Array.from({ length: 5 }, () => fixture.engine.run(job(name, {}, { files: { image } })));
    for (const { output } of await Promise.all(runs)) {
      const { probabilities } = output.json as { probabilities: { label: string; probability: number }[] };
      for (const { label, probability } of expected)
        expect(probabilities.find((p) => p.label === label)?.probability).toBeCloseTo(probability, 6);
    }
  },
);

test("what predictions cannot carry is refused with its reason", () => {
  expect(state("four")).toEqual({
    kind: "failed",
    reason:
      "onnxruntime: pictures of 5 × 4 pixels (auspex.json) do not fit the model's input x, float32 [any, 4, 4, 5]",
  });
  expect(state("double")).toEqual({
    kind: "failed",
    reason: "onnxruntime: the tensor x is of type float64, which predictions cannot carry",
  });
});

test("tensors in a file beside the model are read", async () => {
  expect(state("external")).toMatchObject({ kind: "ready", runtime: "onnxruntime" });
  expect(floats(await fixture.engine.run(job("external", { x: four })))).toEqual([2, 12, 103, 1004]);
});

test("the worker in which a model failed is replaced, and no other", async () => {
  const before = await workerPids();
  await writeOnnx(join(fixture.modelsDir, "acme", "broken", "1"), onnxModel(ids).subarray(0, 50));
  await until(() => state("broken")?.kind === "failed");
  await until(async () => {
    const now = await workerPids();
    const kept = now.filter((pid) => before.includes(pid));
    return now.length === before.length && kept.length === before.length - 1;
  });
  expect(floats(await fixture.engine.run(job("plus-one", { x: four })))).toEqual([2, 3, 4, 5]);
  expect(fixture.engine.stats().workerDeaths).toBe(0);
});

test("a version with a model.onnx is published with its checksums, and deleted", async () => {
  const { models } = fixture.engine;
  const files = {
    "auspex.json": new TextEncoder().encode(JSON.stringify({ task: "tensor" })),
    "model.onnx": onnxModel(weighted),
  };
  const signal = new AbortController().signal;
  const version = await models.publish({ owner: "acme", name: "plus-one", files, signal });
  expect(version).toMatchObject({ version: 2, state: { kind: "ready", runtime: "onnxruntime" } });
  expect(floats(await fixture.engine.run({ ...job("plus-one", { x: four }), version: 2 }))).toEqual([
    2, 12, 103, 1004,
  ]);
  const checksums = { "model.onnx": "0".repeat(64) };
  const lying = new TextEncoder().encode(JSON.stringify({ task: "tensor", files: checksums }));
  await expect(
    models.publish({ owner: "acme", name: "plus-one", files: { ...files, "auspex.json": lying }, signal }),
  ).rejects.toThrow(/checksum/);
  expect(await models.remove("acme", "plus-one", 2)).toBe(true);
  await until(() => models.latest("acme", "plus-one")?.version === 1);
});

test("ONNX Runtime tells nobody of what it runs, and leaves nothing in the home folder", async () => {
  const home = await mkdtemp(join(tmpdir(), "auspex-home-"));
  vi.stubEnv("HOME", home);
  vi.stubEnv("XDG_CACHE_HOME", undefined);
  vi.stubEnv("ORT_DISABLE_TELEMETRY", undefined);
  try {
    const before = await workerPids();
    const other = await startEngine({ workers: 1, runtime: "onnxruntime" });
    try {
      await other.engine.run(mlpJob(1));
      const pids = (await workerPids()).filter((pid) => !before.includes(pid));
      expect(pids).not.toEqual([]);
      expect(await readdir(home)).toEqual([]);
      for (const pid of pids) expect(existsSync(`/tmp/mat-debug-${pid}.log`)).toBe(false);
    } finally {
      await other.stop();
    }
  } finally {
    vi.unstubAllEnvs();
    await rm(home, { recursive: true });
  }
});
