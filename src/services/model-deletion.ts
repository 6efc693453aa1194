/** Deleting a trained model behind the call that asked for it: its versions first, then what is told of its trainings. */
import { parseModelRef } from "../domain/model.ts";
import type { ModelRegistry } from "../engine/engine.ts";
import type { TrainingStore } from "../store/training-store.ts";

/**
 * May be begun again after it was interrupted.
 *
 * @param onProgress told the share of the versions that are gone, 0 to 1
 */
export async function deleteModel(
  model: string,
  { models, trainings }: { readonly models: ModelRegistry; readonly trainings: TrainingStore },
  onProgress: (progress: number) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const ref = parseModelRef(model);
  const versions = models.list().filter(({ owner, name }) => owner === ref?.owner && name === ref.name);
  for (const [index, { owner, name, version }] of versions.entries()) {
    signal.throwIfAborted();
    await models.remove(owner, name, version);
    await onProgress((index + 1) / (versions.length + 1));
  }
  while (!(await trainings.purgeModel(model))) signal.throwIfAborted();
}
