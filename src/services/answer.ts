/** The operations that answer questions. An answer is a prediction of `chatflow/<id>`; its text is followed as it grows. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  AbortAnswersRequest,
  ChatflowService,
  CreateAnswerRequest,
  StreamAnswerRequest,
  StreamAnswerResponseSchema,
} from "../../gen/auspex/v1/chatflow_pb.ts";
import { AuspexError } from "../domain/error.ts";
import { isTerminal, type Prediction } from "../domain/prediction.ts";
import type { EngineLog } from "../engine/engine.ts";
import type { PredictionStore } from "../store/store.ts";
import { AnswerFailed } from "./answer-failed.ts";
import { answerMessage, askedOfQuestion, questionPath, sourcesOf } from "./answer-message.ts";
import { anySignal } from "./any-signal.ts";
import type { CallContext, Operations } from "./call.ts";
import { passageMessage } from "./chat-record.ts";
import type { ChatflowAccess } from "./chatflow-access.ts";
import { durationMs } from "./check.ts";
import { type AnswerIntake, askedHash } from "./flow/answer-intake.ts";
import type { AnswersInFlight } from "./flow/answers-in-flight.ts";
import { DRAFT_START, type Draft, draftHint } from "./flow/draft.ts";
import type { Hints, Subscription } from "./hints.ts";
import { type Cancel, readPrediction } from "./prediction-cancel.ts";
import type { PredictionCreation } from "./prediction-creation.ts";
import { type Limits, validate } from "./validation.ts";

const DEADLINE_DEFAULT_MS = 60_000;
/** Past its deadline an answer that is made has failed by then; one that nobody has begun to make has not. */
const GRACE_MS = 1000;

export interface AnswerOptions {
  readonly predictions: PredictionStore;
  readonly access: ChatflowAccess;
  readonly intake: AnswerIntake;
  readonly inFlight: AnswersInFlight;
  readonly creation: PredictionCreation;
  readonly cancel: Cancel;
  readonly hints: Hints;
  readonly limits: Limits;
  /** Answers that are streamed at once. */
  readonly streamsMax: number;
  /** Aborted when what runs has had its time to end. */
  readonly ending: AbortSignal;
  readonly log: EngineLog;
}

type StreamEvent = MessageInitShape<typeof StreamAnswerResponseSchema>;
type Part = Pick<Operations<typeof ChatflowService>, "createAnswer" | "streamAnswer" | "abortAnswers">;

export interface AnswerOperations extends Part {
  /** Answers that are streamed now. */
  streams(): number;
}

export function createAnswerOperations(options: AnswerOptions): AnswerOperations {
  const { predictions, access, intake, inFlight, creation, hints, limits, streamsMax, ending, log } = options;
  let streams = 0;

  /** Durable, with its deadline in milliseconds from now. */
  async function begin(request: CreateAnswerRequest | StreamAnswerRequest, call: CallContext) {
    const flow = await access.question(request.chatflowId, call);
    const deadlineMs = request.deadline ? durationMs(request.deadline) : DEADLINE_DEFAULT_MS;
    const requestId = "requestId" in request ? request.requestId : "";
    let requestHash = "";
    const asked = intake.accept(flow, questionPath, (complain) => {
      // Validated: there is one.
      if (!request.question) throw new Error("no question");
      const given = askedOfQuestion(request.question, complain);
      if (requestId !== "") requestHash = askedHash(flow.id, deadlineMs, given);
      return given;
    });
    const prediction = await creation.createAnswer({ flow, asked, deadlineMs, requestId, requestHash });
    return { prediction, asked, deadlineMs };
  }

  /** Stops one that nobody waits for any more; it may have ended by itself. */
  async function stop({ principal, id }: Pick<Prediction, "principal"> & { id: string }): Promise<boolean> {
    try {
      await options.cancel(principal, id);
      return true;
    } catch (error) {
      const { code } = AuspexError.from(error);
      if (code !== "failed_precondition" && code !== "not_found")
        log.error({ err: error, id }, "an answer could not be stopped");
      return false;
    }
  }

  async function create(request: CreateAnswerRequest, call: CallContext): Promise<Prediction> {
    validate(request, limits);
    const { prediction, deadlineMs } = await begin(request, call);
    const ended = await creation.waitFor(prediction, deadlineMs + GRACE_MS, call);
    if (isTerminal(ended.status)) return ended;
    if (ending.aborted) throw shuttingDown(prediction.id);
    // Who may ask for it again by its request id may have lost only the connection.
    if (!call.signal.aborted || request.requestId === "") await stop(ended);
    if (call.signal.aborted) throw new AuspexError("canceled", "the caller went away");
    throw new AuspexError("deadline_exceeded", "its deadline passed before it was finished");
  }

  async function* stream(request: StreamAnswerRequest, call: CallContext): AsyncGenerator<StreamEvent> {
    validate(request, limits);
    if (streams >= streamsMax) {
      throw new AuspexError("resource_exhausted", `the server streams ${streams} answers already`, {
        retryAfterMs: 1000,
      });
    }
    streams++;
    try {
      const { prediction, asked, deadlineMs } = await begin(request, call);
      const { id } = prediction;
      const changes = hints.subscribe(id, draftHint(id));
      const late = new AbortController();
      const timer = setTimeout(() => late.abort(), deadlineMs + GRACE_MS);
      const waiting = anySignal(call.signal, ending, late.signal);
      let isOver = false;
      try {
        yield event("started", { predictionId: id, chatId: asked.chatId, sessionId: asked.sessionId });
        for await (const next of follow(prediction, changes, waiting.signal)) {
          if (next.kind === "ended") {
            isOver = true;
            yield event("answer", answerMessage(requireSucceeded(next.prediction)));
          } else yield next.event;
        }
        if (!isOver && ending.aborted) {
          // The next server takes it up.
          isOver = true;
          throw shuttingDown(id);
        }
        if (!isOver && late.signal.aborted)
          throw new AuspexError("deadline_exceeded", "its deadline passed before it was finished");
      } finally {
        clearTimeout(timer);
        waiting.release();
        changes.close();
        // What a stopping server leaves goes on with the next one.
        if (!isOver && !ending.aborted) await stop(prediction);
      }
    } finally {
      streams--;
    }
  }

  type Followed =
    | { readonly kind: "event"; readonly event: StreamEvent }
    | { readonly kind: "ended"; readonly prediction: Prediction };

  /** What an answer comes to, piece by piece; its end last, unless the signal is aborted before. */
  async function* follow(
    { principal, id }: Prediction,
    changes: Subscription,
    signal: AbortSignal,
  ): AsyncGenerator<Followed> {
    let draft: Draft | undefined;
    let hasSources = false;
    let place = DRAFT_START;
    while (!signal.aborted) {
      // The draft that is followed stays the one, also when the answer is made anew: what was read cannot be unread.
      draft ??= inFlight.draft(id);
      const state = !draft || draft.isOver ? await readPrediction(predictions, principal, id) : undefined;
      const ended = state && isTerminal(state.status) ? state : undefined;
      const come = draft ?? (ended && whole(ended));
      if (come?.sources && !hasSources) {
        hasSources = true;
        if (come.sources.length > 0)
          yield { kind: "event", event: event("sources", { passages: come.sources.map(passageMessage) }) };
      }
      for (let next = come?.since(place); come && next && next.text !== ""; next = come.since(place)) {
        place = next.place;
        yield { kind: "event", event: event("token", next.text) };
        if (signal.aborted) return;
      }
      if (ended) {
        yield { kind: "ended", prediction: ended };
        return;
      }
      await changes.next(signal);
    }
  }

  async function abort({ chatflowId, chatId }: AbortAnswersRequest, call: CallContext): Promise<number> {
    const flow = await access.asked(chatflowId, call);
    const stopped = inFlight.ofChat(flow.id, chatId).map((id) => stop({ principal: flow.principal, id }));
    return (await Promise.all(stopped)).filter((wasStopped) => wasStopped).length;
  }

  return {
    createAnswer: async (request, call) => ({
      answer: answerMessage(requireSucceeded(await create(request, call))),
    }),
    streamAnswer: stream,
    async abortAnswers(request, call) {
      validate(request, limits);
      return { aborted: await abort(request, call) };
    },
    streams: () => streams,
  };
}

type EventOf = NonNullable<StreamEvent["event"]>;

function event<C extends NonNullable<EventOf["case"]>>(
  name: C,
  value: Extract<EventOf, { case: C }>["value"],
): StreamEvent {
  return { event: { case: name, value } as EventOf };
}

/** What one that has ended came to, for who did not follow it: in one piece. */
function whole({ output }: Prediction): Pick<Draft, "since" | "sources"> {
  const json = output?.json ?? {};
  const text = typeof json.text === "string" ? json.text : "";
  const sources = sourcesOf(json).map((passage) => ({ ...passage, id: 0 }));
  const end = { block: 0, at: text.length };
  return { sources, since: ({ at }) => ({ text: text.slice(at), place: end }) };
}

function requireSucceeded(prediction: Prediction): Prediction {
  const { id, status, error } = prediction;
  if (status === "succeeded") return prediction;
  if (status === "canceled") throw new AnswerFailed(id, "aborted", "the answer was aborted");
  throw new AnswerFailed(id, error?.code ?? "internal", error?.message ?? "internal error");
}

function shuttingDown(id: string): AuspexError {
  return new AuspexError("unavailable", `the server is shutting down; prediction ${id} goes on later`);
}
