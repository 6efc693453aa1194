/** What well-formed requests to ChatflowService's documents are; a part of the table in `validation.ts`. */
import type { JsonObject } from "@bufbuild/protobuf";
import type {
  CreateAttachmentsRequest,
  Document,
  GetChatFileRequest,
  UpsertDocumentsRequest,
} from "../../gen/auspex/v1/chatflow_pb.ts";
import { chatId, flowId } from "./chatflow-checks.ts";
import { type Check, type Complain, type Limits, length, plainJson } from "./check.ts";

const DOCUMENTS_MAX = 100;
/** As uploads of a question. */
const ATTACHMENTS_MAX = 16;
/** What file systems allow. */
const NAME_LENGTH_MAX = 255;
const MEDIA_TYPE_LENGTH_MAX = 255;
/** It is kept with every passage of its document. */
const METADATA_BYTES_MAX = 4096;

function documents(
  complain: Complain,
  given: readonly Document[],
  max: number,
  { MAX_JSON_DEPTH }: Limits,
): void {
  if (given.length === 0) complain("documents", "required", "must hold a document");
  if (given.length > max) {
    complain("documents", "too_many", `has ${given.length} entries; at most ${max} are allowed`);
    return;
  }
  for (const [index, document] of given.entries()) {
    const at = (field: string) => `documents[${index}].${field}`;
    fileName(complain, at("name"), document.name);
    length(complain, at("media_type"), document.mediaType, MEDIA_TYPE_LENGTH_MAX);
    if (document.content.length === 0) complain(at("content"), "required", "must hold the document's bytes");
    if (document.metadata) metadata(complain, at("metadata"), document.metadata, MAX_JSON_DEPTH);
  }
}

function metadata(complain: Complain, field: string, given: JsonObject, depthMax: number): void {
  if (plainJson(complain, field, given, depthMax)) {
    const bytes = Buffer.byteLength(JSON.stringify(given));
    if (bytes > METADATA_BYTES_MAX) {
      const description = `has ${bytes} bytes of JSON; at most ${METADATA_BYTES_MAX} are allowed`;
      complain(field, "too_large", description);
    }
  }
}

function fileName(complain: Complain, field: string, value: string): void {
  if (value.trim() === "") complain(field, "required", "is required");
  else if (/\p{Cc}/u.test(value)) complain(field, "format", "must not hold control characters");
  length(complain, field, value, NAME_LENGTH_MAX);
}

/** Sizes of passages are held against the flow's by the operation. */
export const DOCUMENT_CHECKS = {
  "auspex.v1.UpsertDocumentsRequest": ((request, complain, limits) => {
    flowId(complain, "chatflow_id", request.chatflowId);
    documents(complain, request.documents, DOCUMENTS_MAX, limits);
  }) as Check<UpsertDocumentsRequest>,
  "auspex.v1.CreateAttachmentsRequest": ((request, complain, limits) => {
    flowId(complain, "chatflow_id", request.chatflowId);
    chatId(complain, request.chatId);
    documents(complain, request.documents, ATTACHMENTS_MAX, limits);
  }) as Check<CreateAttachmentsRequest>,
  "auspex.v1.GetChatFileRequest": ((request, complain) => {
    flowId(complain, "chatflow_id", request.chatflowId);
    chatId(complain, request.chatId);
    fileName(complain, "name", request.name);
  }) as Check<GetChatFileRequest>,
};
