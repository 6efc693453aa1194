/** Why a call on a dataset, or on what is in one, is refused. */
import { AuspexError } from "../domain/error.ts";
import type { DatasetRefusal } from "../store/dataset-store.ts";

/** Numbers that a double cannot hold exactly were never given out; nothing has the number 0. */
export function numberOf(id: bigint): number {
  return id > BigInt(Number.MAX_SAFE_INTEGER) ? 0 : Number(id);
}

export function unknownDataset(id: bigint | number): AuspexError {
  return new AuspexError("not_found", `dataset ${id} does not exist`);
}

/** Why a dataset cannot be changed. */
export function refusal({ kind }: DatasetRefusal, id: bigint | number): AuspexError {
  switch (kind) {
    case "unknown":
      return unknownDataset(id);
    case "failed":
      return new AuspexError(
        "failed_precondition",
        `dataset ${id} has no labels: its zip could not be taken up`,
      );
    case "importing":
      return new AuspexError("failed_precondition", `a zip is being added to dataset ${id}; try again later`);
    default:
      return kind satisfies never;
  }
}
