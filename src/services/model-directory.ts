/** From the name that a caller wrote to the version that runs, with the caller's rights and aliases applied. */

import { AuspexError } from "../domain/error.ts";
import { isOutsideId, type ModelRef, type ModelVersion, mayUse, parseModelRef } from "../domain/model.ts";
import type { Principal } from "../domain/principal.ts";
import type { ModelRegistry } from "../engine/engine.ts";
import type { AliasStore } from "../store/store.ts";

export interface ModelDirectory {
  /**
   * The ready version that a reference means. Rejects with `not_found` for what does not exist or is not the
   * caller's, `failed_precondition` for what exists and cannot serve.
   */
  resolve(principal: Principal, reference: string): Promise<ModelVersion>;
}

export function createModelDirectory(models: ModelRegistry, aliases: AliasStore): ModelDirectory {
  const notFound = (reference: string) => new AuspexError("not_found", `model ${reference} does not exist`);

  function find({ owner, name, version }: ModelRef): ModelVersion | undefined {
    return version === undefined ? models.latest(owner, name) : models.get(owner, name, version);
  }

  function unready(ref: ModelRef, reference: string): AuspexError {
    const known = models.list().filter((v) => v.owner === ref.owner && v.name === ref.name);
    const [first] = ref.version === undefined ? known : known.filter((v) => v.version === ref.version);
    if (!first) return notFound(reference);
    const why = first.state.kind === "failed" ? first.state.reason : "it is being loaded";
    return new AuspexError(
      "failed_precondition",
      `version ${first.version} of ${reference} is not ready: ${why}`,
    );
  }

  return {
    async resolve(principal, reference) {
      let ref = parseModelRef(reference);
      if (!ref && !isOutsideId(reference)) throw notFound(reference);
      let version = ref && mayUse(principal, ref.owner) ? find(ref) : undefined;
      if (!version) {
        const alias = await aliases.get(principal.name, ref ? `${ref.owner}/${ref.name}` : reference);
        const target = alias && parseModelRef(alias.target);
        if (target) {
          ref = { ...target, version: ref?.version ?? target.version };
          version = mayUse(principal, ref.owner) ? find(ref) : undefined;
        }
      }
      if (!ref || !mayUse(principal, ref.owner)) throw notFound(reference);
      if (version?.state.kind !== "ready") throw unready(ref, reference);
      return version;
    },
  };
}
