/** F25: JSON that is deep, long, doubled, broken or named after what objects inherit, to Connect and every dialect. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Arena, faults, MODEL, openArena, type Told } from "./arena.ts";
import { below, mutated, oneOf, type Random } from "./mutations.ts";

const RANDOM_TEXTS = 1500;

let arena: Arena;
beforeAll(async () => {
  arena = await openArena(26);
});
afterAll(() => arena?.[Symbol.asyncDispose]());

/** Where JSON is read; each answers in its own form. */
const ROUTES = [
  "/auspex.v1.PredictionService/CreatePrediction",
  "/auspex.v1.PredictionService/ListPredictions",
  "/auspex.v1.DatasetService/CreateDataset",
  "/auspex.v1.TrainingService/StartTraining",
  "/auspex.v1.ModelService/SetModelAlias",
  "/v1/predictions",
  `/v1/models/${MODEL}/predictions`,
  `/v1/models/${MODEL}/versions/1/predictions`,
  "/v2/vision/predict",
  "/v2/vision/detect",
  "/api/v1/einstein_prediction",
] as const;

const send = (path: string, body: string | Uint8Array<ArrayBuffer>): Promise<Told> =>
  arena.http(path, body, { "content-type": "application/json" });

const wrapped = (input: string): string => `{"model":"${MODEL}","input":${input}}`;
const tensor = (fields: string): string => wrapped(`{"inputs":{"x":${fields}}}`);

const TEXTS: Readonly<Record<string, string | Uint8Array<ArrayBuffer>>> = {
  "a hundred thousand opening brackets": "[".repeat(100_000),
  "a hundred thousand levels": `${"[".repeat(100_000)}${"]".repeat(100_000)}`,
  "an input of a hundred thousand levels": wrapped(`{"a":${'{"a":'.repeat(100_000)}1${"}".repeat(100_001)}`),
  "an input of 33 levels": wrapped(`${'{"a":'.repeat(33)}1${"}".repeat(33)}`),
  "a million keys": wrapped(`{${Array.from({ length: 1_000_000 }, (_, i) => `"k${i}":1`).join(",")}}`),
  "one key a hundred thousand times": wrapped(`{${Array(100_000).fill('"k":1').join(",")}}`),
  "two models": `{"model":"a/b","model":"${MODEL}","input":{},"input":{}}`,
  "a prototype in place of an input": wrapped('{"__proto__":{"inputs":{"x":1},"polluted":1}}'),
  "a prototype around everything": `{"__proto__":{"model":"${MODEL}","polluted":1},"constructor":{"prototype":{"polluted":1}}}`,
  "a tensor named like a prototype": wrapped(
    '{"inputs":{"__proto__":{"dtype":"float32","shape":[1],"data":[1]}}}',
  ),
  "a number of 400 digits": tensor(`{"dtype":"float32","shape":[1,64],"data":[${"9".repeat(400)}]}`),
  "a number of a million digits": wrapped(`{"a":${"1".repeat(1_000_000)}}`),
  "lone surrogates": wrapped('{"a":"\\ud800","\\udfff":"\\udc00\\ud800"}'),
  "bytes that are no UTF-8": Buffer.concat([
    Buffer.from('{"model":"'),
    Buffer.from([0xc3, 0x28, 0xff, 0xed, 0xa0, 0x80]),
    Buffer.from('"}'),
  ]),
  "a byte order mark": Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), Buffer.from(wrapped("{}"))]),
  "UTF-16": Buffer.from(wrapped("{}"), "utf16le"),
  "zero bytes": Buffer.alloc(10_000),
  "blanks alone": " ".repeat(100_000),
  nothing: "",
  "a text that never ends": `{"model":"${"a".repeat(1_000_000)}`,
  "a million backslashes": `{"model":"${"\\".repeat(1_000_001)}"}`,
  "numbers that JSON has not": wrapped('{"a":NaN,"b":-Infinity,"c":0x10,"d":01,"e":1.,"f":.5}'),
  "more after the end": `${wrapped("{}")}${wrapped("{}")}`,
  "a text, a number, a list, null": '["a",1,[],null]',
};

test.each(Object.entries(TEXTS))("F25 %s: nowhere a fault of the server's, and soon", async (name, text) => {
  const began = performance.now();
  const told = await arena.throwAll(ROUTES.map((path) => () => send(path, text)));
  expect(faults(told)).toEqual([]);
  for (const { text: body } of told) expect(body).not.toMatch(/RangeError|Maximum call stack/);
  // A million keys are within the limit on values, and read by every route.
  expect(performance.now() - began, name).toBeLessThan(15_000);
});

/** Some JSON, of all kinds of values, with names that mean something and names that objects inherit. */
function randomJson(random: Random, depth = 0): string {
  const kind = below(random, depth > 5 ? 6 : 8);
  switch (kind) {
    case 0:
      return oneOf(random, ["null", "true", "false"]);
    case 1:
      return oneOf(random, ["0", "-0", "1e308", "1e-400", "9007199254740993", "2147483648", "-1", "0.1"]);
    case 2:
      return JSON.stringify(
        oneOf(random, [MODEL, "", "\u0000", "\ud83d\ude00", "a/b:1", "float32", "x".repeat(500)]),
      );
    case 3:
      return `"data:image/png;base64,${"A".repeat(below(random, 9))}"`;
    case 4:
      return `"${oneOf(random, ["\\u0000", "\\ud800", "\\/", "\\n"])}"`;
    case 5:
      return "{}";
    case 6:
      return `[${Array.from({ length: below(random, 5) }, () => randomJson(random, depth + 1)).join(",")}]`;
    default:
      return `{${Array.from({ length: below(random, 6) }, () => `"${oneOf(random, NAMES)}":${randomJson(random, depth + 1)}`).join(",")}}`;
  }
}

const NAMES: readonly [string, ...string[]] = [
  "model",
  "input",
  "inputs",
  "image",
  "webhook",
  "tensors",
  "files",
  "wait",
  "dtype",
  "shape",
  "data",
  "__proto__",
  "constructor",
  "toString",
  "modelId",
  "numResults",
  "sampleBase64Content",
  "pageSize",
  "datasetId",
  "name",
];

test("F25 made at random, half of it with a few bytes changed", async () => {
  function* inputs(): Generator<() => Promise<Told>> {
    for (let i = 0; i < RANDOM_TEXTS; i++) {
      const text = arena.random() < 0.3 ? wrapped(randomJson(arena.random)) : randomJson(arena.random);
      const body = arena.random() < 0.5 ? mutated(arena.random, Buffer.from(text)) : text;
      const path = oneOf(arena.random, ROUTES);
      yield () => send(path, body);
    }
  }
  expect(faults(await arena.throwAll(inputs()))).toEqual([]);
});

test("F25 no object has got a member that was not sent", async () => {
  // A polluted prototype would supply what is missing, such as the model, or a name that is none.
  const { text } = await send("/v1/predictions", "{}");
  expect(JSON.parse(text).detail.map(({ loc }: { readonly loc: unknown }) => loc)).toEqual([
    ["body", "model"],
    ["body", "input"],
  ]);
  const created = await send(ROUTES[0], wrapped("{}"));
  expect(JSON.parse(created.text).prediction.input).toEqual({});
});

test("F25 the server stands as before", () => arena.settle("json", { mayKeep: /^blobs/ }));
