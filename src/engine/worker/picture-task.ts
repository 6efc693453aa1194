/** The picture tasks in a worker: pictures in, what the model says of each out, each with an outcome of its own. */
import type { Manifest } from "../../domain/model.ts";
import type { JsonObject } from "../../domain/payload.ts";
import type { Outcome, PictureItem } from "../protocol.ts";
import type { Signature } from "../signature.ts";
import type { Size } from "./bounding-box.ts";
import { createClassAnswers } from "./class-answer.ts";
import { createDetectionAnswers } from "./detection-answer.ts";
import { createPictureBatch } from "./picture-batch.ts";
import type { LoadedModel } from "./runtime.ts";

export type PictureTask = (items: readonly PictureItem[]) => Promise<readonly Outcome<JsonObject>[]>;

/** @throws Error when the outputs do not fit the labels */
export async function createPictureTask(
  model: LoadedModel,
  signature: Signature,
  manifest: Manifest,
  maxPixels: number,
): Promise<PictureTask> {
  const readAnswers = manifest.detection
    ? createDetectionAnswers(signature, manifest, uprightSize)
    : createClassAnswers(signature, manifest);
  const batch = await createPictureBatch({
    signature,
    picture: manifest.picture,
    maxPixels,
    run: async (inputs, rows) => readAnswers(await model.run(inputs), rows),
  });
  return async (items) => {
    const answers = await batch(items.map(({ image }) => image));
    return Promise.all(
      items.map(async (item, i) => {
        const answer = answers[i];
        if (!answer) throw new Error("a picture was left without an outcome");
        return answer.ok ? answer.value(item) : answer;
      }),
    );
  };
}

async function uprightSize(image: Uint8Array): Promise<Size> {
  const picture = await import("./picture.ts");
  return picture.uprightSize(image);
}
