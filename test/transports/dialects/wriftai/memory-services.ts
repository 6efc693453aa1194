/**
 * The services as a dialect sees them, kept in memory: predictions move when a test moves them. For what a dialect
 * decodes and encodes; the operations themselves are tried with the real server.
 */
import { EventEmitter, once } from "node:events";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  type ModelSchema,
  type ModelVersionSchema,
  ModelVersionState,
} from "../../../../gen/auspex/v1/model_pb.ts";
import {
  type CreatePredictionRequest,
  type Prediction,
  PredictionSchema,
  PredictionStatus,
} from "../../../../gen/auspex/v1/prediction_pb.ts";
import { AuspexError } from "../../../../src/domain/error.ts";
import type { CallContext } from "../../../../src/services/call.ts";
import type { RateLimitState, Services } from "../../../../src/services/services.ts";

export const KEY = "a-key-of-sixteen-characters";

export interface MemoryServices extends Services {
  readonly created: CreatePredictionRequest[];
  readonly calls: CallContext[];
  /** Thrown by the next operation, whichever it is. */
  failNext: unknown;
  rate: RateLimitState | undefined;
  /** Without it, creations that wait are held until the caller goes. */
  finishAtOnce: boolean;
  put(init: MessageInitShape<typeof PredictionSchema>): Prediction;
  change(id: string, init: Partial<Prediction>): void;
}

export const TIME = {
  $typeName: "google.protobuf.Timestamp",
  seconds: 1_772_445_600n,
  nanos: 120_000_000,
} as const;

export function predictionId(n: number): string {
  return `019c0000-0000-7000-8000-${String(n).padStart(12, "0")}`;
}

export function version(model: string, number: number, state: ModelVersionState = ModelVersionState.READY) {
  return {
    model,
    version: number,
    state,
    runtime: "tfjs-wasm",
    task: "tensor",
    description: "Says it again.",
    source: "https://models.example/echo",
    inputSchema: { type: "object" },
    outputSchema: { type: "string" },
    createTime: { seconds: TIME.seconds + BigInt(number), nanos: 0 },
    digest: "ab".repeat(32),
  } satisfies MessageInitShape<typeof ModelVersionSchema>;
}

const VERSIONS = [
  version("acme/echo", 3, ModelVersionState.FAILED),
  version("acme/echo", 2),
  version("acme/echo", 1),
];

type ModelInit = MessageInitShape<typeof ModelSchema>;

/** `acme/echo` with its versions, and as many numbered models of the catalogue's as it takes to fill pages. */
const MODELS: ModelInit[] = [
  {
    name: "acme/echo",
    task: "tensor",
    description: "Says it again.",
    latestVersion: version("acme/echo", 2),
  },
  ...Array.from({ length: 7 }, (_, i) => ({
    name: `auspex/model-${i}`,
    predictionsCount: BigInt((i * 3) % 7),
  })),
].map((model, i) => ({ ...model, createTime: { seconds: TIME.seconds + BigInt(i), nanos: 0 } }));

export function memoryServices({ keys = false } = {}): MemoryServices {
  const predictions = new Map<string, Prediction>();
  const changes = new EventEmitter();
  const byRequestId = new Map<string, string>();

  function begin(call: CallContext): void {
    services.calls.push(call);
    const { failNext } = services;
    services.failNext = undefined;
    if (failNext !== undefined) throw failNext;
  }

  function read(id: string): Prediction {
    const prediction = predictions.get(id);
    if (!prediction) throw new AuspexError("not_found", `prediction ${id} does not exist`);
    return prediction;
  }

  function modelOf(name: string): ModelInit {
    const model = MODELS.find((model) => model.name === name);
    if (!model) throw new AuspexError("not_found", `model ${name} does not exist`);
    return model;
  }

  async function createPrediction(request: CreatePredictionRequest, call: CallContext) {
    begin(call);
    services.created.push(request);
    const [model = "", number = "2"] = request.model.split(":");
    modelOf(model);
    const known = byRequestId.get(request.requestId);
    if (known) return { prediction: read(known) };
    const prediction = services.put({ model, version: Number(number), input: request.input });
    if (request.requestId) byRequestId.set(request.requestId, prediction.id);
    if (request.wait && request.wait.seconds > 0n) {
      if (!services.finishAtOnce) await once(call.signal, "abort");
      services.change(prediction.id, { status: PredictionStatus.SUCCEEDED, output: { text: "hi" } });
    }
    return { prediction: read(prediction.id) };
  }

  const services: MemoryServices = {
    created: [],
    calls: [],
    failNext: undefined,
    rate: undefined,
    finishAtOnce: true,

    put(init) {
      const prediction = create(PredictionSchema, {
        id: predictionId(predictions.size + 1),
        model: "acme/echo",
        version: 2,
        status: PredictionStatus.PENDING,
        revision: 1,
        createTime: TIME,
        updateTime: { ...TIME, nanos: TIME.nanos + 11_000 },
        ...init,
      });
      predictions.set(prediction.id, prediction);
      return prediction;
    },

    change(id, init) {
      const before = read(id);
      predictions.set(id, { ...before, revision: before.revision + 1, ...init });
      changes.emit(id);
    },

    predictions: {
      createPrediction,

      async getPrediction({ id }, call) {
        begin(call);
        return { prediction: read(id) };
      },

      async listPredictions({ pageSize, pageToken }, call) {
        begin(call);
        if (!/^[0-9]*$/.test(pageToken)) {
          const description = "is not a token that a list has answered";
          throw new AuspexError("invalid_argument", "page_token", {
            violations: [{ field: "page_token", reason: "format", description }],
          });
        }
        const all = [...predictions.values()].reverse();
        const start = Number(pageToken);
        return {
          predictions: all.slice(start, start + pageSize),
          nextPageToken: start + pageSize < all.length ? String(start + pageSize) : "",
          previousPageToken: start > 0 ? String(Math.max(0, start - pageSize)) : "",
        };
      },

      async cancelPrediction({ id }, call) {
        begin(call);
        if (read(id).status > PredictionStatus.STARTED) {
          throw new AuspexError("failed_precondition", `prediction ${id} has already finished`);
        }
        services.change(id, { status: PredictionStatus.CANCELED });
        return { prediction: read(id) };
      },

      async *watchPrediction({ id, afterRevision }, call) {
        begin(call);
        let seen = afterRevision;
        while (!call.signal.aborted) {
          const changed = once(changes, id, { signal: call.signal }).catch(() => undefined);
          const prediction = read(id);
          if (prediction.revision > seen) {
            seen = prediction.revision;
            yield { prediction };
          }
          if (read(id).status > PredictionStatus.STARTED && read(id).revision <= seen) return;
          if (read(id).revision <= seen) await changed;
        }
      },
    },

    models: {
      ...unimplemented,
      async listModels({ owner, pageToken }, call) {
        begin(call);
        const visible = MODELS.filter(({ name }) => owner === "" || name?.startsWith(`${owner}/`));
        // Two pages, so that the dialect has to ask again.
        return pageToken === ""
          ? { models: visible.slice(0, 5), nextPageToken: visible.length > 5 ? "5" : "" }
          : { models: visible.slice(5) };
      },
      async getModel({ name }, call) {
        begin(call);
        return { model: modelOf(name) };
      },
      async listModelVersions({ model }, call) {
        begin(call);
        modelOf(model);
        return { versions: VERSIONS.filter((version) => version.model === model) };
      },
      async getModelVersion({ model, version: number }, call) {
        begin(call);
        const found = VERSIONS.find((version) => version.model === model && version.version === number);
        if (!found) throw new AuspexError("not_found", `model ${model} has no version ${number}`);
        return { version: found };
      },
    },

    images: { uploadImage: refuse, importImage: refuse, getImage: refuse },
    datasets: refusing(),
    feedback: refusing(),
    trainings: refusing(),
    accounts: refusing(),
    chatflows: refusing(),
    files: refusing(),

    async authenticate(token) {
      if (keys && token !== KEY) throw new AuspexError("unauthenticated", "the key is not known");
      return { name: keys ? "acme" : "local", open: !keys };
    },
    authenticateAsker: (token) => services.authenticate(token),
    // Its operations refuse by themselves.
    admitAsker: async () => {},
    renewToken: async () => {
      throw new AuspexError("unimplemented", "not in memory");
    },
    rateLimit: () => services.rate,
    health: { serving: () => true, reason: () => "", onChange: () => () => undefined },
    metrics: async () => ({ text: "", contentType: "text/plain" }),
  };
  return services;
}

async function refuse(): Promise<never> {
  throw new AuspexError("unimplemented", "not in memory");
}

/** A service of which this dialect asks nothing. */
function refusing<T extends object>(): T {
  return new Proxy({} as T, { get: () => refuse });
}

const unimplemented = {
  publishModelVersion: refuse,
  deleteModelVersion: refuse,
  setModelAlias: refuse,
  listModelAliases: refuse,
  deleteModelAlias: refuse,
};
