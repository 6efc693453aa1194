/** Puts together what makes answers: the parts of a flow, and the questions on their way in. */
import type { Config } from "../config.ts";
import type { EngineLog } from "../engine/engine.ts";
import { createEgress } from "./egress.ts";
import { type AnswerIntake, createAnswerIntake } from "./flow/answer-intake.ts";
import { type AnswersInFlight, createAnswersInFlight } from "./flow/answers-in-flight.ts";
import type { Knowledge } from "./flow/create-knowledge.ts";
import { createExtractive } from "./flow/extractive.ts";
import { createFlowRunner, type FlowRunner } from "./flow/flow-runner.ts";
import { createOpenAi } from "./flow/openai.ts";
import { createUploadReader } from "./flow/upload-reader.ts";
import type { Hints } from "./hints.ts";
import type { InputContext } from "./input.ts";
import type { ModelDirectory } from "./model-directory.ts";

export interface AnsweringOptions {
  readonly input: InputContext;
  readonly directory: ModelDirectory;
  readonly knowledge: Knowledge;
  readonly hints: Hints;
  readonly config: Config;
  /** Microseconds since the epoch. */
  readonly now: () => number;
  readonly mintId: () => string;
  readonly log: EngineLog;
}

export interface Answering {
  readonly inFlight: AnswersInFlight;
  readonly flows: FlowRunner;
  readonly intake: AnswerIntake;
  /** Closes the connections to language models. */
  close(): Promise<void>;
}

export function createAnswering(options: AnsweringOptions): Answering {
  const { input, directory, knowledge, hints, config, now, mintId, log } = options;
  const { chatflows, chats, blobs } = input.store;
  const { reader, ingestion, embedder, retrieval } = knowledge;
  const inFlight = createAnswersInFlight(config.MAX_ANSWERS, hints);
  // Of its own: as many connections as answers are made at once, and pictures do not wait behind them.
  const egress = createEgress({ allow: config.EGRESS_ALLOW, connections: config.MAX_ANSWERS });
  return {
    inFlight,
    flows: createFlowRunner({
      chatflows,
      chats,
      inFlight,
      uploads: createUploadReader({ input, directory, reader, ingestion, open: config.open }),
      retrieval,
      extractive: createExtractive(embedder),
      openai: createOpenAi({ egress, keys: config.llmKeys, random: Math.random, log }),
      now,
      log,
    }),
    intake: createAnswerIntake({ blobs, chats, egress, mintId }),
    close: () => egress.close(),
  };
}
