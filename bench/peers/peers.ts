/**
 * The peers: how each is started, and what is sent to it. The programs are the Python files beside this one, which
 * name the page of the documentation that each piece of tuning is from.
 */
import { join } from "node:path";
import type { Expectation, ExpectedValues } from "../load-answer.ts";
import type { Served } from "./models.ts";

export const WORKLOADS = ["mlp", "mobilenet"] as const;
export type Workload = (typeof WORKLOADS)[number];

export const VARIANTS = ["defaults", "tuned"] as const;
export type Variant = (typeof VARIANTS)[number];

/** What one process tree of a peer is for. */
export interface Setting {
  readonly workload: Workload;
  /** As the documentation advises for this machine; otherwise as it comes. */
  readonly tuned: boolean;
  readonly port: number;
  /** Free as well, for what a product listens for besides. */
  readonly otherPorts: readonly [number, number];
  readonly cores: number;
}

export interface Launch {
  /** The first is looked for in the environment's `bin`. */
  readonly command: readonly [string, ...string[]];
  readonly env?: Readonly<Record<string, string>>;
  /** Configuration that the product reads from the folder it is started in. */
  readonly files?: Readonly<Record<string, string>>;
}

export interface Request {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  readonly expect: Expectation;
}

export interface Capacity {
  /** Requests at once. */
  readonly of: Readonly<Record<Variant, number>>;
  /** The status that others are refused with; also those that come just before it has noticed that it is free. */
  readonly refusal: number;
}

export interface Peer {
  /** Also of its files here. */
  readonly name: string;
  readonly title: string;
  /** It takes CPU even while nobody asks it anything, so that its variants are measured one after the other. */
  readonly restless?: true;
  /** What it does not even queue beyond some number of requests. */
  readonly capacity?: Capacity;
  launch(setting: Setting): Launch;
  request(workload: Workload, served: Served): Request;
}

const app = (file: string): string => join(import.meta.dirname, file);

const JSON_TYPE = { "content-type": "application/json" };
/** Decoders differ in the last bits, and so do runtimes. */
const WITHIN = 1e-4;
const FORM_BOUNDARY = "auspex-bench-3f6b1c52";

export function jsonRequest(path: string, body: unknown, values: ExpectedValues["values"]): Request {
  return {
    path,
    headers: JSON_TYPE,
    body: new TextEncoder().encode(JSON.stringify(body)),
    expect: { kind: "JSON values", values, within: WITHIN },
  };
}

/** A form with the one file. */
export function pictureForm(
  path: string,
  field: string,
  jpeg: Uint8Array,
  texts: Readonly<Record<string, string>>,
  values: ExpectedValues["values"],
): Request {
  const part = (disposition: string): string =>
    `--${FORM_BOUNDARY}\r\ncontent-disposition: form-data; ${disposition}\r\n`;
  const fields = Object.entries(texts).map(([name, text]) => `${part(`name="${name}"`)}\r\n${text}\r\n`);
  const head = `${fields.join("")}${part(`name="${field}"; filename="zebra.jpg"`)}content-type: image/jpeg\r\n\r\n`;
  return {
    path,
    headers: { "content-type": `multipart/form-data; boundary=${FORM_BOUNDARY}` },
    body: Buffer.concat([Buffer.from(head), jpeg, Buffer.from(`\r\n--${FORM_BOUNDARY}--\r\n`)]),
    expect: { kind: "JSON values", values, within: WITHIN },
  };
}

export function dataUri(jpeg: Uint8Array): string {
  return `data:image/jpeg;base64,${Buffer.from(jpeg).toString("base64")}`;
}

const bestClass = (
  { picture: { label, probability } }: Served,
  ...at: readonly (string | number)[]
): ExpectedValues["values"] => [
  { at: [...at, "label"], is: [label] },
  { at: [...at, "probability"], is: [probability] },
];

const fastapi: Peer = {
  name: "fastapi",
  title: "FastAPI, uvicorn",
  launch({ tuned, port, cores }) {
    const tuning = tuned ? ["--workers", String(cores), "--no-access-log"] : [];
    return { command: ["uvicorn", "fastapi_app:app", "--port", String(port), ...tuning] };
  },
  request: (workload, served) =>
    workload === "mlp"
      ? jsonRequest("/mlp", { x: served.mlp.x }, [{ at: ["y"], is: served.mlp.y }])
      : pictureForm("/mobilenet", "image", served.picture.jpeg, {}, bestClass(served, "classes", 0)),
};

const litserve: Peer = {
  name: "litserve",
  title: "LitServe",
  restless: true,
  launch: () => ({ command: ["python", app("litserve_app.py")] }),
  request: (workload, served) =>
    workload === "mlp"
      ? jsonRequest("/predict", { x: served.mlp.x }, [{ at: ["y"], is: served.mlp.y }])
      : pictureForm("/predict", "image", served.picture.jpeg, {}, bestClass(served, "classes", 0)),
};

const bentoml: Peer = {
  name: "bentoml",
  title: "BentoML",
  launch({ workload, port }) {
    const service = `bentoml_app:${workload === "mlp" ? "Mlp" : "MobileNet"}`;
    return {
      command: ["bentoml", "serve", service, "--host", "127.0.0.1", "--port", String(port)],
      // It would report to its makers how it is used.
      env: { BENTOML_DO_NOT_TRACK: "True" },
    };
  },
  request: (workload, served) =>
    workload === "mlp"
      ? jsonRequest("/predict", { x: [served.mlp.x] }, [{ at: [], is: served.mlp.y }])
      : pictureForm("/predict", "image", served.picture.jpeg, {}, bestClass(served, 0)),
};

const ray: Peer = {
  name: "ray",
  title: "Ray Serve",
  restless: true,
  launch({ tuned }) {
    const fast = { RAY_SERVE_ENABLE_HA_PROXY: "1", RAY_SERVE_THROUGHPUT_OPTIMIZED: "1" };
    return {
      command: ["python", app("ray_app.py")],
      env: { RAY_USAGE_STATS_ENABLED: "0", ...(tuned && fast) },
    };
  },
  request: (workload, served) =>
    workload === "mlp"
      ? jsonRequest("/", { x: served.mlp.x }, [{ at: ["y"], is: served.mlp.y }])
      : pictureForm("/", "image", served.picture.jpeg, {}, bestClass(served, "classes", 0)),
};

/** As V2 of the inference protocol has it, which KServe and Triton share. */
function v2(model: string, input: unknown, values: ExpectedValues["values"]): Request {
  return jsonRequest(`/v2/models/${model}/infer`, { inputs: [input] }, values);
}

const mlserver: Peer = {
  name: "mlserver",
  title: "MLServer",
  launch({ workload, tuned, port, otherPorts: [grpc_port, metrics_port], cores }) {
    const implementation = `mlserver_app.${workload === "mlp" ? "Mlp" : "MobileNet"}`;
    const batching = tuned && workload === "mlp" ? { max_batch_size: 32, max_batch_time: 0.001 } : {};
    const tuning = tuned ? { debug: false, parallel_workers: cores } : {};
    return {
      command: ["mlserver", "start", "."],
      files: {
        "settings.json": JSON.stringify({
          host: "127.0.0.1",
          http_port: port,
          grpc_port,
          metrics_port,
          ...tuning,
        }),
        "model-settings.json": JSON.stringify({ name: workload, implementation, ...batching }),
      },
    };
  },
  request(workload, { mlp, picture }) {
    if (workload === "mlp") {
      const x = { name: "x", shape: [1, mlp.x.length], datatype: "FP32", data: mlp.x };
      return v2(workload, x, [{ at: ["outputs", 0, "data"], is: mlp.y }]);
    }
    const image = {
      ...{ name: "image", shape: [1, 1], datatype: "BYTES", parameters: { content_type: "base64" } },
      data: [Buffer.from(picture.jpeg).toString("base64")],
    };
    return v2(workload, image, [
      { at: ["outputs", 0, "data", 0], is: [picture.label] },
      { at: ["outputs", 1, "data", 0], is: [picture.probability] },
    ]);
  },
};

/** Predictions that may be under way at once: more than are ever sent. */
const COG_CONCURRENCY = 100;

const cog: Peer = {
  name: "cog",
  title: "Cog",
  capacity: { of: { defaults: 1, tuned: COG_CONCURRENCY }, refusal: 409 },
  launch({ workload, tuned, port }) {
    const predictor = `${workload === "mlp" ? "Mlp" : "MobileNet"}${tuned ? "Tuned" : ""}`;
    return {
      command: ["python", "-m", "cog.server.http", "--host", "127.0.0.1"],
      // What an image that `cog build` made has in its environment.
      env: {
        PORT: String(port),
        COG_PREDICT_TYPE_STUB: `${app("cog_app.py")}:${predictor}`,
        ...(tuned && { COG_MAX_CONCURRENCY: String(COG_CONCURRENCY), COG_LOG_LEVEL: "warning" }),
      },
    };
  },
  request(workload, served) {
    const succeeded = { at: ["status"], is: ["succeeded"] };
    return workload === "mlp"
      ? jsonRequest("/predictions", { input: { x: served.mlp.x } }, [
          succeeded,
          { at: ["output"], is: served.mlp.y },
        ])
      : jsonRequest("/predictions", { input: { image: dataUri(served.picture.jpeg) } }, [
          succeeded,
          ...bestClass(served, "output", 0),
        ]);
  },
};

export const PEERS: readonly Peer[] = [fastapi, litserve, bentoml, ray, mlserver, cog];
