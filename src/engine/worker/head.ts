/** A model that takes another one's embedding: both together are a model that takes what the backbone takes. */
import { shapeText } from "../signature.ts";
import { flatRows } from "./embedding.ts";
import type { LoadedModel } from "./runtime.ts";

/**
 * Disposes of both with itself.
 * @param backboneKey for messages
 * @throws Error with the reason why they do not go together
 */
export function onBackbone(backbone: LoadedModel, backboneKey: string, head: LoadedModel): LoadedModel {
  const { embed } = backbone;
  if (!embed) throw new Error(`its backbone ${backboneKey} has no embedding`);
  const [input, ...others] = head.inputs;
  const wanted = input?.shape[1] ?? null;
  if (!input || others.length > 0 || input.dtype !== "float32" || input.shape.length !== 2) {
    const inputs = head.inputs.map(({ name, dtype, shape }) => `${name} ${dtype} ${shapeText(shape)}`);
    throw new Error(
      `a model with a backbone takes one float32 input [any, width], not ${inputs.join(", ") || "none"}`,
    );
  }
  return {
    inputs: backbone.inputs,
    outputs: head.outputs,
    async run(inputs) {
      const embedding = await embed(inputs);
      const rows = embedding.shape[0] ?? 0;
      const { data, width } = flatRows(embedding, rows);
      if (wanted !== null && wanted !== width)
        throw new Error(`the model takes ${wanted} numbers, and its backbone ${backboneKey} gives ${width}`);
      return head.run({ [input.name]: { dtype: "float32", shape: [rows, width], data } });
    },
    dispose() {
      head.dispose();
      backbone.dispose();
    },
  };
}
