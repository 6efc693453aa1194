/** Parameters that a question brings for its own answer. */
import type { ChatflowDefinition, Overridable } from "../../domain/chatflow.ts";
import type { JsonObject, JsonValue } from "../../domain/payload.ts";
import type { Complain } from "../check.ts";

/** As an answer uses them; what is undefined stays as the flow has it. */
export interface Overrides {
  readonly systemPrompt?: string | undefined;
  readonly topK?: number | undefined;
  readonly minScore?: number | undefined;
  readonly sentences?: number | undefined;
  readonly temperature?: number | undefined;
  readonly maxTokens?: number | undefined;
  readonly promptValues?: Readonly<Record<string, string>> | undefined;
}

const NUMBERS = {
  topK: { min: 1, max: 50, whole: true },
  minScore: { min: -1, max: 1, whole: false },
  sentences: { min: 1, max: 20, whole: true },
  temperature: { min: 0, max: 2, whole: false },
  maxTokens: { min: 1, max: 32_768, whole: true },
} as const satisfies Partial<Record<Overridable, unknown>>;

/** Characters of a system prompt, as of a question. */
const PROMPT_LENGTH_MAX = 32_768;
/** A prompt has a handful of places to fill. */
const PROMPT_VALUES_MAX = 64;

/** What of `given` the flow allows, read; complaints name what of that is of the wrong kind. */
export function readOverrides(
  given: JsonObject,
  allowed: readonly Overridable[],
  field: string,
  complain: Complain,
): Overrides {
  const read: { -readonly [K in keyof Overrides]: Overrides[K] } = {};
  for (const name of allowed) {
    const value = given[name];
    if (value === undefined || value === null) continue;
    const where = `${field}.${name}`;
    switch (name) {
      case "systemPrompt":
        if (typeof value !== "string") complain(where, "format", "must be a string");
        else if (value.length > PROMPT_LENGTH_MAX)
          complain(where, "too_long", `has more than ${PROMPT_LENGTH_MAX} characters`);
        else read.systemPrompt = value;
        break;
      case "promptValues":
        read.promptValues = promptValues(value, where, complain);
        break;
      default:
        read[name] = number(name, value, where, complain);
    }
  }
  return read;
}

/** Forms can only send strings, so a number may come as one. */
function number(
  name: keyof typeof NUMBERS,
  value: JsonValue,
  where: string,
  complain: Complain,
): number | undefined {
  const { min, max, whole } = NUMBERS[name];
  const isText = typeof value === "string" && value.trim() !== "";
  const parsed = isText ? Number(value) : value;
  if (typeof parsed === "number" && parsed >= min && parsed <= max && (!whole || Number.isInteger(parsed)))
    return parsed;
  complain(where, "out_of_range", `must be a ${whole ? "whole " : ""}number, ${min} to ${max}`);
  return undefined;
}

function promptValues(
  value: JsonValue,
  where: string,
  complain: Complain,
): Record<string, string> | undefined {
  const entries =
    typeof value === "object" && value !== null && !Array.isArray(value) ? Object.entries(value) : undefined;
  if (!entries || entries.some(([, text]) => typeof text !== "string" && typeof text !== "number")) {
    complain(where, "format", "must be an object of strings");
    return undefined;
  }
  const length = entries.reduce((sum, [, text]) => sum + String(text).length, 0);
  if (entries.length > PROMPT_VALUES_MAX || length > PROMPT_LENGTH_MAX) {
    complain(
      where,
      "too_long",
      `must have at most ${PROMPT_VALUES_MAX} entries of ${PROMPT_LENGTH_MAX} characters together`,
    );
    return undefined;
  }
  return Object.fromEntries(entries.map(([name, text]) => [name, String(text)]));
}

/** The definition as this answer uses it; the values of a prompt go with the prompt. */
export function withOverrides(definition: ChatflowDefinition, overrides: Overrides): ChatflowDefinition {
  const { retriever, generator } = definition;
  const { topK, minScore, sentences, systemPrompt, temperature, maxTokens } = overrides;
  return {
    ...definition,
    retriever: retriever && {
      ...retriever,
      topK: topK ?? retriever.topK,
      minScore: minScore ?? retriever.minScore,
    },
    generator:
      generator.kind === "extractive"
        ? { ...generator, sentences: sentences ?? generator.sentences }
        : {
            ...generator,
            systemPrompt: systemPrompt ?? generator.systemPrompt,
            temperature: temperature ?? generator.temperature,
            maxTokens: maxTokens ?? generator.maxTokens,
          },
  };
}
