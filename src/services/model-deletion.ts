/** Deleting a trained model behind the call that asked for it: its versions first, then what is told of its trainings. */
import { parseModelRef } from "../domain/model.ts";
import type { ModelRegistry } from "../engine/engine.ts";
import type { TrainingStore } from "../store/training-store.ts";

export interface ModelDeletionContext {
  readonly models: ModelRegistry;
  readonly trainings: TrainingStore;
}

/** May be begun again after it was interrupted. */
export async function deleteModel(model: string, { models, trainings }: ModelDeletionContext): Promise<void> {
  const ref = parseModelRef(model);
  const versions = models.list().filter(({ owner, name }) => owner === ref?.owner && name === ref.name);
  for (const { owner, name, version } of versions) await models.remove(owner, name, version);
  while (!(await trainings.purgeModel(model))) {
    // A part of it is gone; the next one is another transaction.
  }
}
