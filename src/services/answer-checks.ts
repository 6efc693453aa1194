/**
 * What well-formed requests for answers are; a part of the table in `validation.ts`. What is asked is held to its flow
 * in `flow/answer-intake.ts`.
 */
import type {
  AbortAnswersRequest,
  CreateAnswerRequest,
  StreamAnswerRequest,
} from "../../gen/auspex/v1/chatflow_pb.ts";
import { chatId, flowId } from "./chatflow-checks.ts";
import { type Check, type Complain, duration, type Limits, length, plainJson } from "./check.ts";

/** As long as the slowest generator may take. */
const DEADLINE_MAX_MS = 600_000;
const REQUEST_ID_LENGTH_MAX = 255;

function answer(
  { chatflowId, question, deadline }: CreateAnswerRequest | StreamAnswerRequest,
  complain: Complain,
  limits: Limits,
): void {
  flowId(complain, "chatflow_id", chatflowId);
  if (!question) complain("question", "required", "is required");
  else if (question.overrides)
    plainJson(complain, "question.overrides", question.overrides, limits.MAX_JSON_DEPTH);
  if (deadline) duration(complain, "deadline", deadline, DEADLINE_MAX_MS, true);
}

export const ANSWER_CHECKS = {
  "auspex.v1.CreateAnswerRequest": ((request, complain, limits) => {
    answer(request, complain, limits);
    length(complain, "request_id", request.requestId, REQUEST_ID_LENGTH_MAX);
  }) as Check<CreateAnswerRequest>,
  "auspex.v1.StreamAnswerRequest": answer as Check<StreamAnswerRequest>,
  "auspex.v1.AbortAnswersRequest": ((request, complain) => {
    flowId(complain, "chatflow_id", request.chatflowId);
    chatId(complain, request.chatId);
  }) as Check<AbortAnswersRequest>,
};
