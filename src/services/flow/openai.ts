/**
 * Answers by a language model behind an OpenAI-compatible endpoint (POST <base URL>/chat/completions, streamed). It is
 * trusted with nothing: every time, length and repetition is bounded, and what it has said until something goes wrong
 * stays said. It is asked again only while it has said nothing.
 */
import { setTimeout as delay } from "node:timers/promises";
import { AuspexError } from "../../domain/error.ts";
import type { EngineLog } from "../../engine/engine.ts";
import type { Egress, StreamedResponse } from "../egress.ts";
import { errorMessage, readCompletion } from "./completion-stream.ts";
import type { Generated, Generator, GeneratorRequest } from "./generator.ts";
import { promptOf } from "./prompt.ts";

export interface OpenAiOptions {
  readonly egress: Egress;
  /** Keys of language models by the name of their environment variable, and where each may be sent. */
  readonly keys: ReadonlyMap<string, { readonly key: string; readonly origins: readonly string[] }>;
  /** 0 to 1. */
  readonly random: () => number;
  readonly log: EngineLog;
}

type OpenAiRequest = GeneratorRequest<"openai">;

/** Before the second try, doubled with each further one; what the endpoint asks for goes before. */
const BACKOFF_MS = 500;
const BACKOFF_MAX_MS = 8000;
/** Of an error's body: longer ones are pages, not messages. */
const ERROR_BYTES_MAX = 16 * 1024;

/** What may go better another time. */
const PASSING: ReadonlySet<string> = new Set(["unavailable", "resource_exhausted", "deadline_exceeded"]);

export function createOpenAi({ egress, keys, random, log }: OpenAiOptions): Generator<"openai"> {
  function keyFor({ apiKeyEnv, baseUrl }: OpenAiRequest["definition"]): string | undefined {
    if (apiKeyEnv === "") return undefined;
    const found = keys.get(apiKeyEnv);
    if (found?.origins.includes(new URL(baseUrl).origin)) return found.key;
    throw new AuspexError(
      "failed_precondition",
      `the server's LLM_KEYS does not allow ${apiKeyEnv} for ${new URL(baseUrl).origin}`,
    );
  }

  /** One try. */
  function ask(request: OpenAiRequest, timeoutMs: number, say: (piece: string) => void): Promise<Generated> {
    const { definition } = request;
    const key = keyFor(definition);
    return egress.stream(
      {
        url: `${definition.baseUrl.replace(/\/+$/, "")}/chat/completions`,
        method: "POST",
        headers: {
          "content-type": "application/json",
          accept: "text/event-stream",
          ...(key !== undefined && { authorization: `Bearer ${key}` }),
        },
        body: JSON.stringify(bodyOf(request)),
        timeoutMs,
        stallMs: Math.min(definition.idleTimeoutMs, timeoutMs),
        signal: request.signal,
      },
      async (response) => {
        if (response.status !== 200) throw await refusalOf(response, request);
        requireEventStream(response);
        return readCompletion(response.body, definition.maxTokens, say);
      },
    );
  }

  return {
    async generate(request, say) {
      const { definition, signal } = request;
      const endAt = Math.min(Date.now() + definition.timeoutMs, request.deadlineAt);
      let hasSaid = false;
      const heard = (piece: string) => {
        hasSaid ||= piece !== "";
        say(piece);
      };
      for (let tries = 1; ; tries++) {
        try {
          return await ask(request, Math.max(1, endAt - Date.now()), heard);
        } catch (error) {
          const known = outward(error, definition.baseUrl);
          const waitMs = known.retryAfterMs ?? backoff(tries, random);
          const goesOn =
            !hasSaid && !signal.aborted && PASSING.has(known.code) && tries <= definition.retries;
          if (!goesOn || Date.now() + waitMs >= endAt) throw known;
          log.warn({ err: known, tries, waitMs }, "a language model is asked again");
          await delay(waitMs, undefined, { signal });
        }
      }
    },
  };
}

/** Who asks need not know where the endpoint is, and cannot mend its address. */
function outward(error: unknown, baseUrl: string): AuspexError {
  const known = AuspexError.from(error);
  const { host, hostname } = new URL(baseUrl);
  const name = [host, hostname].find((each) => known.message.startsWith(`${each} `));
  if (name === undefined) return known;
  const message = `the language model's endpoint${known.message.slice(name.length)}`;
  return new AuspexError(known.code === "invalid_argument" ? "failed_precondition" : known.code, message, {
    cause: known,
  });
}

/** Milliseconds, half of them by chance: many who were refused together should not come back together. */
function backoff(tries: number, random: () => number): number {
  const full = Math.min(BACKOFF_MS * 2 ** (tries - 1), BACKOFF_MAX_MS);
  return full / 2 + (full / 2) * random();
}

function bodyOf(request: OpenAiRequest) {
  const { definition } = request;
  return {
    model: definition.model,
    messages: promptOf(request),
    max_tokens: definition.maxTokens,
    ...(definition.temperature !== null && { temperature: definition.temperature }),
    stream: true,
    stream_options: { include_usage: true },
  };
}

function requireEventStream({ headers }: StreamedResponse): void {
  const encoding = headers["content-encoding"] ?? "identity";
  if (encoding !== "identity") throw broken(`answered with content-encoding ${encoding}, unasked`);
  const type = headers["content-type"] ?? "";
  if (!/^text\/event-stream\s*(?:;|$)/i.test(type))
    throw broken(
      `answered ${type === "" ? "without a content type" : type.slice(0, 100)} where text/event-stream was asked for`,
    );
}

function broken(what: string): AuspexError {
  return new AuspexError("failed_precondition", `the language model's endpoint ${what}`);
}

/** Why it does not answer. Who may ask is told the endpoint's own words, unless they are about the key. */
async function refusalOf(response: StreamedResponse, { definition }: OpenAiRequest): Promise<AuspexError> {
  const { status, headers } = response;
  if (status >= 300 && status < 400) return broken(`answered ${status}; redirects are not followed`);
  if (status === 401 || status === 403) {
    const key =
      definition.apiKeyEnv === "" ? "asks for a key" : `does not take the key ${definition.apiKeyEnv}`;
    return broken(`${key} (it answered ${status})`);
  }
  const said = await messageIn(response);
  const message = `the language model's endpoint answered ${status}${said === "" ? "" : `: ${said}`}`;
  const retryAfterMs = retryAfter(headers["retry-after"]);
  const details = retryAfterMs === undefined ? {} : { retryAfterMs };
  if (status === 429) return new AuspexError("resource_exhausted", message, details);
  if (status === 408 || status >= 500) return new AuspexError("unavailable", message, details);
  return new AuspexError("failed_precondition", message);
}

async function messageIn({ body }: StreamedResponse): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > ERROR_BYTES_MAX) return "";
  }
  try {
    return errorMessage(JSON.parse(Buffer.concat(chunks).toString("utf8")));
  } catch {
    return "";
  }
}

/** Milliseconds of a Retry-After header, in seconds or as a date. */
function retryAfter(header: string | undefined): number | undefined {
  if (header === undefined) return undefined;
  if (/^\d+$/.test(header)) return Number(header) * 1000;
  const at = Date.parse(header);
  return Number.isNaN(at) ? undefined : Math.max(0, at - Date.now());
}
