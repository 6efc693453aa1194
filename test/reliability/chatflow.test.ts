/** Row F40: language models that misbehave, callers that leave, and a server that dies in the middle of an answer. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { type Client, Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { ChatflowService, ChatRole } from "../../gen/auspex/v1/chatflow_pb.ts";
import { PredictionService, PredictionStatus } from "../../gen/auspex/v1/prediction_pb.ts";
import { clientOf, startServer, type TestServer, until } from "../harness.ts";
import {
  type Behaviour,
  beginEvents,
  chunk,
  completion,
  DONE,
  dribbles,
  eventOf,
  type LlmEndpoint,
  refuses,
  says,
  startLlmEndpoint,
} from "../llm-endpoint.ts";

const IDLE_S = 1;
const TIMEOUT_S = 3;

interface Misbehaviour {
  readonly name: string;
  readonly behave: Behaviour;
  readonly code: Code;
  /** Part of the error. */
  readonly why: RegExp;
  /** What was said until then. */
  readonly said: string;
  /** Times that it was asked. */
  readonly tries: number;
}

/** Says something, then does this. */
function after(behave: Behaviour): Behaviour {
  return async (response, asking) => {
    beginEvents(response);
    response.write(chunk({ content: "The answer " }));
    await behave(response, asking);
  };
}

const MISBEHAVIOURS: readonly Misbehaviour[] = [
  {
    name: "stalls before the headers",
    behave: () => {},
    code: Code.DeadlineExceeded,
    why: /sent nothing within 1000 ms/,
    said: "",
    tries: 2,
  },
  {
    name: "stalls before the first piece",
    behave: (response) => beginEvents(response),
    code: Code.DeadlineExceeded,
    why: /sent nothing within 1000 ms/,
    said: "",
    tries: 2,
  },
  {
    name: "stalls in the middle",
    behave: after(() => {}),
    code: Code.DeadlineExceeded,
    why: /sent nothing within 1000 ms/,
    said: "The answer ",
    tries: 1,
  },
  {
    name: "answers 429 without a time to come back",
    behave: refuses(429),
    code: Code.ResourceExhausted,
    why: /answered 429: refused with 429/,
    said: "",
    tries: 2,
  },
  {
    name: "answers 429 with a time past the deadline",
    behave: refuses(429, { "retry-after": "60" }),
    code: Code.ResourceExhausted,
    why: /answered 429/,
    said: "",
    tries: 1,
  },
  {
    name: "answers 500",
    behave: refuses(500),
    code: Code.Unavailable,
    why: /answered 500: refused with 500/,
    said: "",
    tries: 2,
  },
  {
    name: "does not take the key",
    behave: refuses(401),
    code: Code.FailedPrecondition,
    why: /does not take the key TEST_LLM_KEY \(it answered 401\)/,
    said: "",
    tries: 1,
  },
  {
    name: "does not know the model",
    behave: refuses(404),
    code: Code.FailedPrecondition,
    why: /answered 404: refused with 404/,
    said: "",
    tries: 1,
  },
  {
    name: "redirects",
    behave: (response) => void response.writeHead(307, { location: "http://127.0.0.1:1/" }).end(),
    code: Code.FailedPrecondition,
    why: /answered 307; redirects are not followed/,
    said: "",
    tries: 1,
  },
  {
    name: "closes the connection before the headers",
    behave: (response) => void response.destroy(),
    code: Code.Unavailable,
    why: /could not be reached or broke off/,
    said: "",
    tries: 2,
  },
  {
    name: "cuts the connection in the middle",
    behave: after((response) => void setTimeout(() => response.destroy(), 50)),
    code: Code.Unavailable,
    why: /broke off/,
    said: "The answer ",
    tries: 1,
  },
  {
    name: "ends without saying that it is over",
    behave: after((response) => void response.end()),
    code: Code.Unavailable,
    why: /broke off before its end/,
    said: "The answer ",
    tries: 1,
  },
  {
    name: "sends an event that is no JSON",
    behave: after((response) => void response.write('data: {"choices": [\n\n')),
    code: Code.Unavailable,
    why: /sent an event that is not JSON/,
    said: "The answer ",
    tries: 1,
  },
  {
    name: "reports an error in the stream",
    behave: after((response) => void response.write(eventOf({ error: { message: "overloaded" } }))),
    code: Code.Unavailable,
    why: /reported an error: overloaded/,
    said: "The answer ",
    tries: 1,
  },
  {
    name: "sends a text that is no string",
    behave: after((response) => void response.write(chunk({ content: { text: "x" } }))),
    code: Code.Unavailable,
    why: /sent a text that is no string/,
    said: "The answer ",
    tries: 1,
  },
  {
    name: "says nothing",
    behave: says(),
    code: Code.Unavailable,
    why: /said nothing/,
    said: "",
    tries: 2,
  },
  {
    name: "wants a tool",
    behave: (response) => {
      beginEvents(response);
      response.end(chunk({ tool_calls: [{ index: 0, id: "t" }] }) + chunk({}, "tool_calls") + DONE);
    },
    code: Code.FailedPrecondition,
    why: /asked for a tool/,
    said: "",
    tries: 1,
  },
  {
    name: "answers a page",
    behave: (response) => void response.writeHead(200, { "content-type": "text/html" }).end("<html>"),
    code: Code.FailedPrecondition,
    why: /answered text\/html where text\/event-stream was asked for/,
    said: "",
    tries: 1,
  },
  {
    name: "answers compressed, unasked",
    behave: (response) =>
      void response
        .writeHead(200, { "content-type": "text/event-stream", "content-encoding": "gzip" })
        .end(gzipSync(Buffer.alloc(50_000_000, "data: {}\n\n"))),
    code: Code.FailedPrecondition,
    why: /content-encoding gzip, unasked/,
    said: "",
    tries: 1,
  },
  {
    name: "sends one line without end",
    behave: after((response) => {
      const line = "x".repeat(65_536);
      const more = () => {
        while (!response.destroyed && response.write(line));
      };
      response.on("drain", more);
      response.write("data: ");
      more();
    }),
    code: Code.FailedPrecondition,
    why: /sent an event of more than 1048576 characters|sent more than \d+ bytes/,
    said: "The answer ",
    tries: 1,
  },
  {
    name: "keeps the connection alive and says nothing",
    behave: (response) => {
      beginEvents(response);
      const timer = setInterval(() => response.write(": still there\n\n"), 50);
      response.on("close", () => clearInterval(timer));
    },
    code: Code.DeadlineExceeded,
    why: /did not answer in full within \d+ ms/,
    said: "",
    tries: 1,
  },
];

let server: TestServer;
let endpoint: LlmEndpoint;
let client: Client<typeof ChatflowService>;

/** A flow that asks this model. */
async function flowOf(model: string, more: object = {}): Promise<string> {
  const { chatflow } = await client.createChatflow({
    name: model,
    definition: {
      memory: { window: 10 },
      generator: {
        case: "openai",
        value: {
          baseUrl: endpoint.baseUrl,
          model,
          apiKeyEnv: "TEST_LLM_KEY",
          maxTokens: 64,
          timeout: { seconds: BigInt(TIMEOUT_S) },
          idleTimeout: { seconds: BigInt(IDLE_S) },
          retries: 1,
          ...more,
        },
      },
    },
  });
  return chatflow?.id ?? "";
}

async function gauge(name: string): Promise<number> {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  return Number(text.match(new RegExp(`^${name} ([\\d.e+]+)`, "m"))?.[1]);
}

/** Everything of this test's server: ends when nothing is under way any more, here and at the endpoint. */
const idle = () =>
  until(
    async () =>
      endpoint.open() === 0 &&
      (await gauge("auspex_answers_unfinished")) === 0 &&
      (await gauge("auspex_answer_streams")) === 0,
  );

beforeAll(async () => {
  const behaviours = Object.fromEntries(MISBEHAVIOURS.map(({ name, behave }) => [name, behave]));
  endpoint = await startLlmEndpoint({
    ...behaviours,
    dribbles,
    endless: (response) => {
      beginEvents(response);
      const more = () => {
        while (!response.destroyed && response.write(chunk({ content: "All work and no play. " })));
      };
      response.on("drain", more);
      more();
    },
    recovers: (response, asking) =>
      (asking.tries === 1 ? refuses(429, { "retry-after": "1" }) : says("Here I am."))(response, asking),
    "never closes": (response) => {
      beginEvents(response);
      response.write(completion(["All ", "said."]).replace(DONE, ""));
    },
  });
  process.env.TEST_LLM_KEY = "sk-of-the-test";
  process.env.NODE_OPTIONS = `--expose-gc --import ${join(import.meta.dirname, "..", "collect-garbage.ts")}`;
  server = await startServer({
    settings: {
      CATALOGUE: "auspex/minilm",
      EGRESS_ALLOW: "127.0.0.1",
      LLM_KEYS: `TEST_LLM_KEY=${endpoint.origin}`,
    },
  });
  delete process.env.NODE_OPTIONS;
  client = clientOf(server, "grpc", ChatflowService);
});
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await endpoint?.[Symbol.asyncDispose]();
});

describe("F40 a language model that", () => {
  test.each(MISBEHAVIOURS)("$name: a clear error in time, and what was said is kept", async (each) => {
    const id = await flowOf(each.name);
    const began = performance.now();
    const tokens: string[] = [];
    const failed = await (async () => {
      for await (const { event } of client.streamAnswer({
        chatflowId: id,
        question: { text: "Well?", chatId: "chat" },
      })) {
        if (event.case === "token") tokens.push(event.value);
      }
    })().then(
      () => undefined,
      (thrown: unknown) => ConnectError.from(thrown),
    );
    expect(failed?.rawMessage).toMatch(each.why);
    expect(failed?.code).toBe(each.code);
    expect(performance.now() - began).toBeLessThan(TIMEOUT_S * 1000 + 2000);
    expect(failed?.rawMessage).not.toContain(endpoint.origin.slice("http://".length));
    expect(tokens.join("")).toBe(each.said);
    const { messages } = await client.listMessages({ chatflowId: id });
    expect(messages.map(({ role, content }) => [role, content])).toEqual([
      [ChatRole.USER, "Well?"],
      [ChatRole.API, each.said],
    ]);
    expect(messages[1]?.failure).toBe(failed?.rawMessage);
    const asked = endpoint.asked.filter(({ completion: { model } }) => model === each.name);
    expect(asked.length).toBe(each.tries);
    expect(asked[0]?.authorization).toBe("Bearer sk-of-the-test");
    const { prediction } = await clientOf(server, "grpc", PredictionService).getPrediction({
      id: messages[1]?.predictionId ?? "",
    });
    expect(prediction?.status).toBe(PredictionStatus.FAILED);
    await idle();
  });

  test("says far more than it was asked for is cut off", async () => {
    const id = await flowOf("endless");
    const failed = await client
      .createAnswer({ chatflowId: id, question: { text: "Well?" } })
      .catch((thrown: unknown) => ConnectError.from(thrown));
    expect(failed).toMatchObject({ code: Code.FailedPrecondition });
    const { messages } = await client.listMessages({ chatflowId: id });
    // 32 characters a token.
    expect(messages[1]?.content.length).toBe(64 * 32);
    await idle();
  });

  test("asks to come back later is asked again then", async () => {
    const id = await flowOf("recovers");
    const began = performance.now();
    const { answer } = await client.createAnswer({ chatflowId: id, question: { text: "Well?" } });
    expect(answer?.text).toBe("Here I am.");
    expect(performance.now() - began).toBeGreaterThan(1000);
    expect(answer?.usage).toMatchObject({ promptTokens: 12, completionTokens: 1 });
  });

  test("has said all and never closes the stream has answered", async () => {
    const id = await flowOf("never closes");
    const { answer } = await client.createAnswer({ chatflowId: id, question: { text: "Well?" } });
    expect(answer?.text).toBe("All said.");
    await idle();
  });

  test("stalls does not delay other predictions", async () => {
    const id = await flowOf("stalls before the headers", {
      timeout: { seconds: 20n },
      idleTimeout: { seconds: 20n },
    });
    const calls = Array.from({ length: 100 }, (_, i) =>
      client
        .createAnswer({ chatflowId: id, question: { text: "Well?", chatId: `stalled-${i}` } })
        .catch((thrown: unknown) => ConnectError.from(thrown)),
    );
    await until(() => endpoint.open() === 100);
    const predictions = clientOf(server, "grpc", PredictionService);
    const began = performance.now();
    const { prediction } = await predictions.createPrediction({
      model: "auspex/minilm",
      input: { text: "not behind the others" },
      wait: { seconds: 10n },
    });
    expect(prediction?.status).toBe(PredictionStatus.SUCCEEDED);
    expect(performance.now() - began).toBeLessThan(5000);
    const aborted = await Promise.all(
      calls.map((_, i) => client.abortAnswers({ chatflowId: id, chatId: `stalled-${i}` })),
    );
    expect(aborted.every((answer) => answer.aborted === 1)).toBe(true);
    for (const outcome of await Promise.all(calls))
      expect(outcome).toMatchObject({ code: Code.Aborted, rawMessage: "the answer was aborted" });
    await idle();
  });
});

describe("callers that leave", () => {
  /** Opens a stream and drops it after its first token. */
  async function drop(
    from: Client<typeof ChatflowService>,
    chatflowId: string,
    chatId: string,
  ): Promise<void> {
    const leaving = new AbortController();
    try {
      const stream = from.streamAnswer(
        { chatflowId, question: { text: "Well?", chatId } },
        { signal: leaving.signal },
      );
      for await (const { event } of stream) if (event.case === "token") leaving.abort();
    } catch (thrown) {
      if (ConnectError.from(thrown).code !== Code.Canceled) throw thrown;
    }
  }

  /** A connection that resets a thousand streams in a row is closed for it; so every worker has new ones. */
  async function dropMany(id: string, count: number): Promise<void> {
    let left = count;
    await Promise.all(
      Array.from({ length: 16 }, async (_, worker) => {
        const from = clientOf(server, worker % 2 === 0 ? "grpc" : "connect", ChatflowService);
        while (left-- > 0) await drop(from, id, `dropped-${left}`);
      }),
    );
    await idle();
  }

  /** Bytes in use, after the garbage is gone. */
  async function memory(): Promise<{ heap: number; rss: number }> {
    let [heap, rss] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
    for (let i = 0; i < 5; i++) {
      server.process.kill("SIGUSR2");
      heap = Math.min(heap, await gauge("nodejs_heap_size_used_bytes"));
      rss = Math.min(rss, await gauge("process_resident_memory_bytes"));
    }
    return { heap, rss };
  }

  test("1,000 streams opened and dropped leave memory flat, and nothing behind them runs", async () => {
    const id = await flowOf("dribbles", { timeout: { seconds: 60n } });
    await dropMany(id, 400);
    const before = await memory();
    await dropMany(id, 1000);
    const after = await memory();
    const MIB = 1024 ** 2;
    expect(after.heap - before.heap).toBeLessThan(3 * MIB);
    expect(after.rss - before.rss).toBeLessThan(96 * MIB);
    // What was said until then is kept.
    const { messages } = await client.listMessages({ chatflowId: id, filter: { chatId: "dropped-0" } });
    expect(messages.at(-1)?.content).toMatch(/^(word )+$/);
    expect(messages.at(-1)?.failure).toBe("the answer was aborted");
  }, 240_000);

  test("a reader that never reads holds up nobody, and its answer ends", async () => {
    const id = await flowOf("endless", { maxTokens: 32_768 });
    const stream = client.streamAnswer({ chatflowId: id, question: { text: "Well?", chatId: "silent" } });
    const iterator = stream[Symbol.asyncIterator]();
    await iterator.next();
    await until(async () => (await gauge("auspex_answers_unfinished")) === 0);
    const { messages } = await client.listMessages({ chatflowId: id, filter: { chatId: "silent" } });
    expect(messages[1]?.content.length).toBe(32_768 * 32);
    // It comes to all of it, later: nothing was lost for being slow.
    let text = "";
    await expect(async () => {
      for (;;) {
        const { value, done } = await iterator.next();
        if (done) return;
        if (value.event.case === "token") text += value.event.value;
      }
    }).rejects.toThrow(/more than 1048576 characters/);
    expect(text).toBe(messages[1]?.content);
    await idle();
  });
});

test("a server that is killed in the middle of an answer: the prediction ends once, with one turn", async () => {
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  await using scripted = await startLlmEndpoint({
    slow: async (response, { tries }) => {
      beginEvents(response);
      response.write(chunk({ content: `Said by ${tries}` }));
      if (tries > 1) {
        await released;
        response.end(chunk({ content: "." }) + chunk({}, "stop") + DONE);
      }
    },
  });
  const dataDir = await mkdtemp(join(tmpdir(), "auspex-test-"));
  onTestFinished(() => rm(dataDir, { recursive: true, force: true }));
  const settings = { CATALOGUE: "auspex/minilm", EGRESS_ALLOW: "127.0.0.1" };
  let [chatflowId, predictionId] = ["", ""];
  {
    await using first = await startServer({ dataDir, settings });
    const asking = clientOf(first, "grpc", ChatflowService);
    const { chatflow } = await asking.createChatflow({
      name: "slow",
      definition: {
        memory: {},
        generator: { case: "openai", value: { baseUrl: scripted.baseUrl, model: "slow" } },
      },
    });
    chatflowId = chatflow?.id ?? "";
    await expect(async () => {
      for await (const { event } of asking.streamAnswer({ chatflowId, question: { text: "Well?" } })) {
        if (event.case === "started") predictionId = event.value.predictionId;
        if (event.case === "token") await first.kill();
      }
    }).rejects.toThrow();
  }
  await using second = await startServer({ dataDir, settings });
  const predictions = clientOf(second, "grpc", PredictionService);
  const asking = clientOf(second, "grpc", ChatflowService);
  await until(() => scripted.asked.length === 2);
  expect((await asking.listMessages({ chatflowId })).messages).toEqual([]);
  release();
  const states: (PredictionStatus | undefined)[] = [];
  for await (const { prediction } of predictions.watchPrediction({ id: predictionId })) {
    states.push(prediction?.status);
    expect(prediction?.attempt).toBe(2);
  }
  expect(states.at(-1)).toBe(PredictionStatus.SUCCEEDED);
  const { messages } = await asking.listMessages({ chatflowId });
  expect(messages.map(({ content, failure }) => [content, failure])).toEqual([
    ["Well?", ""],
    ["Said by 2.", ""],
  ]);
  expect(scripted.asked.length).toBe(2);
});

test("a server that stops lets an answer end, and leaves one that takes too long to the next", async () => {
  await using scripted = await startLlmEndpoint({
    quick: async (response) => {
      beginEvents(response);
      response.write(chunk({ content: "In " }));
      await new Promise((resolve) => setTimeout(resolve, 300));
      response.end(chunk({ content: "time." }) + chunk({}, "stop") + DONE);
    },
    slow: (response, { tries }) => {
      beginEvents(response);
      if (tries > 1) response.end(completion(["Later."]));
      else response.write(chunk({ content: "Too " }));
    },
  });
  const dataDir = await mkdtemp(join(tmpdir(), "auspex-test-"));
  onTestFinished(() => rm(dataDir, { recursive: true, force: true }));
  const settings = { CATALOGUE: "auspex/minilm", EGRESS_ALLOW: "127.0.0.1", DRAIN: "1500ms" };
  const first = await startServer({ dataDir, settings });
  const asking = clientOf(first, "grpc", ChatflowService);
  const ask = async (model: string) => {
    const { chatflow } = await asking.createChatflow({
      name: model,
      definition: { generator: { case: "openai", value: { baseUrl: scripted.baseUrl, model } } },
    });
    const said: string[] = [];
    const begun = Promise.withResolvers<void>();
    const ended = (async () => {
      const call = { chatflowId: chatflow?.id ?? "", question: { text: "Well?", chatId: model } };
      for await (const { event } of asking.streamAnswer(call)) {
        if (event.case === "token") begun.resolve();
        said.push(event.case === "token" ? event.value : (event.case ?? ""));
      }
      return said;
    })().catch((thrown: unknown) => ConnectError.from(thrown));
    await begun.promise;
    return { chatflowId: chatflow?.id ?? "", ended };
  };
  const slow = await ask("slow");
  const quick = await ask("quick");
  const exit = first.terminate();
  expect(await quick.ended).toEqual(["started", "In ", "time.", "answer"]);
  expect(await slow.ended).toMatchObject({ code: Code.Unavailable });
  expect(await exit).toBe(0);
  await using second = await startServer({ dataDir, settings });
  const { messages } = await until(async () => {
    const found = await clientOf(second, "grpc", ChatflowService).listMessages(slow);
    return found.messages.length > 0 && found;
  });
  expect(messages.map(({ content, failure }) => [content, failure])).toEqual([
    ["Well?", ""],
    ["Later.", ""],
  ]);
});
