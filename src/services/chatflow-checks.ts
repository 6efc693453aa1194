/**
 * What well-formed requests to ChatflowService's flows, messages and history are; a part of the table in
 * `validation.ts`. Definitions are in `chatflow-definition.ts`, for they need more than the request.
 */
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import {
  type CreateChatflowKeyRequest,
  type CreateChatflowRequest,
  type CreateLeadRequest,
  type DeleteChatflowKeyRequest,
  type DeleteChatflowRequest,
  type DeleteMessagesRequest,
  type DeleteUpsertsRequest,
  type GetChatbotRequest,
  type GetChatflowRequest,
  type ListChatflowsRequest,
  type ListLeadsRequest,
  type ListMessagesRequest,
  type ListRatingsRequest,
  type ListUpsertsRequest,
  type MessageFilter,
  type RateMessageRequest,
  RatingValue,
  type UpdateChatflowRequest,
} from "../../gen/auspex/v1/chatflow_pb.ts";
import { parseUuid } from "../domain/id.ts";
import { type Check, type Complain, length, page, timestampUs } from "./check.ts";

/** Those of flows and upserts are whole definitions and passages; the others are a few lines each. */
export const FLOW_PAGE_MAX = 100;
export const MESSAGE_PAGE_MAX = 1000;
/** A name of a model part, or a UUID. */
const FLOW_ID_LENGTH_MAX = 64;
export const FLOW_NAME_LENGTH_MAX = 180;
/** Of a conversation or a session: callers choose them. */
const CHAT_ID_LENGTH_MAX = 255;
const UPSERTS_MAX = 100;
const COMMENT_LENGTH_MAX = 4096;
const LEAD_NAME_LENGTH_MAX = 180;
/** 64 of the local part, an at sign, 255 of the domain (RFC 3696 errata). */
const EMAIL_LENGTH_MAX = 320;
const PHONE_LENGTH_MAX = 64;
const RATINGS: ReadonlySet<RatingValue> = new Set([RatingValue.THUMBS_UP, RatingValue.THUMBS_DOWN]);

/** An id that nobody gave to a flow is one that is not found; only what could not be one by its length is refused. */
export function flowId(complain: Complain, field: string, value: string): void {
  if (value === "") complain(field, "required", "is required");
  length(complain, field, value, FLOW_ID_LENGTH_MAX);
}

export function chatId(complain: Complain, value: string): void {
  if (value === "") complain("chat_id", "required", "is required");
  length(complain, "chat_id", value, CHAT_ID_LENGTH_MAX);
}

export function flowName(complain: Complain, field: string, value: string): void {
  if (value.trim() === "") complain(field, "required", "is required");
  length(complain, field, value, FLOW_NAME_LENGTH_MAX);
}

function uuidAt(complain: Complain, field: string, value: string): void {
  if (parseUuid(value) === undefined) complain(field, "format", "must be a UUID");
}

function period(
  complain: Complain,
  prefix: string,
  {
    startTime,
    endTime,
  }: { readonly startTime?: Timestamp | undefined; readonly endTime?: Timestamp | undefined },
): void {
  for (const [field, time] of [
    ["start_time", startTime],
    ["end_time", endTime],
  ] as const) {
    if (time && Number.isNaN(timestampUs(time))) complain(prefix + field, "out_of_range", "is not a time");
  }
}

function filter(complain: Complain, given: MessageFilter | undefined): void {
  if (!given) return;
  length(complain, "filter.chat_id", given.chatId, CHAT_ID_LENGTH_MAX);
  length(complain, "filter.session_id", given.sessionId, CHAT_ID_LENGTH_MAX);
  length(complain, "filter.message_id", given.messageId, CHAT_ID_LENGTH_MAX);
  length(complain, "filter.memory_type", given.memoryType, CHAT_ID_LENGTH_MAX);
  period(complain, "filter.", given);
  if (given.ratings.length > RATINGS.size) {
    const description = `has ${given.ratings.length} entries; at most ${RATINGS.size} are allowed`;
    complain("filter.ratings", "too_many", description);
  } else if (!given.ratings.every((value) => RATINGS.has(value))) {
    complain("filter.ratings", "unknown", "must be of RATING_VALUE_THUMBS_UP and RATING_VALUE_THUMBS_DOWN");
  }
}

const byFlow: Check<{ readonly id: string }> = ({ id }, complain) => flowId(complain, "id", id);

function rate(request: RateMessageRequest, complain: Complain): void {
  const { messageId, ratingId, value } = request;
  flowId(complain, "chatflow_id", request.chatflowId);
  if (ratingId === "") chatId(complain, request.chatId);
  else length(complain, "chat_id", request.chatId, CHAT_ID_LENGTH_MAX);
  if (messageId === "" && ratingId === "") {
    complain("message_id", "required", "is required, or else rating_id");
  }
  if (messageId !== "") uuidAt(complain, "message_id", messageId);
  if (ratingId !== "") uuidAt(complain, "rating_id", ratingId);
  if (value === RatingValue.UNSPECIFIED ? ratingId === "" : !RATINGS.has(value)) {
    const description = "must be RATING_VALUE_THUMBS_UP or RATING_VALUE_THUMBS_DOWN";
    complain("value", value === RatingValue.UNSPECIFIED ? "required" : "unknown", description);
  }
  length(complain, "comment", request.comment, COMMENT_LENGTH_MAX);
}

function lead(request: CreateLeadRequest, complain: Complain): void {
  const { name, email, phone } = request;
  flowId(complain, "chatflow_id", request.chatflowId);
  chatId(complain, request.chatId);
  if (`${name}${email}${phone}`.trim() === "") {
    complain("email", "required", "is required, or else name or phone");
  }
  length(complain, "name", name, LEAD_NAME_LENGTH_MAX);
  length(complain, "email", email, EMAIL_LENGTH_MAX);
  length(complain, "phone", phone, PHONE_LENGTH_MAX);
}

function upserts({ ids }: DeleteUpsertsRequest, complain: Complain): void {
  if (ids.length === 0) complain("ids", "required", "must hold at least one id");
  if (ids.length > UPSERTS_MAX) {
    complain("ids", "too_many", `has ${ids.length} entries; at most ${UPSERTS_MAX} are allowed`);
    return;
  }
  for (const [index, id] of ids.entries()) uuidAt(complain, `ids[${index}]`, id);
}

export const CHATFLOW_CHECKS = {
  "auspex.v1.CreateChatflowRequest": (({ name }, complain) =>
    flowName(complain, "name", name)) as Check<CreateChatflowRequest>,
  "auspex.v1.GetChatflowRequest": byFlow as Check<GetChatflowRequest>,
  "auspex.v1.ListChatflowsRequest": ((request, complain) =>
    page(complain, request, FLOW_PAGE_MAX)) as Check<ListChatflowsRequest>,
  "auspex.v1.UpdateChatflowRequest": ((request, complain) => {
    flowId(complain, "id", request.id);
    if (request.name !== "") flowName(complain, "name", request.name);
    else if (!request.definition) complain("definition", "required", "is required, or else name");
  }) as Check<UpdateChatflowRequest>,
  "auspex.v1.DeleteChatflowRequest": byFlow as Check<DeleteChatflowRequest>,
  "auspex.v1.CreateChatflowKeyRequest": ((request, complain) => {
    flowId(complain, "chatflow_id", request.chatflowId);
    length(complain, "name", request.name, FLOW_NAME_LENGTH_MAX);
  }) as Check<CreateChatflowKeyRequest>,
  "auspex.v1.DeleteChatflowKeyRequest": ((request, complain) => {
    flowId(complain, "chatflow_id", request.chatflowId);
    uuidAt(complain, "key_id", request.keyId);
  }) as Check<DeleteChatflowKeyRequest>,
  "auspex.v1.GetChatbotRequest": ((request, complain) =>
    flowId(complain, "chatflow_id", request.chatflowId)) as Check<GetChatbotRequest>,
  "auspex.v1.ListUpsertsRequest": ((request, complain) => {
    flowId(complain, "chatflow_id", request.chatflowId);
    period(complain, "", request);
    page(complain, request, FLOW_PAGE_MAX);
  }) as Check<ListUpsertsRequest>,
  "auspex.v1.DeleteUpsertsRequest": upserts as Check<DeleteUpsertsRequest>,
  "auspex.v1.ListMessagesRequest": ((request, complain) => {
    flowId(complain, "chatflow_id", request.chatflowId);
    filter(complain, request.filter);
    page(complain, request, MESSAGE_PAGE_MAX);
  }) as Check<ListMessagesRequest>,
  "auspex.v1.DeleteMessagesRequest": ((request, complain) => {
    flowId(complain, "chatflow_id", request.chatflowId);
    filter(complain, request.filter);
  }) as Check<DeleteMessagesRequest>,
  "auspex.v1.RateMessageRequest": rate as Check<RateMessageRequest>,
  "auspex.v1.ListRatingsRequest": ((request, complain) => {
    flowId(complain, "chatflow_id", request.chatflowId);
    length(complain, "chat_id", request.chatId, CHAT_ID_LENGTH_MAX);
    period(complain, "", request);
    page(complain, request, MESSAGE_PAGE_MAX);
  }) as Check<ListRatingsRequest>,
  "auspex.v1.CreateLeadRequest": lead as Check<CreateLeadRequest>,
  "auspex.v1.ListLeadsRequest": ((request, complain) => {
    flowId(complain, "chatflow_id", request.chatflowId);
    page(complain, request, MESSAGE_PAGE_MAX);
  }) as Check<ListLeadsRequest>,
};
