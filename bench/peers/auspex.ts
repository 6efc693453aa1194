/** Auspex beside the peers: as it comes, durable, over HTTP as the peer at hand is asked, and over gRPC. */
import { availableParallelism } from "node:os";
import { create, toBinary } from "@bufbuild/protobuf";
import { CreatePredictionRequestSchema } from "../../gen/auspex/v1/prediction_pb.ts";
import { DataType } from "../../gen/auspex/v1/tensor_pb.ts";
import { startServer, type TestServer } from "../../test/harness.ts";
import type { LoadOrder } from "../load.ts";
import type { Target } from "../rounds.ts";
import { CREATE_PATH } from "../rows/mlp-create.ts";
import type { Served } from "./models.ts";
import { dataUri, jsonRequest, pictureForm, type Request, type Workload } from "./peers.ts";

const MLP = "bench/mlp";
const MOBILENET = "auspex/mobilenet";
const WAIT_SECONDS = 10;

/** Nothing is set but where the MLP is: a worker for each core is what it has where nobody says otherwise. */
export function startAuspex({ modelsDir }: Served): Promise<TestServer> {
  return startServer({ settings: { MODELS_DIR: modelsDir, WORKERS: String(availableParallelism()) } });
}

/** Ways to ask: `form` is the dialect for pictures, `json` the one of `/v1/predictions`. */
export type Door = "json" | "form" | "grpc";

export function target(server: TestServer, door: Door, workload: Workload, served: Served): Target {
  const name = { json: "Auspex, JSON", form: "Auspex, form", grpc: "Auspex, gRPC" }[door];
  return { name, pid: server.process.pid ?? 0, load: load(server, door, workload, served) };
}

function load(
  server: TestServer,
  door: Door,
  workload: Workload,
  served: Served,
): Omit<LoadOrder, "seconds" | "inFlight"> {
  if (door === "grpc") {
    const address = new URL(server.grpcUrl).host;
    const to = { kind: "grpc", address, path: CREATE_PATH } as const;
    return { to, request: message(workload, served), expect: "succeeded prediction" };
  }
  const { path, headers, body, expect } = door === "form" ? formOf(served) : jsonOf(workload, served);
  return { to: { kind: "http", url: `${server.url}${path}`, headers }, request: body, expect };
}

function message(workload: Workload, { mlp, picture }: Served): Uint8Array {
  const data = new Uint8Array(Float32Array.from(mlp.x).buffer);
  const payload =
    workload === "mlp"
      ? { model: MLP, tensors: { x: { dtype: DataType.FLOAT32, shape: [1, mlp.x.length], data } } }
      : { model: MOBILENET, files: { image: picture.jpeg } };
  const wait = { seconds: BigInt(WAIT_SECONDS) };
  return toBinary(CreatePredictionRequestSchema, create(CreatePredictionRequestSchema, { ...payload, wait }));
}

function jsonOf(workload: Workload, { mlp, picture }: Served): Request {
  const succeeded = { at: ["status"], is: ["succeeded"] };
  const best = ["output", "probabilities", 0];
  const request =
    workload === "mlp"
      ? jsonRequest(
          "/v1/predictions",
          {
            model: MLP,
            input: { inputs: { x: { dtype: "float32", shape: [1, mlp.x.length], data: mlp.x } } },
          },
          [succeeded, { at: ["output", "outputs", "y", "data"], is: mlp.y }],
        )
      : jsonRequest("/v1/predictions", { model: MOBILENET, input: { image: dataUri(picture.jpeg) } }, [
          succeeded,
          { at: [...best, "label"], is: [picture.label] },
          { at: [...best, "probability"], is: [picture.probability] },
        ]);
  return { ...request, headers: { ...request.headers, prefer: `wait=${WAIT_SECONDS}` } };
}

function formOf({ picture: { jpeg, label, probability } }: Served): Request {
  return pictureForm("/v2/vision/predict", "sampleContent", jpeg, { modelId: MOBILENET }, [
    { at: ["probabilities", 0, "label"], is: [label] },
    { at: ["probabilities", 0, "probability"], is: [probability] },
  ]);
}
