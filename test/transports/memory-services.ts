/**
 * Services without store and engine, to try transports alone: predictions in a map, each `succeeded` a few
 * milliseconds after its creation. A test replaces single operations.
 */
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type CreatePredictionRequest,
  type PredictionSchema,
  type PredictionService,
  PredictionStatus,
} from "../../gen/auspex/v1/prediction_pb.ts";
import { AuspexError } from "../../src/domain/error.ts";
import { LOCAL } from "../../src/domain/principal.ts";
import type { Operations } from "../../src/services/call.ts";
import type { Services } from "../../src/services/services.ts";

export type Predictions = Operations<typeof PredictionService>;
type PredictionInit = MessageInitShape<typeof PredictionSchema>;

export interface MemoryServices extends Services {
  /** Changes what health says. */
  setServing(serving: boolean): void;
}

/** The one key that `authenticate` refuses. */
export const BAD_KEY = "not-a-key-at-all";

const authenticate: Services["authenticate"] = async (token) => {
  if (token === BAD_KEY) throw new AuspexError("unauthenticated", "this key is not known");
  return token === undefined ? LOCAL : { name: token, open: false };
};

export function memoryServices(replaced: Partial<Predictions> = {}): MemoryServices {
  const listeners = new Set<() => void>();
  let serving = true;
  return {
    predictions: { ...memoryPredictions(), ...replaced },
    models: unimplemented(),
    images: unimplemented(),
    datasets: unimplemented(),
    feedback: unimplemented(),
    trainings: unimplemented(),
    accounts: unimplemented(),
    chatflows: unimplemented(),
    files: unimplemented(),
    authenticate,
    authenticateAsker: authenticate,
    // Its operations refuse by themselves.
    admitAsker: async () => {},
    renewToken: async () => {
      throw new AuspexError("unimplemented", "not in memory");
    },
    rateLimit: () => undefined,
    health: {
      serving: () => serving,
      reason: () => (serving ? "" : "told so by a test"),
      onChange(listener) {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    },
    metrics: async () => ({ text: "# nothing to measure\n", contentType: "text/plain; version=0.0.4" }),
    setServing(value) {
      serving = value;
      for (const listener of listeners) listener();
    },
  };
}

function unimplemented<T extends object>(): T {
  const refuse = async () => {
    throw new AuspexError("unimplemented", "not in memory");
  };
  return new Proxy({} as T, { get: () => refuse });
}

function memoryPredictions(): Predictions {
  const rows = new Map<string, PredictionInit>();
  const get = (id: string) => {
    const row = rows.get(id);
    if (!row) throw new AuspexError("not_found", `there is no prediction ${id}`);
    return row;
  };
  const create = (request: CreatePredictionRequest): PredictionInit => {
    const row: PredictionInit = {
      id: crypto.randomUUID(),
      model: request.model,
      status: PredictionStatus.PENDING,
      revision: 1,
      tensors: request.tensors,
    };
    rows.set(String(row.id), row);
    return row;
  };
  const finish = (id: string): PredictionInit => {
    const output = { probabilities: [{ label: "zebra", probability: 1 }] };
    const done = { ...get(id), status: PredictionStatus.SUCCEEDED, revision: 3, output };
    rows.set(id, done);
    return done;
  };
  return {
    async createPrediction(request) {
      if (request.model === "") {
        throw new AuspexError("invalid_argument", "model: is required", {
          violations: [{ field: "model", description: "is required", reason: "required" }],
        });
      }
      return { prediction: create(request) };
    },
    getPrediction: async ({ id }) => ({ prediction: get(id) }),
    listPredictions: async () => ({ predictions: [...rows.values()] }),
    cancelPrediction: async ({ id }) => ({ prediction: get(id) }),
    async *watchPrediction({ id }) {
      yield { prediction: get(id) };
      yield { prediction: { ...get(id), status: PredictionStatus.STARTED, revision: 2 } };
      yield { prediction: finish(id) };
    },
  };
}
