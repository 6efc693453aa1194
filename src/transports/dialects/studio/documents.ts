/** Documents: for a flow's retriever, with their history, and for one chat alone (spec/studio.md §2.6 to §2.8). */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  CreateAttachmentsRequestSchema,
  CreateAttachmentsResponseSchema,
  DeleteUpsertsRequestSchema,
  DeleteUpsertsResponseSchema,
  type DocumentSchema,
  GetChatFileRequestSchema,
  GetChatFileResponseSchema,
  ListUpsertsRequestSchema,
  ListUpsertsResponseSchema,
  UpsertDocumentsRequestSchema,
  UpsertDocumentsResponseSchema,
} from "../../../../gen/auspex/v1/chatflow_pb.ts";
import { AuspexError } from "../../../domain/error.ts";
import { type FormFile, readFields } from "./body.ts";
import { type Answer, type Exchange, json, type Route } from "./door.ts";
import { Refused, withFlow } from "./errors.ts";
import { present, renderDate, renderUpsert } from "./render.ts";
import { collect, isDescending, pathPart, periodOf, queryOf } from "./request.ts";
import { readUpsert } from "./upsert.ts";

export const DOCUMENT_ROUTES: readonly Route[] = [
  { method: "POST", path: "/vector/upsert/:id", audience: "principal", handle: upsert },
  { method: "GET", path: "/upsert-history/:id", audience: "principal", handle: listUpserts },
  // The router of the original has the first, its documentation the second.
  { method: "PATCH", path: "/upsert-history", audience: "principal", handle: deleteUpserts },
  { method: "PATCH", path: "/upsert-history/:id", audience: "principal", handle: deleteUpserts },
  {
    method: "POST",
    path: "/attachments/:chatflowId/:chatId",
    audience: "asker",
    flow: "chatflowId",
    handle: attach,
  },
  { method: "GET", path: "/get-upload-file", audience: "asker", handle: getFile },
];

/** The most that a page has. */
const PAGE_SIZE = 100;

async function upsert({ services, config, request, call }: Exchange): Promise<Answer> {
  const chatflowId = pathPart(request, "id");
  const wanted = readUpsert(await readFields(request, config), config);
  const message = create(UpsertDocumentsRequestSchema, { chatflowId, ...wanted });
  try {
    const answer = await withFlow(chatflowId, () => services.chatflows.upsertDocuments(message, call));
    return json(renderUpsert(present(create(UpsertDocumentsResponseSchema, answer).result)));
  } catch (thrown) {
    throw failure(thrown);
  }
}

/** As the original has it, which writes this before the reason of whatever failed. */
const UPSERT_FAILED = "Error: vectorsService.upsertVector - ";

function failure(thrown: unknown): unknown {
  if (thrown instanceof Refused) return thrown;
  const { code, message } = AuspexError.from(thrown);
  if (code === "failed_precondition")
    return new Refused(500, `${UPSERT_FAILED}No vector node found: ${message}`, {}, thrown);
  return code === "internal" ? new Refused(500, UPSERT_FAILED + message, {}, thrown) : thrown;
}

async function listUpserts({ services, request, call }: Exchange): Promise<Answer> {
  const [query, chatflowId] = [queryOf(request), pathPart(request, "id")];
  const filter = { chatflowId, ...periodOf(query), descending: isDescending(query) };
  const upserts = await withFlow(chatflowId, () =>
    collect(query, async (pageToken) => {
      const message = create(ListUpsertsRequestSchema, { ...filter, pageSize: PAGE_SIZE, pageToken });
      const answer = create(ListUpsertsResponseSchema, await services.chatflows.listUpserts(message, call));
      return { items: answer.upserts, nextPageToken: answer.nextPageToken };
    }),
  );
  return json(
    upserts.map((row) => ({
      id: row.id,
      chatflowid: chatflowId,
      result: renderUpsert(row),
      flowData: {},
      date: renderDate(row.createTime),
    })),
  );
}

async function deleteUpserts({ services, config, request, call }: Exchange): Promise<Answer> {
  const { values } = await readFields(request, config);
  const ids = values.get("ids");
  if (!Array.isArray(ids) || ids.length === 0 || !ids.every((id) => typeof id === "string")) {
    throw new Refused(400, "ids: must be a list of upserts' ids, and not empty");
  }
  const answer = await services.chatflows.deleteUpserts(create(DeleteUpsertsRequestSchema, { ids }), call);
  return json({ raw: [], affected: create(DeleteUpsertsResponseSchema, answer).deleted });
}

async function attach({ services, config, request, call }: Exchange): Promise<Answer> {
  const [chatflowId, chatId] = [pathPart(request, "chatflowId"), pathPart(request, "chatId")];
  const { files } = await readFields(request, config);
  if (files.length === 0) throw new Refused(400, "files: is required");
  const message = create(CreateAttachmentsRequestSchema, {
    chatflowId,
    chatId,
    documents: files.map(documentOf),
  });
  const answer = await withFlow(chatflowId, () => services.chatflows.createAttachments(message, call));
  return json(
    create(CreateAttachmentsResponseSchema, answer).attachments.map(({ name, mediaType, size, content }) => ({
      name,
      mimeType: mediaType,
      size: Number(size),
      content,
    })),
  );
}

function documentOf({ name, mediaType, bytes }: FormFile): MessageInitShape<typeof DocumentSchema> {
  return { name, mediaType, content: bytes };
}

async function getFile({ services, request, call }: Exchange): Promise<Answer> {
  const query = queryOf(request);
  const text = (field: string) => {
    const value = query.get(field);
    if (!value) throw new Refused(400, `${field}: is required`);
    return value;
  };
  const [chatflowId, chatId, name] = [text("chatflowId"), text("chatId"), text("fileName")];
  const message = create(GetChatFileRequestSchema, { chatflowId, chatId, name });
  const answer = create(GetChatFileResponseSchema, await services.chatflows.getChatFile(message, call));
  return {
    headers: {
      // Somebody uploaded it: it is not to run as a page of ours, whatever it is.
      "content-disposition": `attachment; filename*=UTF-8''${encodeRfc5987(name)}`,
      "x-content-type-options": "nosniff",
      "content-security-policy": "default-src 'none'; sandbox",
    },
    body: { kind: "bytes", bytes: answer.content, mediaType: headerType(answer.mediaType) },
  };
}

/** Uploaded types are anybody's words, and not all words may stand in a header. */
function headerType(mediaType: string): string {
  return /^[\w.+-]+\/[\w.+-]+$/.test(mediaType) ? mediaType : "application/octet-stream";
}

/** RFC 8187 §3.2.1 leaves fewer characters as they are than an URL does. */
function encodeRfc5987(text: string): string {
  const hex = (char: string) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`;
  return encodeURIComponent(text.toWellFormed()).replaceAll(/['()*]/g, hex);
}
