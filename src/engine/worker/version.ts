/** One loaded version in a worker: opened, tried, and then run batch by batch until it is closed. */
import { AuspexError } from "../../domain/error.ts";
import type { JsonObject } from "../../domain/payload.ts";
import type { Tensor } from "../../domain/tensor.ts";
import type {
  LoadedVersion,
  LoadRequest,
  Outcome,
  PictureItem,
  TensorGroup,
  TensorGroupOutcome,
} from "../protocol.ts";
import { createEmbedder } from "./embedding.ts";
import { createPictureTask } from "./picture-task.ts";
import type { Choice } from "./runtimes.ts";
import { runTensorGroup } from "./tensor-task.ts";
import { openTextTask } from "./text-task.ts";
import { warmUp } from "./warm-up.ts";

export interface Version {
  readonly loaded: LoadedVersion;
  runPictures(items: readonly PictureItem[]): Promise<readonly Outcome<JsonObject>[]>;
  runTexts(items: readonly (readonly string[])[]): Promise<readonly Outcome<Tensor>[]>;
  runTensors(groups: readonly TensorGroup[]): Promise<readonly TensorGroupOutcome[]>;
  embed(images: readonly Uint8Array[]): Promise<readonly Outcome<Float32Array>[]>;
  dispose(): void;
}

/** @throws Error with the reason why the version cannot serve; the model is then disposed of */
export async function openVersion(
  choice: Choice,
  { folder, manifest, known }: Pick<LoadRequest, "folder" | "manifest" | "known">,
  maxPixels: number,
): Promise<Version> {
  const { model, runtime } = choice;
  try {
    const texts = manifest.text ? await openTextTask(model, folder, manifest.text, known) : undefined;
    const { signature, notes } = texts ?? (await warmUp(model, manifest, known));
    const lacks = manifest.embedding !== null && !model.embed;
    const more = lacks ? [`no embedding: it has no layer or node ${manifest.embedding}`] : [];
    const pictures = manifest.picture
      ? await createPictureTask(model, signature, manifest, maxPixels)
      : undefined;
    return {
      loaded: { runtime, notes: [...choice.notes, ...notes, ...more], signature },
      async runPictures(items) {
        if (!pictures) throw new Error("this version takes no pictures");
        return pictures(items);
      },
      async runTexts(items) {
        if (!texts) throw new Error("this version takes no texts");
        return texts.run(items);
      },
      async runTensors(groups) {
        const outcomes: TensorGroupOutcome[] = [];
        for (const group of groups) outcomes.push(await runTensorGroup(model, group));
        return outcomes;
      },
      async embed(images) {
        const embedder = await createEmbedder(model, signature, manifest, maxPixels);
        if (!embedder) throw new AuspexError("failed_precondition", "this version has no embedding");
        return embedder(images);
      },
      dispose: () => model.dispose(),
    };
  } catch (error) {
    model.dispose();
    throw new Error(`${runtime}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}
