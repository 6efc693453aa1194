/** F29: model files with a few bytes changed, published over the wire: each fails with a reason or serves, and no half one stays. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  ModelService,
  ModelVersionState,
  PublishModelVersionRequestSchema,
} from "../../gen/auspex/v1/model_pb.ts";
import { TensorProto_DataType as DataType } from "../../gen/onnx/onnx_pb.ts";
import { clientOf, until } from "../harness.ts";
import { graphFiles, layersFiles, placeholder, weight } from "../models/graph.ts";
import { info, node, onnxModel, tensor } from "../models/onnx.ts";
import { type Arena, faults, openArena, type Told } from "./arena.ts";
import { below, mutated, type Random } from "./mutations.ts";

const PUBLISHED = 60;
const NAME = "test/hostile";

let arena: Arena;
beforeAll(async () => {
  arena = await openArena(29);
});
afterAll(() => arena?.[Symbol.asyncDispose]());

type Files = Readonly<Record<string, Uint8Array<ArrayBuffer>>>;
const bytesOf = (files: Readonly<Record<string, string | Uint8Array>>): Files =>
  Object.fromEntries(
    Object.entries(files).map(([name, value]) => [name, Uint8Array.from(Buffer.from(value as Uint8Array))]),
  );

const MANIFEST = '{"task":"tensor","inputSchema":{"type":"object"}}';
const x = info("x", DataType.FLOAT, ["rows", 4]);
const GOOD: readonly [Files, ...Files[]] = [
  bytesOf({
    "auspex.json": MANIFEST,
    ...graphFiles([
      placeholder("x", [-1, 4]),
      weight("w", [1, 2, 3, 4], [4], "float32"),
      { name: "y", op: "AddV2", input: ["x", "w"] },
    ]),
  }),
  bytesOf({ "auspex.json": MANIFEST, ...layersFiles([4], [{ className: "ReLU", name: "r" }]) }),
  bytesOf({
    "auspex.json": MANIFEST,
    "model.onnx": onnxModel({
      input: [x],
      output: [info("y", DataType.FLOAT)],
      initializer: [tensor("w", Float32Array.of(1, 2, 3, 4), [4])],
      node: [node("Add", ["x", "w"], ["y"])],
    }),
  }),
];

/** One file changed, left out, doubled under another name, or named so as to lie elsewhere. */
function damaged(random: Random, files: Files): Files {
  const names = Object.keys(files);
  const name = names[below(random, names.length)] ?? "auspex.json";
  const { [name]: bytes = new Uint8Array(), ...others } = files;
  const chance = random();
  if (chance < 0.05) return others;
  if (chance < 0.1) return { ...files, [`../../${name}`]: bytes };
  if (chance < 0.15) return { ...others, [`${name}/x`]: bytes };
  return { ...others, [name]: mutated(random, bytes) };
}

const PUBLISH = "/auspex.v1.ModelService/PublishModelVersion";
const publish = (files: Files): Promise<Told> => {
  const request = create(PublishModelVersionRequestSchema, { model: NAME, files });
  return arena.grpc(PUBLISH, toBinary(PublishModelVersionRequestSchema, request));
};

test("F29 models with a few bytes changed, published over gRPC", async () => {
  function* inputs(): Generator<() => Promise<Told>> {
    for (const files of GOOD) yield () => publish(files);
    for (let i = 0; i < PUBLISHED; i++) {
      const files = damaged(arena.random, GOOD[i % GOOD.length] ?? GOOD[0]);
      yield () => publish(files);
    }
  }
  const told = await arena.throwAll(inputs());
  expect(faults(told)).toEqual([]);
  const client = clientOf(arena.server, "grpc", ModelService);
  // A publication that was waited for no longer goes on.
  const versions = await until(async () => {
    const { versions: all } = await client.listModelVersions({ model: NAME });
    return all.every(({ state }) => state !== ModelVersionState.LOADING) && all;
  });
  expect(versions.some(({ state }) => state === ModelVersionState.READY)).toBe(true);
  for (const { version, state, failure } of versions) {
    if (state === ModelVersionState.READY) continue;
    expect([version, state]).toEqual([version, ModelVersionState.FAILED]);
    expect(failure).not.toMatch(/^$|\/tmp|TypeError|Cannot read prop|is not a function|undefined/);
  }
});

test("F29 no file lies outside a version, and no version without its files", async () => {
  const folder = join(arena.modelsDir, NAME);
  for (const version of await readdir(folder)) {
    expect(version).toMatch(/^[1-9][0-9]*$/);
    expect(await readdir(join(folder, version))).toContain("auspex.json");
  }
  expect(
    (await readdir(arena.modelsDir, { recursive: true })).filter((file) => /\.\.|\/x$/.test(file)),
  ).toEqual([]);
});

// The worker in which versions are tried is a new one after each that failed.
test("F29 the server stands as before", () => arena.settle("models", { renewsWorkers: true }));
