/** What a chat window asks before anything else (spec/studio.md §2.8). */
import { create } from "@bufbuild/protobuf";
import {
  GetChatbotRequestSchema,
  type GetChatbotResponse,
  GetChatbotResponseSchema,
} from "../../../../gen/auspex/v1/chatflow_pb.ts";
import type { JsonObject } from "../../../domain/payload.ts";
import { type Answer, type Exchange, json, type Route } from "./door.ts";
import { withFlow } from "./errors.ts";
import { extensionOf } from "./media-type.ts";
import { pathPart } from "./request.ts";

export const CHATBOT_ROUTES: readonly Route[] = [
  {
    method: "GET",
    path: "/chatflows-streaming/:id",
    audience: "asker",
    handle: async (exchange) => json({ isStreaming: (await readChatbot(exchange)).streaming }),
  },
  {
    method: "GET",
    path: "/chatflows-uploads/:id",
    audience: "asker",
    handle: async (exchange) => json(renderUploads(await readChatbot(exchange))),
  },
  { method: "GET", path: "/public-chatbotConfig/:id", audience: "asker", handle: getConfig },
];

async function readChatbot({ services, request, call }: Exchange): Promise<GetChatbotResponse> {
  const chatflowId = pathPart(request, "id");
  const message = create(GetChatbotRequestSchema, { chatflowId });
  const answer = await withFlow(chatflowId, () => services.chatflows.getChatbot(message, call));
  return create(GetChatbotResponseSchema, answer);
}

async function getConfig(exchange: Exchange): Promise<Answer> {
  const chatbot = await readChatbot(exchange);
  const { allowedOrigins, allowedOriginsError, ...config } = chatbot.chatbot ?? {};
  return json({
    ...(chatbot.followUpPrompts.length > 0 && { followUpPrompts: { status: true } }),
    ...config,
    uploads: renderUploads(chatbot),
    // What a flow is made of is its creator's; windows look for nodes in it, and find none.
    flowData: JSON.stringify({ nodes: [], edges: [] }),
    isTTSEnabled: false,
  });
}

const MIB = 1024 ** 2;

function renderUploads(chatbot: GetChatbotResponse): JsonObject {
  const maxUploadSize = Math.floor(Number(chatbot.maxUploadBytes) / MIB);
  const extensions = chatbot.documentTypes.flatMap((type) => extensionOf(type) ?? []);
  return {
    isSpeechToTextEnabled: false,
    isImageUploadAllowed: chatbot.pictures,
    isRAGFileUploadAllowed: chatbot.documents,
    imgUploadSizeAndTypes: chatbot.pictures ? [{ fileTypes: [...chatbot.pictureTypes], maxUploadSize }] : [],
    fileUploadSizeAndTypes: chatbot.documents
      ? [{ fileTypes: extensions.map((extension) => `.${extension}`), maxUploadSize }]
      : [],
  };
}
