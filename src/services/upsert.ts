/** The operations on the history of upserts. */
import type { ChatflowService } from "../../gen/auspex/v1/chatflow_pb.ts";
import { AuspexError } from "../domain/error.ts";
import { parseUuid } from "../domain/id.ts";
import type { UpsertStore } from "../store/chatflow-store.ts";
import type { Operations } from "./call.ts";
import { upsertMessage } from "./chat-record.ts";
import type { ChatflowAccess } from "./chatflow-access.ts";
import { timestampUs } from "./check.ts";
import { decodePageToken, pageOf } from "./page-token.ts";
import { type Limits, validate } from "./validation.ts";

const PAGE_SIZE_DEFAULT = 25;

export interface UpsertOptions {
  readonly upserts: UpsertStore;
  readonly access: ChatflowAccess;
  readonly limits: Limits;
}

type Part = Pick<Operations<typeof ChatflowService>, "listUpserts" | "deleteUpserts">;

export function createUpsertOperations({ upserts, access, limits }: UpsertOptions): Part {
  return {
    async listUpserts(request, call) {
      validate(request, limits);
      const { startTime, endTime, descending, pageToken } = request;
      const flow = await access.owned(request.chatflowId, call);
      const size = request.pageSize || PAGE_SIZE_DEFAULT;
      const found = await upserts.list({
        chatflowId: flow.id,
        since: startTime && timestampUs(startTime),
        until: endTime && timestampUs(endTime),
        descending,
        after: decodePageToken(pageToken)?.key,
        // One more than the page tells whether there is another page.
        limit: size + 1,
      });
      const { page, nextPageToken } = pageOf(found, size, ({ id }) => id);
      return {
        upserts: page.map(upsertMessage),
        nextPageToken,
      };
    },

    async deleteUpserts(request, { principal }) {
      validate(request, limits);
      const ids = [...new Set(request.ids.map((id) => parseUuid(id) ?? id))];
      const { deletePassages } = request;
      const deleted = await upserts.delete({ principal: principal.name, ids, deletePassages });
      if (deleted === undefined) throw new AuspexError("not_found", "not all of these upserts exist");
      return { deleted };
    },
  };
}
