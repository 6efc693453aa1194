/** What a feature extractor sees in pictures: the output of the layer or node that its `auspex.json` names. */
import type { Manifest } from "../../domain/model.ts";
import type { Signature } from "../signature.ts";
import { createPictureBatch, type PictureBatch } from "./picture-batch.ts";
import type { HostTensor, LoadedModel } from "./runtime.ts";

/** One row of numbers for each picture; undefined when the model has no embedding. */
export async function createEmbedder(
  model: LoadedModel,
  signature: Signature,
  manifest: Manifest,
  maxPixels: number,
): Promise<PictureBatch<Float32Array> | undefined> {
  const { embed } = model;
  if (!embed || !manifest.picture) return undefined;
  return createPictureBatch({
    signature,
    picture: manifest.picture,
    maxPixels,
    run: async (inputs, rows) => {
      const { data, width } = flatRows(await embed(inputs), rows);
      return Array.from({ length: rows }, (_, row) => data.slice(row * width, (row + 1) * width));
    },
  });
}

export interface FlatRows {
  /** rows × width */
  readonly data: Float32Array;
  readonly width: number;
}

/**
 * An embedding as a matrix, whatever else its shape is.
 * @throws Error when it has not as many rows, or values that are not finite
 */
export function flatRows({ shape, data }: HostTensor, rows: number): FlatRows {
  if (shape[0] !== rows) throw new Error(`the embedding has the shape [${shape}] for ${rows} rows`);
  if (!data.every(Number.isFinite)) throw new Error("the embedding has values that are not finite");
  return { data: data instanceof Float32Array ? data : Float32Array.from(data), width: data.length / rows };
}
