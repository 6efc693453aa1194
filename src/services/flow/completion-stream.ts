/** The events of a streamed chat completion, read piece by piece. */
import { createParser } from "eventsource-parser";
import { AuspexError } from "../../domain/error.ts";
import type { Generated, TokenCount } from "./generator.ts";

/**
 * For each token that was asked for at most: its text, and the event around it. A token is some 4 characters, and
 * seldom more than 16; an event is some 250 bytes, with log probabilities a few thousand.
 */
const CHARACTERS_PER_TOKEN = 32;
const BYTES_PER_TOKEN = 4096;
/** Beside the tokens: roles, usage, comments that keep the connection open. */
const BYTES_BESIDE = 1024 * 1024;
/** Fewer are not counted on: one token may be a line of blanks. */
const CHARACTERS_MIN = 1024;
/** Of an endpoint's own words; more are no message. */
const ERROR_LENGTH_MAX = 300;
/** Of one event; larger than any that says a token. */
const EVENT_LENGTH_MAX = 1024 * 1024;

interface State {
  readonly say: (piece: string) => void;
  readonly charactersMax: number;
  characters: number;
  usage: TokenCount | undefined;
  /** As the endpoint names it; undefined until it does. */
  finish: string | undefined;
  isDone: boolean;
}

/**
 * Says the text as it comes. Rejects with `unavailable` when the stream breaks off before its end or holds what is no
 * completion, with `failed_precondition` when it is longer than `maxTokens` can be, or the model declines.
 */
export async function readCompletion(
  body: AsyncIterable<Uint8Array>,
  maxTokens: number,
  say: (piece: string) => void,
): Promise<Generated> {
  const state: State = {
    say,
    charactersMax: Math.max(maxTokens * CHARACTERS_PER_TOKEN, CHARACTERS_MIN),
    characters: 0,
    usage: undefined,
    finish: undefined,
    isDone: false,
  };
  try {
    await readEvents(body, maxTokens * BYTES_PER_TOKEN + BYTES_BESIDE, state);
  } catch (error) {
    // Some never close the stream, or cut it: what was to be said has been said by then.
    const isLate = error instanceof AuspexError && PASSED.has(error.code);
    if (state.finish === undefined || !isLate) throw error;
  }
  return endOf(state);
}

const PASSED: ReadonlySet<string> = new Set(["deadline_exceeded", "unavailable"]);

async function readEvents(body: AsyncIterable<Uint8Array>, bytesMax: number, state: State): Promise<void> {
  const events: string[] = [];
  const parser = createParser({
    onEvent: ({ data }) => events.push(data),
    maxBufferSize: EVENT_LENGTH_MAX,
    onError: (error) => {
      if (error.type === "max-buffer-size-exceeded")
        throw tooMuch(`an event of more than ${EVENT_LENGTH_MAX} characters`);
    },
  });
  // Bytes of one character may come in two chunks.
  const decoder = new TextDecoder();
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    parser.feed(decoder.decode(chunk, { stream: true }));
    for (const event of events.splice(0)) {
      take(event, state);
      if (state.isDone) return;
    }
    if (bytes > bytesMax) throw tooMuch(`more than ${bytesMax} bytes`);
  }
}

function take(data: string, state: State): void {
  if (data.trim() === "[DONE]") {
    state.isDone = true;
    return;
  }
  const chunk = parse(data);
  if ("error" in chunk) {
    const message = errorMessage(chunk);
    throw unusable(`reported an error${message === "" ? "" : `: ${message}`}`);
  }
  state.usage = usageIn(chunk.usage) ?? state.usage;
  const choices = chunk.choices;
  const choice: unknown = Array.isArray(choices) ? choices[0] : undefined;
  if (!isObject(choice)) return;
  const { delta, finish_reason: finish } = choice;
  if (isObject(delta)) speak(delta.content, state);
  if (typeof finish === "string") state.finish = finish;
}

function speak(content: unknown, state: State): void {
  if (content === undefined || content === null) return;
  if (typeof content !== "string") throw unusable("sent a text that is no string");
  const room = state.charactersMax - state.characters;
  state.characters += content.length;
  state.say(content.slice(0, Math.max(0, room)));
  if (content.length > room) throw tooMuch(`more than ${state.charactersMax} characters`);
}

function endOf({ characters, usage, finish, isDone }: State): Generated {
  if (finish === undefined && !isDone) throw unusable("broke off before its end");
  if (characters === 0) {
    if (finish === "content_filter") throw declined("declines to answer");
    if (finish === "tool_calls" || finish === "function_call")
      throw declined("asked for a tool, and there are none");
    throw unusable("said nothing");
  }
  return { usage, stopReason: finish === undefined || finish === "stop" ? undefined : finish.slice(0, 64) };
}

function parse(data: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(data);
  } catch (cause) {
    throw unusable("sent an event that is not JSON", cause);
  }
  if (!isObject(value)) throw unusable("sent an event that is no object");
  return value;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function usageIn(value: unknown): TokenCount | undefined {
  if (!isObject(value)) return undefined;
  const { prompt_tokens: prompt, completion_tokens: completion } = value;
  return isCount(prompt) && isCount(completion) ? { prompt, completion } : undefined;
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value < 2 ** 32;
}

/** The `error.message` of an OpenAI error object, cut; "" where there is none. */
export function errorMessage(value: unknown): string {
  if (!isObject(value)) return "";
  const { error } = value;
  const message = isObject(error) ? error.message : error;
  return typeof message === "string" ? message.slice(0, ERROR_LENGTH_MAX) : "";
}

function unusable(what: string, cause?: unknown): AuspexError {
  return new AuspexError("unavailable", `the language model's endpoint ${what}`, { cause });
}

function tooMuch(what: string): AuspexError {
  return new AuspexError("failed_precondition", `the language model's endpoint sent ${what}`);
}

function declined(what: string): AuspexError {
  return new AuspexError("failed_precondition", `the language model ${what}`);
}
