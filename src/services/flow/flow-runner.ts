/**
 * One answer of one chatflow, step by step: pictures, attached documents, memory, retrieval, generator. What it says
 * grows in a draft, which readers follow. Nothing is written here: the turn goes with the end of the prediction.
 */
import type {
  Chatflow,
  ChatflowDefinition,
  ChatTurn,
  SaidMessage,
  ScoredPassage,
} from "../../domain/chatflow.ts";
import { AuspexError } from "../../domain/error.ts";
import { parseModelRef } from "../../domain/model.ts";
import type { Prediction } from "../../domain/prediction.ts";
import type { EngineLog } from "../../engine/engine.ts";
import type { ChatflowStore, ChatStore } from "../../store/chatflow-store.ts";
import { anySignal } from "../any-signal.ts";
import { type Ended, failure } from "../outcome.ts";
import type { AnswersInFlight } from "./answers-in-flight.ts";
import { type Asked, askedOfInput } from "./asked.ts";
import type { DraftWriter } from "./draft.ts";
import type { Generated, Generator, SeenPicture } from "./generator.ts";
import { type Overrides, readOverrides, withOverrides } from "./overrides.ts";
import type { Retrieval } from "./retrieval.ts";
import { searchText } from "./search-text.ts";
import { type MadeAnswer, NOTHING_SAID, outputOf, turnOf } from "./turn.ts";
import type { RunLimits, UploadReader } from "./upload-reader.ts";

/** Characters of remembered messages that reach a generator, the newest first: what language models read at once. */
const SAID_LENGTH_MAX = 400_000;

export interface FlowRunnerOptions {
  readonly chatflows: Pick<ChatflowStore, "get" | "definition">;
  readonly chats: Pick<ChatStore, "window">;
  readonly inFlight: AnswersInFlight;
  readonly uploads: UploadReader;
  readonly retrieval: Retrieval;
  readonly extractive: Generator<"extractive">;
  readonly openai: Generator<"openai">;
  /** Microseconds since the epoch. */
  readonly now: () => number;
  readonly log: EngineLog;
}

export interface FlowRun {
  readonly signal: AbortSignal;
  /** Microseconds since the epoch. */
  readonly deadlineUs: number;
  /** The error of one that did not end by then. */
  readonly tooLate: () => AuspexError;
}

export interface FlowRunner {
  /** Runs one to its end; undefined when it was aborted and there is nothing to settle. */
  run(prediction: Prediction, run: FlowRun): Promise<Ended | undefined>;
  /** What has been said of one that is about to be canceled, to be written with that. */
  canceledTurn(prediction: Prediction, at: number): Promise<ChatTurn>;
}

/** A run as far as it has come. */
interface Work {
  readonly asked: Asked;
  definition: ChatflowDefinition | undefined;
  draft: DraftWriter | undefined;
  pictures: readonly SeenPicture[];
}

export function createFlowRunner(options: FlowRunnerOptions): FlowRunner {
  const { chatflows, chats, inFlight, now, log } = options;
  const running = new Map<string, Work>();

  async function flowOf({ model, version }: Prediction): Promise<Chatflow> {
    const id = parseModelRef(model)?.name ?? "";
    const [flow, definition] = await Promise.all([chatflows.get(id), chatflows.definition(id, version)]);
    if (!flow || !definition) throw new AuspexError("not_found", `chatflow ${id} does not exist any more`);
    return { ...flow, definition };
  }

  /** What the chat remembers, with what the question brought before it; the newest that fit. */
  async function remembered({ id, definition }: Chatflow, asked: Asked): Promise<readonly SaidMessage[]> {
    const { memory } = definition;
    const window = memory
      ? await chats.window({ chatflowId: id, sessionId: asked.sessionId, limit: memory.window })
      : [];
    const all = [...asked.history, ...window].filter(({ content }) => content.trim() !== "");
    let left = SAID_LENGTH_MAX;
    const tooLong = all.findLastIndex(({ content }) => {
      left -= content.length;
      return left < 0;
    });
    return all.slice(tooLong + 1).map(({ role, content }) => ({ role, content }));
  }

  async function retrieved(
    { id, definition: { retriever } }: Chatflow,
    { chatId }: Asked,
    searched: string,
    limits: RunLimits,
  ): Promise<readonly ScoredPassage[]> {
    if (!retriever || searched.trim() === "") return [];
    return options.retrieval.search({ chatflowId: id, chatId, retriever, question: searched, ...limits });
  }

  async function make(prediction: Prediction, work: Work, limits: RunLimits): Promise<Generated> {
    const stored = await flowOf(prediction);
    work.definition = stored.definition;
    const place = { predictionId: prediction.id, chatflowId: stored.id, chatId: work.asked.chatId };
    return inFlight.make(place, limits.signal, (draft) => {
      work.draft = draft;
      return answer(stored, work, draft, limits);
    });
  }

  async function answer(
    stored: Chatflow,
    work: Work,
    draft: DraftWriter,
    limits: RunLimits,
  ): Promise<Generated> {
    const { asked } = work;
    const overrides: Overrides = readOverrides(
      asked.overrideConfig,
      stored.definition.overridable,
      "overrideConfig",
      (field, _reason, description) => {
        throw new AuspexError("invalid_argument", `${field} ${description}`);
      },
    );
    const definition = withOverrides(stored.definition, overrides);
    const flow = { ...stored, definition };
    const read = await options.uploads.read(flow, asked, limits);
    work.pictures = read.pictures;
    const said = await remembered(flow, asked);
    const searched = searchText(asked.question, said, read.pictures);
    const passages = await retrieved(flow, asked, searched, limits);
    const { retriever, generator } = definition;
    if (!retriever || retriever.returnSources) draft.found(passages);
    const request = {
      question: asked.question,
      searched,
      said,
      hasRetriever: retriever !== null,
      passages,
      documents: read.documents,
      pictures: read.pictures,
      promptValues: overrides.promptValues ?? {},
      embeddingModel: retriever && retriever.mode !== "keyword" ? retriever.model : undefined,
      ...limits,
    };
    const say = (piece: string): void => draft.say(piece);
    return generator.kind === "extractive"
      ? options.extractive.generate({ ...request, definition: generator }, say)
      : options.openai.generate({ ...request, definition: generator }, say);
  }

  function madeOf({ draft, pictures }: Work, generated?: Generated): MadeAnswer {
    return {
      text: draft?.text ?? "",
      sources: draft?.sources ?? [],
      pictures,
      usage: generated?.usage,
      stopReason: generated?.stopReason,
    };
  }

  async function run(prediction: Prediction, { signal, deadlineUs, tooLate }: FlowRun) {
    const asked = askedOfInput(prediction.input.json, () => {});
    const work: Work = { asked, definition: undefined, draft: undefined, pictures: [] };
    running.set(prediction.id, work);
    const startedAt = now();
    const deadline = new AbortController();
    const timer = setTimeout(() => deadline.abort(tooLate()), Math.max(0, (deadlineUs - startedAt) / 1000));
    const joint = anySignal(signal, deadline.signal);
    try {
      if (startedAt >= deadlineUs) throw tooLate();
      const limits = { signal: joint.signal, deadlineAt: Math.ceil(deadlineUs / 1000) };
      const generated = await make(prediction, work, limits);
      joint.signal.throwIfAborted();
      work.draft?.end();
      const made = madeOf(work, generated);
      // Set by `make`, which has ended.
      const definition = work.definition as ChatflowDefinition;
      const json = outputOf(prediction, asked, definition, made);
      return succeeded(prediction, work, made, json, startedAt);
    } catch (error) {
      if (signal.aborted) return undefined;
      const late = deadline.signal.aborted || now() >= deadlineUs;
      const known = late ? tooLate() : AuspexError.from(error);
      if (known.code === "internal")
        log.error({ err: known.cause ?? known, id: prediction.id }, "an answer failed");
      work.draft?.end();
      return {
        status: "failed",
        error: failure(known),
        executionTime: null,
        turn: turnOf(prediction, asked, work.definition, madeOf(work), { failure: known.message, at: now() }),
      } as const;
    } finally {
      clearTimeout(timer);
      joint.release();
      work.draft?.end();
      if (running.get(prediction.id) === work) running.delete(prediction.id);
    }
  }

  function succeeded(
    prediction: Prediction,
    { asked, definition }: Work,
    made: MadeAnswer,
    json: ReturnType<typeof outputOf>,
    startedAt: number,
  ): Ended {
    const at = now();
    return {
      status: "succeeded",
      output: { json, tensors: {} },
      executionTime: at - startedAt,
      turn: turnOf(prediction, asked, definition, made, { failure: "", at }),
    };
  }

  return {
    run,
    async canceledTurn(prediction, at) {
      const work = running.get(prediction.id);
      const asked = work?.asked ?? askedOfInput(prediction.input.json, () => {});
      const id = parseModelRef(prediction.model)?.name ?? "";
      const definition = work?.definition ?? (await chatflows.definition(id, prediction.version));
      const made = work ? madeOf(work) : NOTHING_SAID;
      return turnOf(prediction, asked, definition, made, { failure: "the answer was aborted", at });
    },
  };
}
