/** What was said in chats, what was thought of it, and who asked (spec/studio.md §2.7). */
import { create } from "@bufbuild/protobuf";
import {
  CreateLeadRequestSchema,
  CreateLeadResponseSchema,
  DeleteMessagesRequestSchema,
  DeleteMessagesResponseSchema,
  ListLeadsRequestSchema,
  ListLeadsResponseSchema,
  ListMessagesRequestSchema,
  ListMessagesResponseSchema,
  ListRatingsRequestSchema,
  ListRatingsResponseSchema,
  type MessageFilter,
  MessageFilterSchema,
  RateMessageRequestSchema,
  RateMessageResponseSchema,
  RatingValue,
} from "../../../../gen/auspex/v1/chatflow_pb.ts";
import type { JsonValue } from "../../../domain/payload.ts";
import { readFields } from "./body.ts";
import { type Answer, type Exchange, json, type Route } from "./door.ts";
import { Refused, withFlow } from "./errors.ts";
import { textField } from "./question.ts";
import { present, renderLead, renderMessage, renderRating } from "./render.ts";
import { collect, isDescending, pathPart, periodOf, queryOf, wordsOf } from "./request.ts";

export const MESSAGE_ROUTES: readonly Route[] = [
  { method: "GET", path: "/chatmessage/:id", audience: "principal", handle: listMessages },
  { method: "DELETE", path: "/chatmessage/:id", audience: "principal", handle: deleteMessages },
  { method: "POST", path: "/feedback", audience: "asker", handle: createRating },
  { method: "PUT", path: "/feedback/:id", audience: "asker", handle: changeRating },
  { method: "GET", path: "/feedback/:id", audience: "principal", handle: listRatings },
  { method: "POST", path: "/leads", audience: "asker", handle: createLead },
  { method: "GET", path: "/leads/:id", audience: "principal", handle: listLeads },
];

/** The most that a page has. */
const PAGE_SIZE = 1000;

async function listMessages({ services, request, call }: Exchange): Promise<Answer> {
  const [query, chatflowId] = [queryOf(request), pathPart(request, "id")];
  const { filter, external } = readFilter(query);
  const wanted = { chatflowId, filter, descending: isDescending(query), pageSize: PAGE_SIZE };
  const messages = await withFlow(chatflowId, () =>
    collect(query, async (pageToken) => {
      const message = create(ListMessagesRequestSchema, { ...wanted, pageToken });
      const answer = create(ListMessagesResponseSchema, await services.chatflows.listMessages(message, call));
      return { items: answer.messages, nextPageToken: answer.nextPageToken };
    }),
  );
  const withFeedback = query.get("feedback") === "true";
  // Nothing is asked from within the product itself here.
  return json(external ? messages.map((message) => renderMessage(message, withFeedback)) : []);
}

async function deleteMessages({ services, request, call }: Exchange): Promise<Answer> {
  const chatflowId = pathPart(request, "id");
  const { filter, external } = readFilter(queryOf(request));
  // A message that nobody has: the flow is still looked for.
  const meant = external ? filter : create(MessageFilterSchema, { messageId: NO_MESSAGE });
  const message = create(DeleteMessagesRequestSchema, { chatflowId, filter: meant });
  const answer = await withFlow(chatflowId, () => services.chatflows.deleteMessages(message, call));
  return json({ raw: [], affected: create(DeleteMessagesResponseSchema, answer).deleted });
}

/** RFC 9562 §5.9: no id that was ever made. */
const NO_MESSAGE = "00000000-0000-0000-0000-000000000000";

/** Throws `Refused` 400. */
function readFilter(query: URLSearchParams): { readonly filter: MessageFilter; readonly external: boolean } {
  const text = (name: string) => query.get(name) ?? "";
  const types = wordsOf(query, "chatType");
  const filter = create(MessageFilterSchema, {
    chatId: text("chatId"),
    sessionId: text("sessionId"),
    messageId: text("messageId"),
    memoryType: text("memoryType"),
    ...periodOf(query),
    ratings: wordsOf(query, "feedbackType").map((word) => ratingOf("feedbackType", word)),
  });
  return { filter, external: types.length === 0 || types.includes("EXTERNAL") };
}

function ratingOf(name: string, value: JsonValue): RatingValue {
  if (value === "THUMBS_UP") return RatingValue.THUMBS_UP;
  if (value === "THUMBS_DOWN") return RatingValue.THUMBS_DOWN;
  throw new Refused(400, `${name}: must be THUMBS_UP or THUMBS_DOWN`);
}

async function createRating(exchange: Exchange): Promise<Answer> {
  const { services, config, request, call } = exchange;
  const { values } = await readFields(request, config);
  const chatflowId = textField(values, "chatflowid") ?? "";
  const message = create(RateMessageRequestSchema, {
    chatflowId,
    chatId: textField(values, "chatId") ?? "",
    messageId: textField(values, "messageId") ?? "",
    value: ratingOf("rating", values.get("rating") ?? null),
    comment: textField(values, "content") ?? "",
  });
  const answer = create(RateMessageResponseSchema, await services.chatflows.rateMessage(message, call));
  return json(renderRating(present(answer.rating), chatflowId));
}

/** By the id that this dialect has given it, which names its flow, or by a bare one and `chatflowid`. */
async function changeRating({ services, config, request, call }: Exchange): Promise<Answer> {
  const { values } = await readFields(request, config);
  const [, ofFlow, ratingId = ""] = /^(?:(.+)\.)?([^.]+)$/.exec(pathPart(request, "id")) ?? [];
  const chatflowId = ofFlow ?? textField(values, "chatflowid") ?? "";
  const rating = values.get("rating");
  const message = create(RateMessageRequestSchema, {
    chatflowId,
    ratingId,
    ...(rating !== undefined && rating !== null && { value: ratingOf("rating", rating) }),
    comment: textField(values, "content") ?? "",
  });
  const answer = create(RateMessageResponseSchema, await services.chatflows.rateMessage(message, call));
  return json(renderRating(present(answer.rating), chatflowId));
}

async function listRatings({ services, request, call }: Exchange): Promise<Answer> {
  const [query, chatflowId] = [queryOf(request), pathPart(request, "id")];
  const filter = {
    chatflowId,
    chatId: query.get("chatId") ?? "",
    ...periodOf(query),
    descending: isDescending(query, query.has("sortOrder") ? "sortOrder" : "order"),
  };
  const ratings = await withFlow(chatflowId, () =>
    collect(query, async (pageToken) => {
      const message = create(ListRatingsRequestSchema, { ...filter, pageSize: PAGE_SIZE, pageToken });
      const answer = create(ListRatingsResponseSchema, await services.chatflows.listRatings(message, call));
      return { items: answer.ratings, nextPageToken: answer.nextPageToken };
    }),
  );
  return json(ratings.map((rating) => renderRating(rating, chatflowId)));
}

async function createLead({ services, config, request, call }: Exchange): Promise<Answer> {
  const { values } = await readFields(request, config);
  const text = (name: string) => textField(values, name) ?? "";
  const chatflowId = text("chatflowid");
  const message = create(CreateLeadRequestSchema, {
    chatflowId,
    chatId: text("chatId"),
    name: text("name"),
    email: text("email"),
    phone: text("phone"),
  });
  const answer = await withFlow(chatflowId, () => services.chatflows.createLead(message, call));
  return json(renderLead(present(create(CreateLeadResponseSchema, answer).lead)));
}

async function listLeads({ services, request, call }: Exchange): Promise<Answer> {
  const [query, chatflowId] = [queryOf(request), pathPart(request, "id")];
  const leads = await withFlow(chatflowId, () =>
    collect(query, async (pageToken) => {
      const message = create(ListLeadsRequestSchema, { chatflowId, pageSize: PAGE_SIZE, pageToken });
      const answer = create(ListLeadsResponseSchema, await services.chatflows.listLeads(message, call));
      return { items: answer.leads, nextPageToken: answer.nextPageToken };
    }),
  );
  return json(leads.map(renderLead));
}
