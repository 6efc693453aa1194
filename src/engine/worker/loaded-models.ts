/**
 * The models of a worker. A backbone is in memory once, for its own version and for every head on it, and goes with
 * the last of them.
 */
import type { LoadRequest, ModelSource } from "../protocol.ts";
import { type Backbone, onBackbone } from "./head.ts";
import type { HostTensor, LoadedModel } from "./runtime.ts";
import type { Choice, Runtimes } from "./runtimes.ts";

interface Shared {
  readonly choice: Promise<Choice>;
  readonly samples: Map<string, HostTensor>;
  uses: number;
}

export class LoadedModels {
  readonly #runtimes: Runtimes;
  readonly #pinned: string | null;
  readonly #shared = new Map<string, Shared>();

  /** @param pinned the operator's choice of a runtime */
  constructor(runtimes: Runtimes, pinned: string | null) {
    this.#runtimes = runtimes;
    this.#pinned = pinned;
  }

  /** The version's model, to be disposed of. Rejects with the reason why it cannot be loaded. */
  async load(request: LoadRequest): Promise<Choice> {
    const { backbone: source, folder, manifest } = request;
    if (!source) return this.#share(request);
    const backbone = await this.#share(source);
    try {
      const head = await this.#runtimes.load(folder, manifest, this.#pinned);
      return { ...backbone, model: composed({ ...backbone, key: source.key }, head.model) };
    } catch (error) {
      backbone.model.dispose();
      throw error;
    }
  }

  async #share({ key, digest, folder, manifest }: ModelSource): Promise<Choice & Pick<Shared, "samples">> {
    const id = `${key} ${digest}`;
    const shared = this.#shared.get(id) ?? {
      choice: this.#runtimes.load(folder, manifest, this.#pinned),
      samples: new Map(),
      uses: 0,
    };
    this.#shared.set(id, shared);
    shared.uses += 1;
    const release = (): boolean => {
      shared.uses -= 1;
      if (shared.uses === 0 && this.#shared.get(id) === shared) this.#shared.delete(id);
      return shared.uses === 0;
    };
    try {
      const choice = await shared.choice;
      const dispose = once(() => {
        if (release()) choice.model.dispose();
      });
      return { ...choice, model: { ...choice.model, dispose }, samples: shared.samples };
    } catch (error) {
      release();
      throw error;
    }
  }
}

function composed(backbone: Backbone, head: LoadedModel): LoadedModel {
  try {
    return onBackbone(backbone, head);
  } catch (error) {
    head.dispose();
    throw error;
  }
}

function once(work: () => void): () => void {
  let isDone = false;
  return () => {
    if (!isDone) work();
    isDone = true;
  };
}
