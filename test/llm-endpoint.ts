/**
 * An OpenAI-compatible endpoint, as far as a streamed chat completion goes: a real HTTP server that stands for a third
 * party. What it does with a question is given by the name of the model.
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";

export interface Completion {
  readonly model: string;
  readonly messages: readonly { readonly role: string; readonly content: string }[];
  readonly max_tokens: number;
  readonly temperature?: number;
  readonly stream: boolean;
}

export interface Asking {
  readonly completion: Completion;
  readonly authorization: string | undefined;
  /** From 1 up, of this model. */
  readonly tries: number;
}

/** Writes the answer, or does not. */
export type Behaviour = (response: ServerResponse, asking: Asking) => void | Promise<void>;

export interface LlmEndpoint {
  /** `http://127.0.0.1:<port>/v1` */
  readonly baseUrl: string;
  readonly origin: string;
  /** Everything that it was asked so far. */
  readonly asked: readonly Asking[];
  /** Questions whose connection is open and whose answer has not ended. */
  open(): number;
  [Symbol.asyncDispose](): Promise<void>;
}

export async function startLlmEndpoint(
  behaviours: Readonly<Record<string, Behaviour>>,
): Promise<LlmEndpoint> {
  const asked: Asking[] = [];
  let open = 0;
  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    open += 1;
    response.on("close", () => {
      open -= 1;
    });
    if (request.method !== "POST" || request.url !== "/v1/chat/completions") {
      response.writeHead(404).end();
      return;
    }
    const completion: Completion = JSON.parse(await text(request));
    const tries = asked.filter((each) => each.completion.model === completion.model).length + 1;
    const asking = { completion, authorization: request.headers.authorization, tries };
    asked.push(asking);
    await behaviours[completion.model]?.(response, asking);
  }
  const server = createServer((request, response) => {
    // The other side may go away at any point.
    response.on("error", () => {});
    answer(request, response).catch(() => response.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    baseUrl: `${origin}/v1`,
    origin,
    asked,
    open: () => open,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

export function beginEvents(response: ServerResponse): void {
  response.writeHead(200, { "content-type": "text/event-stream" });
  response.flushHeaders();
}

export function chunk(delta: object, finish: string | null = null): string {
  return eventOf({ object: "chat.completion.chunk", choices: [{ index: 0, delta, finish_reason: finish }] });
}

export function eventOf(value: unknown): string {
  return `data: ${JSON.stringify(value)}\n\n`;
}

export const DONE = "data: [DONE]\n\n";

/** A whole, well-behaved answer of these pieces. */
export function completion(pieces: readonly string[]): string {
  return [
    chunk({ role: "assistant", content: "" }),
    ...pieces.map((content) => chunk({ content })),
    chunk({}, "stop"),
    eventOf({ choices: [], usage: { prompt_tokens: 12, completion_tokens: pieces.length } }),
    DONE,
  ].join("");
}

/** Behaves well. */
export function says(...pieces: readonly string[]): Behaviour {
  return (response) => {
    beginEvents(response);
    response.end(completion(pieces));
  };
}

/** Never ends, and says a word every few milliseconds until the other side is gone. */
export const dribbles: Behaviour = (response) => {
  beginEvents(response);
  const timer = setInterval(() => response.write(chunk({ content: "word " })), 20);
  response.on("close", () => clearInterval(timer));
};

/** Refuses. */
export function refuses(status: number, headers: Readonly<Record<string, string>> = {}): Behaviour {
  return (response) => {
    response.writeHead(status, { "content-type": "application/json", ...headers });
    response.end(JSON.stringify({ error: { message: `refused with ${status}` } }));
  };
}
