/** A model that takes another one's embedding: both together are a model that takes what the backbone takes. */
import { createHash } from "node:crypto";
import { shapeText } from "../signature.ts";
import { flatRows } from "./embedding.ts";
import type { HostTensor, HostTensors, LoadedModel } from "./runtime.ts";

export interface Backbone {
  readonly key: string;
  readonly model: LoadedModel;
  /** Embeddings of the inputs that heads were tried with, which are the same for most of them; by their digest. */
  readonly samples: Map<string, HostTensor>;
}

/** Three of each way to prepare pictures, of which all heads that are trained on a backbone have the same. */
const SAMPLES_MAX = 12;

/**
 * Disposes of both with itself.
 * @throws Error with the reason why they do not go together
 */
export function onBackbone({ key, model: backbone, samples }: Backbone, head: LoadedModel): LoadedModel {
  const { embed } = backbone;
  if (!embed) throw new Error(`its backbone ${key} has no embedding`);
  const [input, ...others] = head.inputs;
  const wanted = input?.shape[1] ?? null;
  if (!input || others.length > 0 || input.dtype !== "float32" || input.shape.length !== 2) {
    const inputs = head.inputs.map(({ name, dtype, shape }) => `${name} ${dtype} ${shapeText(shape)}`);
    throw new Error(
      `a model with a backbone takes one float32 input [any, width], not ${inputs.join(", ") || "none"}`,
    );
  }
  const runHead = async (embedding: HostTensor): Promise<HostTensors> => {
    const rows = embedding.shape[0] ?? 0;
    const { data, width } = flatRows(embedding, rows);
    if (wanted !== null && wanted !== width)
      throw new Error(`the model takes ${wanted} numbers, and its backbone ${key} gives ${width}`);
    return head.run({ [input.name]: { dtype: "float32", shape: [rows, width], data } });
  };
  return {
    inputs: backbone.inputs,
    outputs: head.outputs,
    run: async (inputs) => runHead(await embed(inputs)),
    async tryRun(inputs) {
      const digest = digestOf(inputs);
      const sample = samples.get(digest) ?? (await embed(inputs));
      if (samples.size < SAMPLES_MAX) samples.set(digest, sample);
      return runHead(sample);
    },
    dispose() {
      head.dispose();
      backbone.dispose();
    },
  };
}

function digestOf(inputs: HostTensors): string {
  const hash = createHash("sha256");
  for (const [name, { shape, data }] of Object.entries(inputs)) hash.update(`${name} ${shape} `).update(data);
  return hash.digest("base64");
}
