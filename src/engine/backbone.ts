/** Which version a head stands on. */
import { parseModelRef } from "../domain/model.ts";
import { CATALOGUE_OWNER } from "../domain/principal.ts";
import { type Entry, isSettled, label, type ModelShelf } from "./model-shelf.ts";

/**
 * The version that a version's `auspex.json` names as its backbone, which may still have to be loaded; null when it
 * names none.
 * @throws Error with the reason why it cannot be one
 */
export function findBackbone(shelf: ModelShelf, { place, view }: Entry): Entry | null {
  const name = view.manifest?.backbone ?? null;
  if (name === null) return null;
  const ref = parseModelRef(name);
  if (ref?.version === undefined) throw new Error(`its backbone ${name} is no version`);
  // Others may not learn whether there is one, and what it sees.
  if (ref.owner !== CATALOGUE_OWNER && ref.owner !== place.owner)
    throw new Error(`its backbone ${name} is neither ${place.owner}'s nor the catalogue's`);
  const entry = shelf.find(ref.owner, ref.name, ref.version);
  if (!entry) throw new Error(`its backbone ${name} is not there`);
  // Also what keeps two from waiting for one another.
  if (name === label(place) || (entry.view.manifest?.backbone ?? null) !== null)
    throw new Error(`its backbone ${name} has a backbone itself`);
  if (!isSettled(entry)) return entry;
  const { manifest, state } = entry.view;
  // One that is no longer kept loaded for its own sake is as good as any.
  if ((entry.phase !== "ready" && entry.phase !== "retired") || !manifest)
    throw new Error(
      `its backbone ${name} ${state.kind === "failed" ? `failed: ${state.reason}` : "is gone"}`,
    );
  if (manifest.embedding === null) throw new Error(`its backbone ${name} names no embedding`);
  return entry;
}
