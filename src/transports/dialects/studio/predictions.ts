/** Asking a flow: `POST /prediction/{id}`, in one piece or as a stream, and stopping it. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  AbortAnswersRequestSchema,
  CreateAnswerRequestSchema,
  CreateAnswerResponseSchema,
  StreamAnswerRequestSchema,
  type StreamAnswerResponse,
  StreamAnswerResponseSchema,
} from "../../../../gen/auspex/v1/chatflow_pb.ts";
import { AuspexError } from "../../../domain/error.ts";
import { AnswerFailed } from "../../../services/answer-failed.ts";
import { readFields } from "./body.ts";
import { type Answer, type Exchange, json, type Route } from "./door.ts";
import { Refused, refusalOf, withFlow } from "./errors.ts";
import { frames } from "./events.ts";
import { type Asked, readQuestion } from "./question.ts";
import { present, renderAnswer } from "./render.ts";
import { pathPart } from "./request.ts";

export const PREDICTION_ROUTES: readonly Route[] = [
  { method: "POST", path: "/prediction/:id", audience: "asker", flow: "id", handle: predict },
  {
    method: "PUT",
    path: "/chatmessage/abort/:chatflowId/:chatId",
    audience: "asker",
    flow: "chatflowId",
    handle: abort,
  },
];

/** The most that there is: this API knows none, and a generator has its own time. */
const DEADLINE = { seconds: 600n };

async function predict(exchange: Exchange): Promise<Answer> {
  const { request, config } = exchange;
  const asked = readQuestion(await readFields(request, config), config);
  const id = pathPart(request, "id");
  try {
    return await withFlow(id, () =>
      asked.streaming ? stream(exchange, id, asked) : answer(exchange, id, asked),
    );
  } catch (thrown) {
    return plainRefusal(executionFailure(thrown) ?? refusalOf(thrown), asked.streaming);
  }
}

async function answer({ services, call }: Exchange, id: string, { question, text }: Asked): Promise<Answer> {
  const message = create(CreateAnswerRequestSchema, { chatflowId: id, question, deadline: DEADLINE });
  const answered = create(CreateAnswerResponseSchema, await services.chatflows.createAnswer(message, call));
  const complete = present(answered.answer);
  return { ...json(renderAnswer(complete, text)), headers: predictionHeader(complete.predictionId) };
}

/** Refusals are answered as without a stream: there is no head yet before the answer is `started`. */
async function stream({ services, call }: Exchange, id: string, { question, text }: Asked): Promise<Answer> {
  const message = create(StreamAnswerRequestSchema, { chatflowId: id, question, deadline: DEADLINE });
  const events = whole(services.chatflows.streamAnswer(message, call));
  const first = await events.next();
  if (first.done || first.value.event.case !== "started") {
    await events.return(undefined);
    throw new AuspexError("internal", "an answer did not begin with its start");
  }
  const { predictionId } = first.value.event.value;
  const release = () => events.return(undefined);
  return {
    headers: predictionHeader(predictionId),
    body: { kind: "events", frames: frames(events, text), release },
  };
}

async function* whole(
  responses: AsyncIterable<MessageInitShape<typeof StreamAnswerResponseSchema>>,
): AsyncGenerator<StreamAnswerResponse, undefined> {
  for await (const response of responses) yield create(StreamAnswerResponseSchema, response);
}

function predictionHeader(id: string): Readonly<Record<string, string>> {
  return { "x-prediction-id": id };
}

/** What the original says before the reason of whatever failed. */
const EXECUTION_FAILED = "Error: predictionsServices.buildChatflow - ";

/**
 * Of an answer that was begun: as in the original, 500 whatever the reason, but for what the question itself brought,
 * such as a document that cannot be read.
 */
function executionFailure(thrown: unknown): Refused | undefined {
  if (thrown instanceof Refused) return undefined;
  const error = AuspexError.from(thrown);
  const headers = error instanceof AnswerFailed ? predictionHeader(error.predictionId) : {};
  if (error.code === "invalid_argument") return new Refused(400, refusalOf(error).message, headers, thrown);
  const isLate = error.code === "deadline_exceeded";
  if (!(error instanceof AnswerFailed) && !isLate && error.code !== "internal") return undefined;
  return new Refused(500, EXECUTION_FAILED + error.message, headers, thrown);
}

/** What windows show as it is: a flow's own words for a page that may not ask, and for one that asked too often. */
function plainRefusal(refused: Refused, streaming: boolean): Answer {
  const { status, message, headers } = refused;
  if (status !== 429 && !(status === 403 && streaming)) throw refused;
  return { status, headers, body: { kind: "text", text: message } };
}

async function abort({ services, request, call }: Exchange): Promise<Answer> {
  const [chatflowId, chatId] = [pathPart(request, "chatflowId"), pathPart(request, "chatId")];
  const message = create(AbortAnswersRequestSchema, { chatflowId, chatId });
  await withFlow(chatflowId, () => services.chatflows.abortAnswers(message, call));
  return json({ status: 200, message: "Chat message aborted" });
}
