/** Texts through the server: `auspex/minilm`, which `npm ci` pulls. */
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ModelService, ModelVersionState } from "../../gen/auspex/v1/model_pb.ts";
import {
  PredictionError_Source,
  PredictionService,
  PredictionStatus,
} from "../../gen/auspex/v1/prediction_pb.ts";
import { clientOf, DOORS, startServer, type TestServer } from "../harness.ts";

const MODEL = "auspex/minilm";
const WAIT = { seconds: 30n };

let server: TestServer;
beforeAll(async () => {
  server = await startServer({ settings: { CATALOGUE: "auspex/minilm" } });
});
afterAll(() => server?.[Symbol.asyncDispose]());

const client = () => clientOf(server, "grpc", PredictionService);

async function codeOf(call: Promise<unknown>): Promise<Code> {
  const error = await call.then(
    () => expect.fail("the call was expected to fail"),
    (thrown: unknown) => ConnectError.from(thrown),
  );
  return error.code;
}

function embeddingsOf(output: unknown): number[][] {
  return (output as { readonly embeddings: number[][] }).embeddings;
}

test("the model is ready, and tells what it takes and gives", async () => {
  const { model } = await clientOf(server, "grpc", ModelService).getModel({ name: MODEL });
  expect(model).toMatchObject({ task: "text-embedding" });
  expect(model?.latestVersion).toMatchObject({ state: ModelVersionState.READY, runtime: "onnxruntime" });
  expect(model?.latestVersion?.inputSchema).toHaveProperty("properties.texts.maxItems", 256);
  expect(model?.latestVersion?.outputSchema).toHaveProperty("properties.embeddings");
  expect(server.printed.join("\n")).toMatch(/auspex\/minilm:1 {2}text-embedding {2}onnxruntime/);
});

test.each(DOORS)("a text comes back as a vector of length 1, over %s", async (door) => {
  const text = "Where do the trained models lie?";
  const predictions = clientOf(server, door, PredictionService);
  const { prediction } = await predictions.createPrediction({ model: MODEL, input: { text }, wait: WAIT });
  expect(prediction).toMatchObject({ status: PredictionStatus.SUCCEEDED, model: MODEL, version: 1 });
  const [vector = [], ...others] = embeddingsOf(prediction?.output);
  expect(others).toEqual([]);
  expect(vector).toHaveLength(384);
  expect(Math.hypot(...vector)).toBeCloseTo(1, 5);
  const texts = ["Something else", text];
  const both = await predictions.createPrediction({ model: MODEL, input: { texts }, wait: WAIT });
  const [, again = []] = embeddingsOf(both.prediction?.output);
  expect(again).toEqual(vector.map((value) => expect.closeTo(value, 5)));
});

test("validate_input holds texts to the schema, and what it lets in fails where it is wrong", async () => {
  const refused = [{}, { text: "" }, { text: "a", texts: ["b"] }, { texts: [] }, { texts: [7] }];
  for (const input of refused) {
    const request = { model: MODEL, input, wait: WAIT };
    expect(await codeOf(client().createPrediction({ ...request, validateInput: true }))).toBe(
      Code.InvalidArgument,
    );
    const { prediction } = await client().createPrediction(request);
    expect(prediction).toMatchObject({
      status: PredictionStatus.FAILED,
      error: { code: "invalid_argument", source: PredictionError_Source.EXTERNAL },
    });
  }
  const input = { texts: [" ", "x".repeat(32_768)] };
  const { prediction } = await client().createPrediction({
    model: MODEL,
    input,
    wait: WAIT,
    validateInput: true,
  });
  expect(embeddingsOf(prediction?.output)).toHaveLength(2);
});
