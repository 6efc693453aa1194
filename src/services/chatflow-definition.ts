/**
 * What a well-formed chatflow definition is, of a request and of a file alike. A check adds complaints; all of them
 * are told at once.
 */
import type {
  ChatflowDefinition,
  ChatRateLimit,
  ExtractiveGenerator,
  OpenAiGenerator,
  PictureStep,
  Retriever,
} from "../../gen/auspex/v1/chatflow_pb.ts";
import type { Config } from "../config.ts";
import { CHATFLOW_DEFAULTS, OVERRIDABLE, RETRIEVER_MODEL_DEFAULT } from "../domain/chatflow.ts";
import { AuspexError } from "../domain/error.ts";
import { mayUse, type Task } from "../domain/model.ts";
import type { JsonObject } from "../domain/payload.ts";
import type { Principal } from "../domain/principal.ts";
import type { ModelRegistry } from "../engine/engine.ts";
import { retrievalModeName } from "./chatflow-message.ts";
import {
  atMost,
  type Complain,
  duration,
  durationMs,
  length,
  modelName,
  plainJson,
  URL_LENGTH_MAX,
} from "./check.ts";
import type { Egress } from "./egress.ts";

/** What a definition is checked against. */
export interface DefinitionContext {
  readonly egress: Pick<Egress, "check">;
  readonly llmKeys: Config["llmKeys"];
  readonly models: Pick<ModelRegistry, "list">;
  readonly limits: Pick<Config, "MAX_JSON_DEPTH">;
}

/** What embeds and what classifies; the retriever takes the one kind of model, the picture step the other. */
const EMBEDDING_TASKS: readonly Task[] = ["text-embedding"];
const PICTURE_TASKS: readonly Task[] = ["image-classification", "image-multi-label", "image-detection"];

const WINDOW_MAX = 100;
const PASSAGES_MAX = 50;
const CHUNK_SIZE = { min: 100, max: 4000 };
const LABELS_MAX = 20;
const SENTENCES_MAX = 20;
const TEMPERATURE_MAX = 2;
const TOKENS_MAX = 32_768;
const TIMEOUT_MAX_MS = 600_000;
const RETRIES_MAX = 5;
/** A prompt is sent with every question; this is some 8,000 tokens of one. */
const PROMPT_LENGTH_MAX = 32_768;
/** One of the texts that a flow answers as they stand. */
const TEXT_LENGTH_MAX = 1000;
const NAME_LENGTH_MAX = 256;
const CHATBOT_BYTES_MAX = 64 * 1024;
const ORIGINS_MAX = 100;
const QUESTIONS_MAX = 1_000_000;
const PERIOD_MS = { min: 1000, max: 86_400_000 };
const FOLLOW_UP_PROMPTS_MAX = 10;

/** @param principal whose flow it is to be */
export function checkDefinition(
  complain: Complain,
  definition: ChatflowDefinition | undefined,
  principal: Principal,
  context: DefinitionContext,
): void {
  if (!definition) {
    complain("definition", "required", "is required");
    return;
  }
  const at: Complain = (field, reason, description) => complain(`definition.${field}`, reason, description);
  const { memory, generator, rateLimit } = definition;
  if (memory) atMost(at, "memory.window", memory.window, WINDOW_MAX);
  if (definition.retriever) retriever(at, definition.retriever, principal, context);
  if (definition.picture) picture(at, definition.picture, principal, context);
  if (generator.case === "extractive") extractive(at, generator.value);
  else if (generator.case === "openai") openai(at, generator.value, context);
  else at("generator", "required", "is required: extractive or openai");
  for (const [index, name] of definition.overridable.entries()) {
    if (!OVERRIDABLE.some((known) => known === name)) {
      at(`overridable[${index}]`, "unknown", `must be one of ${OVERRIDABLE.join(", ")}`);
    } else if (definition.overridable.indexOf(name) < index) {
      at(`overridable[${index}]`, "duplicate", "is in the list twice");
    }
  }
  chatbot(at, definition.chatbot, context);
  origins(at, definition.allowedOrigins);
  length(at, "origin_refusal", definition.originRefusal, TEXT_LENGTH_MAX);
  if (rateLimit) limitOfRate(at, rateLimit);
  followUps(at, definition.followUpPrompts);
}

function retriever(
  complain: Complain,
  given: Retriever,
  principal: Principal,
  context: DefinitionContext,
): void {
  const { minScore, chunkSize, chunkOverlap } = given;
  const size = chunkSize || CHATFLOW_DEFAULTS.chunkSize;
  model(
    complain,
    "retriever.model",
    given.model || RETRIEVER_MODEL_DEFAULT,
    EMBEDDING_TASKS,
    principal,
    context,
  );
  if (!retrievalModeName(given.mode)) complain("retriever.mode", "unknown", "is not a known mode");
  atMost(complain, "retriever.top_k", given.topK, PASSAGES_MAX);
  if (minScore !== undefined && !(minScore >= -1 && minScore <= 1)) {
    complain("retriever.min_score", "out_of_range", "must be -1 to 1");
  }
  checkChunks((field, ...rest) => complain(`retriever.${field}`, ...rest), chunkSize, chunkOverlap, size);
}

/**
 * Sizes of passages, of a retriever and of an upsert alike.
 *
 * @param size that is meant: the given one, or what 0 stands for
 */
export function checkChunks(
  complain: Complain,
  given: number,
  overlap: number | undefined,
  size: number,
): void {
  const { min, max } = CHUNK_SIZE;
  if (given !== 0 && (given < min || given > max)) {
    complain("chunk_size", "out_of_range", `must be ${min} to ${max}, or 0`);
  } else if (overlap !== undefined && overlap * 2 >= size) {
    complain("chunk_overlap", "out_of_range", `must be less than half of the size, ${size}`);
  }
}

function picture(
  complain: Complain,
  given: PictureStep,
  principal: Principal,
  context: DefinitionContext,
): void {
  model(complain, "picture.model", given.model, PICTURE_TASKS, principal, context);
  atMost(complain, "picture.top_k", given.topK, LABELS_MAX);
}

function extractive(complain: Complain, given: ExtractiveGenerator): void {
  atMost(complain, "extractive.sentences", given.sentences, SENTENCES_MAX);
  length(complain, "extractive.no_match", given.noMatch, TEXT_LENGTH_MAX);
}

function openai(complain: Complain, given: OpenAiGenerator, context: DefinitionContext): void {
  const at: Complain = (field, reason, description) => complain(`openai.${field}`, reason, description);
  const { temperature, timeout, idleTimeout, retries } = given;
  const origin = baseUrl(at, given.baseUrl, context);
  if (given.model.trim() === "") at("model", "required", "is required");
  length(at, "model", given.model, NAME_LENGTH_MAX);
  key(at, given.apiKeyEnv, origin, context);
  length(at, "system_prompt", given.systemPrompt, PROMPT_LENGTH_MAX);
  if (temperature !== undefined && !(temperature >= 0 && temperature <= TEMPERATURE_MAX)) {
    at("temperature", "out_of_range", `must be 0 to ${TEMPERATURE_MAX}`);
  }
  atMost(at, "max_tokens", given.maxTokens, TOKENS_MAX);
  if (timeout) duration(at, "timeout", timeout, TIMEOUT_MAX_MS, true);
  if (idleTimeout) {
    const longest = timeout ? durationMs(timeout) : CHATFLOW_DEFAULTS.timeoutMs;
    duration(at, "idle_timeout", idleTimeout, longest > 0 ? longest : TIMEOUT_MAX_MS, true);
  }
  if (retries !== undefined) atMost(at, "retries", retries, RETRIES_MAX);
}

/** Answers the origin; undefined for an address with a complaint. */
function baseUrl(complain: Complain, text: string, { egress }: DefinitionContext): string | undefined {
  const url = URL.parse(text);
  if (text === "") complain("base_url", "required", "is required");
  else if (text.length > URL_LENGTH_MAX) length(complain, "base_url", text, URL_LENGTH_MAX);
  else if (!url) complain("base_url", "format", "must be an absolute http or https URL");
  else if (url.search !== "" || url.hash !== "") {
    complain("base_url", "format", "must not have a query or a fragment");
  } else {
    try {
      egress.check(text);
      return url.origin;
    } catch (error) {
      complain("base_url", "not_allowed", AuspexError.from(error).message);
    }
  }
  return undefined;
}

function key(
  complain: Complain,
  name: string,
  origin: string | undefined,
  { llmKeys }: DefinitionContext,
): void {
  if (name === "") return;
  if (name.length > NAME_LENGTH_MAX) {
    length(complain, "api_key_env", name, NAME_LENGTH_MAX);
    return;
  }
  const allowed = llmKeys.get(name);
  // A variable that is there and one that is not are told alike: a caller learns nothing of the environment.
  if (!allowed) complain("api_key_env", "not_allowed", `LLM_KEYS of this server does not name ${name}`);
  else if (origin !== undefined && !allowed.origins.includes(origin)) {
    complain("api_key_env", "not_allowed", `LLM_KEYS of this server does not allow ${name} for ${origin}`);
  }
}

/** Whether the model is there for the principal and does one of the tasks. */
function model(
  complain: Complain,
  field: string,
  name: string,
  tasks: readonly Task[],
  principal: Principal,
  { models }: DefinitionContext,
): void {
  let isWrong = false;
  modelName(
    (...complaint) => {
      isWrong = true;
      complain(...complaint);
    },
    field,
    name,
  );
  if (isWrong) return;
  const versions = models
    .list()
    .filter((known) => `${known.owner}/${known.name}` === name && mayUse(principal, known.owner));
  const found = versions.find(({ state }) => state.kind === "ready") ?? versions[0];
  if (!found) complain(field, "not_found", `model ${name} does not exist`);
  else if (found.manifest && !tasks.includes(found.manifest.task)) {
    complain(field, "task", `${name} does ${found.manifest.task}; wanted is ${tasks.join(" or ")}`);
  }
}

function chatbot(complain: Complain, given: JsonObject | undefined, { limits }: DefinitionContext): void {
  if (!given) return;
  if (plainJson(complain, "chatbot", given, limits.MAX_JSON_DEPTH)) {
    const bytes = Buffer.byteLength(JSON.stringify(given));
    if (bytes > CHATBOT_BYTES_MAX) {
      complain(
        "chatbot",
        "too_large",
        `has ${bytes} bytes of JSON; at most ${CHATBOT_BYTES_MAX} are allowed`,
      );
    }
  }
}

function origins(complain: Complain, given: readonly string[]): void {
  if (given.length > ORIGINS_MAX) {
    complain(
      "allowed_origins",
      "too_many",
      `has ${given.length} entries; at most ${ORIGINS_MAX} are allowed`,
    );
    return;
  }
  for (const [index, origin] of given.entries()) {
    const url = URL.parse(origin);
    const isOrigin = url?.origin === origin && /^https?:$/.test(url.protocol);
    if (origin !== "*" && !isOrigin) {
      const description = "must be an origin such as https://example.org (scheme, host and port alone), or *";
      complain(`allowed_origins[${index}]`, "format", description);
    }
  }
}

function limitOfRate(complain: Complain, { questions, period, refusal }: ChatRateLimit): void {
  if (questions < 1 || questions > QUESTIONS_MAX) {
    complain("rate_limit.questions", "out_of_range", `must be 1 to ${QUESTIONS_MAX}`);
  }
  const ms = period ? durationMs(period) : Number.NaN;
  if (!(ms >= PERIOD_MS.min && ms <= PERIOD_MS.max)) {
    complain(
      "rate_limit.period",
      "out_of_range",
      `must be ${PERIOD_MS.min / 1000} to ${PERIOD_MS.max / 1000} s`,
    );
  }
  length(complain, "rate_limit.refusal", refusal, TEXT_LENGTH_MAX);
}

function followUps(complain: Complain, given: readonly string[]): void {
  const max = FOLLOW_UP_PROMPTS_MAX;
  if (given.length > max) {
    complain("follow_up_prompts", "too_many", `has ${given.length} entries; at most ${max} are allowed`);
    return;
  }
  for (const [index, prompt] of given.entries()) {
    if (prompt.trim() === "") complain(`follow_up_prompts[${index}]`, "required", "must not be empty");
    length(complain, `follow_up_prompts[${index}]`, prompt, TEXT_LENGTH_MAX);
  }
}
