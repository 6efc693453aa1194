/** Deletions as messages of the API. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type DeletionSchema, DeletionState as StateMessage } from "../../gen/auspex/v1/dataset_pb.ts";
import type { Deletion, DeletionState } from "../domain/dataset.ts";
import { timeMessage } from "./message.ts";

const STATE = {
  queued: StateMessage.QUEUED,
  running: StateMessage.RUNNING,
  succeeded: StateMessage.SUCCEEDED,
  failed: StateMessage.FAILED,
} as const satisfies Record<DeletionState, StateMessage>;

export function deletionMessage(deletion: Deletion): MessageInitShape<typeof DeletionSchema> {
  const { state, createdAt, principal: _, ...rest } = deletion;
  return { ...rest, state: STATE[state], createTime: timeMessage(createdAt) };
}
