/** Answers of chatflows through the server: over every door, with memory, pictures and documents, and what is refused. */
import { readFile } from "node:fs/promises";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type ChatflowDefinitionSchema,
  ChatflowService,
  ChatRole,
  ChatUpload_Kind as Kind,
  type StreamAnswerResponse,
} from "../../gen/auspex/v1/chatflow_pb.ts";
import { PredictionService, PredictionStatus } from "../../gen/auspex/v1/prediction_pb.ts";
import { clientOf, DOORS, photograph, startServer, type TestServer, until } from "../harness.ts";
import { beginEvents, chunk, dribbles, type LlmEndpoint, says, startLlmEndpoint } from "../llm-endpoint.ts";

const DOCUMENT = `# Leases

A lease lasts ten seconds. It is renewed while a prediction runs.

# Webhooks

A webhook is tried again for three days. After that it is given up.
`;

let server: TestServer;
let endpoint: LlmEndpoint;

const client = () => clientOf(server, "grpc", ChatflowService);
const predictions = () => clientOf(server, "grpc", PredictionService);
const bytes = (text: string) => new TextEncoder().encode(text);

type Definition = MessageInitShape<typeof ChatflowDefinitionSchema>;

async function flowOf(definition: Definition): Promise<string> {
  const { chatflow } = await client().createChatflow({ name: "test", definition });
  return chatflow?.id ?? "";
}

const openai = (model: string, more: object = {}) =>
  ({ case: "openai", value: { baseUrl: endpoint.baseUrl, model, ...more } }) as const;
const extractive = { case: "extractive", value: { sentences: 1 } } as const;

async function documented(generator: NonNullable<Definition["generator"]> = extractive): Promise<string> {
  const id = await flowOf({
    memory: {},
    retriever: { topK: 2 },
    generator,
    followUpPrompts: ["What is a lease?"],
  });
  await client().upsertDocuments({
    chatflowId: id,
    documents: [{ name: "guide.md", content: bytes(DOCUMENT) }],
  });
  return id;
}

async function refusalOf(call: Promise<unknown>): Promise<ConnectError> {
  return call.then(
    () => {
      throw new Error("was not refused");
    },
    (thrown: unknown) => ConnectError.from(thrown),
  );
}

beforeAll(async () => {
  endpoint = await startLlmEndpoint({
    hello: says("Hel", "lo, ", "world."),
    emoji: says("a\ud83d", "\ude00b"),
    dribbles,
    stalls: () => {},
    paused: (response) => {
      beginEvents(response);
      response.write(chunk({ content: "So far" }));
    },
  });
  server = await startServer({ settings: { CATALOGUE: "1", EGRESS_ALLOW: "127.0.0.1", MAX_ANSWERS: "2" } });
});
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await endpoint?.[Symbol.asyncDispose]();
});

describe("an answer", () => {
  test.each(DOORS)("over %s, whole and piece by piece, is a prediction as well", async (door) => {
    const id = await documented();
    const asking = clientOf(server, door, ChatflowService);
    const { answer } = await asking.createAnswer({
      chatflowId: id,
      question: { text: "How long does a lease last?" },
    });
    expect(answer?.text).toBe("A lease lasts ten seconds.");
    expect(answer?.sourceDocuments[0]?.metadata).toMatchObject({ source: "guide.md", heading: "Leases" });
    expect(answer).toMatchObject({ chatflowId: id, version: 1, memoryType: "Buffer Window Memory" });
    expect(answer?.sessionId).toBe(answer?.chatId);
    const { prediction } = await predictions().getPrediction({ id: answer?.predictionId ?? "" });
    expect(prediction).toMatchObject({
      model: `chatflow/${id}`,
      version: 1,
      status: PredictionStatus.SUCCEEDED,
    });
    expect(prediction?.output).toMatchObject({ text: answer?.text, chatMessageId: answer?.messageId });

    const events: StreamAnswerResponse["event"][] = [];
    for await (const { event } of asking.streamAnswer({
      chatflowId: id,
      question: { text: "How long is a webhook tried?", chatId: "a chat", sessionId: "a session" },
    }))
      events.push(event);
    expect(events.map((event) => event.case)).toEqual(["started", "sources", "token", "answer"]);
    const [started, , token, last] = events;
    expect(started?.value).toMatchObject({ chatId: "a chat", sessionId: "a session" });
    expect(token?.value).toBe("A webhook is tried again for three days.");
    expect(last?.value).toMatchObject({ text: token?.value, chatId: "a chat", sessionId: "a session" });
  });

  test("by a language model comes in its pieces, and no character is torn", async () => {
    for (const [model, said] of [
      ["hello", "Hello, world."],
      ["emoji", "a\ud83d\ude00b"],
    ] as const) {
      const id = await flowOf({ generator: openai(model) });
      const tokens: string[] = [];
      let text = "";
      for await (const { event } of client().streamAnswer({ chatflowId: id, question: { text: "Hi" } })) {
        if (event.case === "token") tokens.push(event.value);
        if (event.case === "answer") text = event.value.text;
      }
      expect([tokens.join(""), text]).toEqual([said, said]);
      expect(tokens.every((token) => token.isWellFormed())).toBe(true);
    }
  });

  test("says so when nothing fits, in the flow's words", async () => {
    const question = { text: "Which bananas are ripe in Peru?" };
    const id = await documented();
    expect((await client().createAnswer({ chatflowId: id, question })).answer).toMatchObject({
      text: "I found nothing about that in my documents.",
      sourceDocuments: [],
    });
    const own = await documented({ case: "extractive", value: { noMatch: "No idea." } });
    const { answer } = await client().createAnswer({ chatflowId: own, question });
    expect(answer).toMatchObject({ text: "No idea.", followUpPrompts: ["What is a lease?"] });
  });

  test("is the prediction of a direct CreatePrediction, which is held to the same", async () => {
    const id = await documented();
    const { prediction } = await predictions().createPrediction({
      model: `chatflow/${id}:1`,
      input: { question: "How long does a lease last?", chatId: "direct" },
      wait: { seconds: 30n },
    });
    expect(prediction?.output).toMatchObject({ text: "A lease lasts ten seconds.", chatId: "direct" });
    const states: (PredictionStatus | undefined)[] = [];
    for await (const { prediction: state } of predictions().watchPrediction({ id: prediction?.id ?? "" }))
      states.push(state?.status);
    expect(states).toEqual([PredictionStatus.SUCCEEDED]);
    const create = (request: object) =>
      refusalOf(predictions().createPrediction({ model: `chatflow/${id}`, ...request }));
    for (const [request, field] of [
      [{ input: {} }, /input\.question: is required/],
      [{}, /input\.question: is required/],
      [{ input: { question: 5 } }, /input\.question: must be a string/],
      [{ input: { question: "x".repeat(32_769) } }, /input\.question: has 32769 characters/],
      [{ input: { question: "x", chatId: "x".repeat(256) } }, /input\.chatId: has 256 characters/],
      [{ input: { question: "x", temperature: 1 } }, /input\.temperature: is not an input of a chatflow/],
      [{ input: { question: "x", history: [{ role: "system", content: "" }] } }, /input\.history\[0\]/],
      [
        { input: { question: "x", uploads: [{ type: "audio", name: "a", mime: "", data: "" }] } },
        /uploads\[0\]\.type/,
      ],
      [
        { input: { question: "x", uploads: [{ type: "file", name: "a.png", mime: "", data: "?" }] } },
        /uploads\[0\]\.data/,
      ],
      [{ input: { question: "x" }, files: { image: bytes("x") } }, /files: are not for chatflows/],
    ] as const) {
      const refused = await create(request);
      expect([refused.code, refused.rawMessage]).toEqual([
        Code.InvalidArgument,
        expect.stringMatching(field),
      ]);
    }
    for (const model of [`chatflow/${id}:2`, "chatflow/unknown"]) {
      const refused = await refusalOf(predictions().createPrediction({ model, input: { question: "x" } }));
      expect(refused.code).toBe(Code.NotFound);
    }
    const deferred = await predictions().createPrediction({
      model: "chatflow/unknown",
      input: { question: "x" },
      deferResolution: true,
    });
    expect(deferred.prediction).toMatchObject({
      model: "chatflow/unknown",
      version: 0,
      status: PredictionStatus.FAILED,
      error: { code: "not_found" },
    });
    const other = await refusalOf(
      predictions().createPrediction({
        model: `chatflow/${id}`,
        input: { question: "x" },
        tasks: ["image-classification"],
      }),
    );
    expect(other.code).toBe(Code.InvalidArgument);
    expect(other.rawMessage).toBe("tasks: must be empty: tasks are of models, and a chatflow has none");
  });

  test("asked for twice by one request id is one answer; another question under it is refused", async () => {
    const id = await documented();
    const ask = (text: string) =>
      client().createAnswer({ chatflowId: id, question: { text }, requestId: "once" });
    const [first, second] = [await ask("What is a lease?"), await ask("What is a lease?")];
    expect(second.answer).toEqual(first.answer);
    const refused = await refusalOf(ask("What is a webhook?"));
    expect(refused.code).toBe(Code.AlreadyExists);
    expect(refused.rawMessage).toContain("request id once was used");
    expect((await client().listMessages({ chatflowId: id })).messages.length).toBe(2);
  });
});

describe("memory", () => {
  const lastAsked = () => endpoint.asked.at(-1)?.completion.messages.filter(({ role }) => role !== "system");

  test("two sessions never see each other's; a question's own history goes before", async () => {
    const id = await flowOf({ memory: { window: 2 }, generator: openai("hello") });
    const ask = (text: string, sessionId: string, more: object = {}) =>
      client().createAnswer({ chatflowId: id, question: { text, sessionId, ...more } });
    await ask("I am Ann.", "ann");
    await ask("I am Bob.", "bob");
    await ask("Who am I?", "ann");
    expect(lastAsked()).toEqual([
      { role: "user", content: "I am Ann." },
      { role: "assistant", content: "Hello, world." },
      { role: "user", content: "Who am I?" },
    ]);
    await ask("And now?", "bob", { history: [{ role: ChatRole.USER, content: "Long ago." }] });
    expect(lastAsked()?.map(({ content }) => content)).toEqual([
      "Long ago.",
      "I am Bob.",
      "Hello, world.",
      "And now?",
    ]);
    // The window is of two messages.
    await ask("Still?", "ann");
    expect(lastAsked()?.map(({ content }) => content)).toEqual(["Who am I?", "Hello, world.", "Still?"]);
    await ask("And I?", "");
    expect(lastAsked()?.map(({ content }) => content)).toEqual(["And I?"]);
  });

  test("a follow-up that says nothing by itself is searched with the question before it", async () => {
    const id = await documented({ case: "extractive", value: { sentences: 2 } });
    const question = { chatId: "follow" };
    await client().createAnswer({
      chatflowId: id,
      question: { ...question, text: "How long is a webhook tried again?" },
    });
    const { answer } = await client().createAnswer({
      chatflowId: id,
      question: { ...question, text: "and then?" },
    });
    expect(answer?.text).toContain("After that it is given up.");
  });
});

describe("overrides", () => {
  test("change what the flow allows, and nothing else", async () => {
    const overrides = {
      systemPrompt: "You are {name}. {context}",
      promptValues: { name: "{context} Sherlock" },
      temperature: "0.5",
      maxTokens: 7,
      sessionId: "named",
      modelName: "of a form",
    };
    const ask = async (overridable: string[]) => {
      const id = await flowOf({ generator: openai("hello", { temperature: 1 }), overridable });
      const { answer } = await client().createAnswer({ chatflowId: id, question: { text: "Hi", overrides } });
      return { answer, completion: endpoint.asked.at(-1)?.completion };
    };
    const allowed = await ask(["systemPrompt", "promptValues", "temperature", "maxTokens"]);
    expect(allowed.completion).toMatchObject({ max_tokens: 7, temperature: 0.5, stream: true });
    expect(allowed.completion?.messages[0]?.content).toBe(
      "You are {context} Sherlock. (No passages were found.)",
    );
    expect(allowed.answer).toMatchObject({ sessionId: "named", chatId: "named" });
    const none = await ask([]);
    expect(none.completion).toMatchObject({ max_tokens: 1024, temperature: 1 });
    expect(none.completion?.messages[0]?.content).not.toContain("Sherlock");
    expect(none.answer?.sessionId).toBe("named");
  });

  test.each([
    [{ topK: 51 }, /question\.overrides\.topK: must be a whole number, 1 to 50/],
    [{ topK: 0 }, /topK/],
    [{ topK: 1.5 }, /topK/],
    [{ topK: "many" }, /topK/],
    [{ topK: "" }, /topK/],
    [{ minScore: 1.01 }, /question\.overrides\.minScore: must be a number, -1 to 1/],
    [{ sentences: 21 }, /sentences/],
    [{ systemPrompt: 5 }, /systemPrompt: must be a string/],
    [{ systemPrompt: "x".repeat(32_769) }, /systemPrompt: has more than 32768 characters/],
    [{ promptValues: "x" }, /promptValues: must be an object of strings/],
    [{ promptValues: { a: {} } }, /promptValues/],
    [{ sessionId: 5 }, /sessionId: must be a string/],
  ])("%j is refused", async (overrides, why) => {
    const overridable = ["topK", "minScore", "sentences", "systemPrompt", "promptValues"];
    const id = await flowOf({ retriever: {}, generator: extractive, overridable });
    const refused = await refusalOf(
      client().createAnswer({ chatflowId: id, question: { text: "x", overrides } }),
    );
    expect([refused.code, refused.rawMessage]).toEqual([Code.InvalidArgument, expect.stringMatching(why)]);
  });
});

describe("uploads", () => {
  test("pictures are seen by the flow's model, and their labels join the context", async () => {
    const zebra = {
      name: "zebra.jpg",
      mediaType: "image/jpeg",
      source: { case: "content" as const, value: new Uint8Array(await readFile(photograph("zebra"))) },
    };
    const picture = { model: "auspex/mobilenet", topK: 2 };
    const told = await flowOf({ picture, generator: openai("hello") });
    await client().createAnswer({ chatflowId: told, question: { text: "What is it?", uploads: [zebra] } });
    expect(endpoint.asked.at(-1)?.completion.messages.at(-1)?.content).toMatch(
      /^Picture "zebra\.jpg" shows: zebra, .+\n\nWhat is it\?$/,
    );
    const offline = await flowOf({ picture, generator: extractive });
    const { answer } = await client().createAnswer({
      chatflowId: offline,
      question: { chatId: "seen", uploads: [zebra] },
    });
    expect(answer?.text).toMatch(/^zebra\.jpg: zebra, /);
    expect(answer?.pictures).toMatchObject([{ name: "zebra.jpg", labels: ["zebra", expect.any(String)] }]);
    // The row holds an id, not the picture; and the chat has the file.
    const { prediction } = await predictions().getPrediction({ id: answer?.predictionId ?? "" });
    expect(JSON.stringify(prediction?.input).length).toBeLessThan(400);
    const file = await client().getChatFile({ chatflowId: offline, chatId: "seen", name: "zebra.jpg" });
    expect(Buffer.compare(file.content, zebra.source.value)).toBe(0);
    const { messages } = await client().listMessages({ chatflowId: offline });
    expect(messages[0]?.uploads).toMatchObject([{ name: "zebra.jpg", mediaType: "image/jpeg" }]);
  });

  test("documents are read in full, or looked through for that chat alone", async () => {
    const file = (kind: Kind) => ({
      kind,
      name: "note.txt",
      source: { case: "content" as const, value: bytes("The vault opens at noon. Bring the key.") },
    });
    const question = { text: "When does the vault open?", chatId: "one" };
    const told = await flowOf({ generator: openai("hello") });
    await client().createAnswer({ chatflowId: told, question: { ...question, uploads: [file(Kind.FULL)] } });
    expect(endpoint.asked.at(-1)?.completion.messages.at(-1)?.content).toBe(
      'Document "note.txt":\nThe vault opens at noon. Bring the key.\n\nWhen does the vault open?',
    );
    const id = await documented();
    const inFull = await client().createAnswer({
      chatflowId: id,
      question: { ...question, uploads: [file(Kind.UNSPECIFIED)] },
    });
    expect(inFull.answer?.text).toBe("The vault opens at noon.");
    const rag = await client().createAnswer({
      chatflowId: id,
      question: { ...question, uploads: [file(Kind.RAG)] },
    });
    expect(rag.answer?.text).toBe("The vault opens at noon.");
    const later = await client().createAnswer({ chatflowId: id, question });
    expect(later.answer?.sourceDocuments[0]?.metadata).toMatchObject({ source: "note.txt" });
    const other = await client().createAnswer({ chatflowId: id, question: { ...question, chatId: "two" } });
    expect(other.answer?.text).not.toContain("noon");
  });

  test("that the flow does not take are refused at once; broken ones fail the answer", async () => {
    const id = await flowOf({ generator: extractive });
    const source = { case: "content", value: bytes("x") } as const;
    const ask = (uploads: object[]) =>
      refusalOf(client().createAnswer({ chatflowId: id, question: { text: "x", uploads } }));
    for (const [upload, why] of [
      [{ name: "a.png", source }, /question\.uploads\[0\]: is a picture/],
      [{ kind: Kind.RAG, name: "a.txt", source }, /question\.uploads\[0\]: is for the retriever/],
      [{ name: "", source }, /question\.uploads\[0\]\.name: is required/],
      [{ name: "../a.txt", source }, /question\.uploads\[0\]\.name: must be a file name/],
      [{ name: `${"a".repeat(252)}.txt`, source }, /question\.uploads\[0\]\.name: must be a file name/],
      [{ name: "a.txt" }, /question\.uploads\[0\]: must hold content or url/],
      [{ name: "a.txt", source: { case: "content", value: bytes("") } }, /uploads\[0\]\.content: must hold/],
      [{ name: "a.txt", source: { case: "url", value: "ftp://a/b" } }, /uploads\[0\]\.url/],
      [{ name: "a.txt", source: { case: "url", value: "http://10.0.0.1/a" } }, /not a public address/],
    ] as const) {
      const refused = await ask([upload]);
      expect([refused.code, refused.rawMessage]).toEqual([Code.InvalidArgument, expect.stringMatching(why)]);
    }
    const many = Array.from({ length: 17 }, () => ({ name: "a.txt", source }));
    expect((await ask(many)).rawMessage).toMatch(/question\.uploads: has 17 entries; at most 16/);
    const broken = await ask([{ name: "a.json", source: { case: "content", value: bytes("{") } }]);
    expect(broken.code).toBe(Code.InvalidArgument);
    const { messages } = await client().listMessages({ chatflowId: id });
    expect(messages.map(({ failure }) => failure)).toEqual(["", broken.rawMessage]);
  });
});

describe("limits", () => {
  test.each([
    [{ text: "" }, /question\.text: is required/],
    [{ text: "x".repeat(32_769) }, /question\.text: has 32769 characters; at most 32768/],
    [{ text: "x", chatId: "x".repeat(256) }, /question\.chat_id: has 256 characters/],
    [{ text: "x", sessionId: "x".repeat(256) }, /question\.session_id: has 256/],
    [{ text: "x", leadEmail: "x".repeat(321) }, /question\.lead_email: has 321/],
    [
      { text: "x", history: Array.from({ length: 101 }, () => ({ role: ChatRole.USER, content: "x" })) },
      /question\.history: has 101 messages; at most 100/,
    ],
    [
      { text: "x", history: [{ role: ChatRole.USER, content: "x".repeat(400_001) }] },
      /history: has 400001 characters/,
    ],
    [{ text: "x", history: [{ content: "x" }] }, /question\.history\[0\]\.role: must be USER or API/],
  ])("a question past one is refused %#", async (question, why) => {
    const id = await flowOf({ generator: extractive });
    const refused = await refusalOf(client().createAnswer({ chatflowId: id, question }));
    expect([refused.code, refused.rawMessage]).toEqual([Code.InvalidArgument, expect.stringMatching(why)]);
  });

  test("a question at them is answered", async () => {
    const id = await flowOf({ generator: openai("hello") });
    const question = {
      text: "x".repeat(32_768),
      chatId: "c".repeat(255),
      sessionId: "s".repeat(255),
      leadEmail: "l".repeat(320),
      history: Array.from({ length: 100 }, () => ({ role: ChatRole.API, content: "x".repeat(4000) })),
    };
    const { answer } = await client().createAnswer({
      chatflowId: id,
      question,
      deadline: { seconds: 600n },
      requestId: "r".repeat(255),
    });
    expect(answer?.text).toBe("Hello, world.");
  });

  test("a deadline or a request id past one is refused", async () => {
    const id = await flowOf({ generator: extractive });
    const ask = (more: object) =>
      refusalOf(client().createAnswer({ chatflowId: id, question: { text: "x" }, ...more }));
    const past = [{ deadline: { seconds: 601n } }, { deadline: {} }, { requestId: "r".repeat(256) }];
    for (const more of past) expect((await ask(more)).code).toBe(Code.InvalidArgument);
  });

  test("an answer ends with its deadline, what was said kept", async () => {
    const id = await flowOf({ generator: openai("paused") });
    const call = client().createAnswer({
      chatflowId: id,
      question: { text: "x" },
      deadline: { seconds: 0n, nanos: 500_000_000 },
    });
    expect(await refusalOf(call)).toMatchObject({ code: Code.DeadlineExceeded });
    const { messages } = await client().listMessages({ chatflowId: id });
    expect(messages[1]).toMatchObject({
      content: "So far",
      failure: "its deadline passed before it was finished",
    });
  });

  test("two are made at once, eight are under way, and the next is refused", async () => {
    const id = await flowOf({ generator: openai("stalls") });
    const before = endpoint.asked.length;
    const asked = Array.from({ length: 8 }, () =>
      client()
        .createAnswer({ chatflowId: id, question: { text: "x", chatId: "crowd" } })
        .catch((thrown: unknown) => ConnectError.from(thrown)),
    );
    const gauge = async () => {
      const text = await (await fetch(`${server.url}/metrics`)).text();
      return Number(text.match(/^auspex_answers_unfinished (\d+)/m)?.[1]);
    };
    await until(async () => (await gauge()) === 8 && endpoint.open() === 2);
    const refused = await refusalOf(client().createAnswer({ chatflowId: id, question: { text: "x" } }));
    expect([refused.code, refused.rawMessage]).toEqual([
      Code.ResourceExhausted,
      "too many answers are under way; try again later",
    ]);
    expect(endpoint.asked.length - before).toBe(2);
    expect((await client().abortAnswers({ chatflowId: id, chatId: "crowd" })).aborted).toBe(8);
    for (const outcome of await Promise.all(asked)) expect(outcome).toMatchObject({ code: Code.Aborted });
    await until(async () => (await gauge()) === 0 && endpoint.open() === 0);
    // Each question is kept, also of those that were never begun.
    const { messages } = await client().listMessages({ chatflowId: id });
    expect(messages.length).toBe(16);
    expect((await client().abortAnswers({ chatflowId: id, chatId: "crowd" })).aborted).toBe(0);
  });
});

describe("whoever stops one", () => {
  test("by an abort: the stream ends so, the work behind it too, and what was said is kept", async () => {
    const id = await flowOf({ generator: openai("dribbles", { maxTokens: 32_768 }) });
    const question = { text: "x", chatId: "stopped" };
    let heard = "";
    const stopped = await refusalOf(
      (async () => {
        for await (const { event } of client().streamAnswer({ chatflowId: id, question })) {
          if (event.case !== "token") continue;
          heard += event.value;
          await client().abortAnswers({ chatflowId: id, chatId: "stopped" });
        }
      })(),
    );
    expect([stopped.code, stopped.rawMessage]).toEqual([Code.Aborted, "the answer was aborted"]);
    await until(() => endpoint.open() === 0);
    const { messages } = await client().listMessages({ chatflowId: id });
    expect(heard.startsWith(messages[1]?.content ?? "?")).toBe(true);
    expect(messages[1]?.content).not.toBe("");
    const { prediction } = await predictions().getPrediction({ id: messages[1]?.predictionId ?? "" });
    expect(prediction?.status).toBe(PredictionStatus.CANCELED);
  });

  test("by CancelPrediction, or by going away", async () => {
    const id = await flowOf({ generator: openai("paused") });
    for (const way of ["cancel", "leave"] as const) {
      const leaving = new AbortController();
      const stopped = await refusalOf(
        (async () => {
          const call = { chatflowId: id, question: { text: way, chatId: way } };
          let predictionId = "";
          for await (const { event } of client().streamAnswer(call, { signal: leaving.signal })) {
            if (event.case === "started") predictionId = event.value.predictionId;
            if (event.case === "token" && way === "leave") leaving.abort();
            else if (event.case === "token") await predictions().cancelPrediction({ id: predictionId });
          }
        })(),
      );
      expect(stopped.code).toBe(way === "leave" ? Code.Canceled : Code.Aborted);
      await until(() => endpoint.open() === 0);
      const { messages } = await until(async () => {
        const found = await client().listMessages({ chatflowId: id, filter: { chatId: way } });
        return found.messages.length === 2 && found;
      });
      expect(messages[1]).toMatchObject({ content: "So far", failure: "the answer was aborted" });
    }
  });
});
