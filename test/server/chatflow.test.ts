/** Chatflows over the RPC doors: their definitions, versions, keys and lists. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import {
  type ChatflowDefinitionSchema,
  ChatflowService,
  Retriever_Mode,
} from "../../gen/auspex/v1/chatflow_pb.ts";
import { BadRequestSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { clientOf, DOORS, startServer, type TestServer } from "../harness.ts";

type Definition = MessageInitShape<typeof ChatflowDefinitionSchema>;
type OpenAi = Extract<Definition["generator"], { case: "openai" }>["value"];
type Retriever = NonNullable<Definition["retriever"]>;

const EXTRACTIVE = { case: "extractive", value: {} } as const;
const NO_ID = "01900000-0000-7000-8000-000000000000";
const OPENAI = { baseUrl: "https://llm.example/v1", model: "small" };

let server: TestServer;
let client: ReturnType<typeof clientOf<typeof ChatflowService>>;

beforeAll(async () => {
  vi.stubEnv("TEST_LLM_KEY", "sk-of-a-test");
  server = await startServer({
    settings: { CATALOGUE: "1", LLM_KEYS: "TEST_LLM_KEY=https://llm.example", EGRESS_ALLOW: "127.0.0.1:9" },
  });
  vi.unstubAllEnvs();
  client = clientOf(server, "grpc", ChatflowService);
});
afterAll(() => server[Symbol.asyncDispose]());

async function create(definition: Definition = { generator: EXTRACTIVE }, name = "flow") {
  const { chatflow } = await client.createChatflow({ name, definition });
  if (!chatflow?.definition) throw new Error("no flow was answered");
  return { ...chatflow, definition: chatflow.definition };
}

/** `field: description` of every complaint; [] where there is none. */
async function complaintsOf(call: Promise<unknown>): Promise<string[]> {
  try {
    await call;
    return [];
  } catch (error) {
    const known = ConnectError.from(error);
    if (known.code !== Code.InvalidArgument) throw error;
    return known
      .findDetails(BadRequestSchema)
      .flatMap(({ fieldViolations }) => fieldViolations.map((v) => `${v.field}: ${v.description}`));
  }
}

const fieldsOf = async (call: Promise<unknown>) =>
  (await complaintsOf(call)).map((complaint) => complaint.split(": ")[0]);

describe("definitions", () => {
  test.each(DOORS)("over %s a flow is answered as it was accepted, defaults filled in", async (door) => {
    const { chatflow } = await clientOf(server, door, ChatflowService).createChatflow({
      name: "Questions",
      definition: {
        memory: {},
        retriever: {},
        picture: { model: "auspex/mobilenet" },
        generator: EXTRACTIVE,
        overridable: ["topK", "sentences"],
        chatbot: { title: "Ask me", starterPrompts: { 0: { prompt: "What is it?" } } },
        allowedOrigins: ["https://example.org"],
        rateLimit: { questions: 3, period: { seconds: 60n } },
        followUpPrompts: ["And then?"],
      },
    });
    const { chatflow: read } = await client.getChatflow({ id: chatflow?.id ?? "" });
    expect(read).toEqual(chatflow);
    expect(chatflow).toMatchObject({ name: "Questions", version: 1, keys: [], passages: 0, fromFile: false });
    expect(chatflow?.definition).toMatchObject({
      memory: { window: 10 },
      retriever: {
        model: "auspex/minilm",
        mode: Retriever_Mode.HYBRID,
        topK: 4,
        chunkSize: 1000,
        chunkOverlap: 100,
        returnSources: true,
      },
      picture: { model: "auspex/mobilenet", topK: 3 },
      generator: { case: "extractive", value: { sentences: 3, noMatch: "" } },
      overridable: ["topK", "sentences"],
      chatbot: { title: "Ask me", starterPrompts: { 0: { prompt: "What is it?" } } },
      public: false,
      allowedOrigins: ["https://example.org"],
      rateLimit: { questions: 3, period: { seconds: 60n, nanos: 0 }, refusal: "" },
      followUpPrompts: ["And then?"],
    });
    expect(chatflow?.definition?.retriever?.minScore).toBeUndefined();
  });

  test("a language model has defaults, too, and its silence is bounded by its time", async () => {
    const { definition } = await create({ generator: { case: "openai", value: OPENAI } });
    expect(definition.generator.value).toMatchObject({
      ...OPENAI,
      apiKeyEnv: "",
      maxTokens: 1024,
      timeout: { seconds: 60n, nanos: 0 },
      idleTimeout: { seconds: 15n, nanos: 0 },
      retries: 2,
    });
    const short = { ...OPENAI, timeout: { seconds: 2n, nanos: 500_000_000 }, retries: 0, temperature: 0 };
    const { definition: shorter } = await create({ generator: { case: "openai", value: short } });
    expect(shorter.generator.value).toMatchObject({
      timeout: { seconds: 2n, nanos: 500_000_000 },
      idleTimeout: { seconds: 2n, nanos: 500_000_000 },
      retries: 0,
      temperature: 0,
    });
  });

  const openai = (changes: Partial<OpenAi>): Definition => ({
    generator: { case: "openai", value: { ...OPENAI, ...changes } as OpenAi },
  });
  const retriever = (changes: Partial<Retriever>): Definition => ({
    generator: EXTRACTIVE,
    retriever: changes as Retriever,
  });
  const of = (rest: Omit<Definition, "generator" | "$typeName" | "$unknown">): Definition => ({
    generator: EXTRACTIVE,
    ...rest,
  });
  const minute = { seconds: 60n };

  /** What is just allowed, what is just not, and where the complaint points. */
  test.each<[string, Definition, Definition]>([
    ["memory.window", of({ memory: { window: 100 } }), of({ memory: { window: 101 } })],
    ["retriever.top_k", retriever({ topK: 50 }), retriever({ topK: 51 })],
    ["retriever.min_score", retriever({ minScore: -1 }), retriever({ minScore: -1.01 })],
    ["retriever.min_score", retriever({ minScore: 1 }), retriever({ minScore: Number.NaN })],
    ["retriever.chunk_size", retriever({ chunkSize: 100 }), retriever({ chunkSize: 99 })],
    ["retriever.chunk_size", retriever({ chunkSize: 4000 }), retriever({ chunkSize: 4001 })],
    ["retriever.chunk_overlap", retriever({ chunkOverlap: 499 }), retriever({ chunkOverlap: 500 })],
    [
      "retriever.chunk_overlap",
      retriever({ chunkSize: 101, chunkOverlap: 50 }),
      retriever({ chunkSize: 100, chunkOverlap: 50 }),
    ],
    ["retriever.mode", retriever({ mode: Retriever_Mode.KEYWORD }), retriever({ mode: 9 as Retriever_Mode })],
    ["retriever.model", retriever({ model: "auspex/minilm" }), retriever({ model: "auspex/minilm:1" })],
    ["retriever.model", retriever({}), retriever({ model: "auspex/no-such-model" })],
    ["retriever.model", retriever({}), retriever({ model: "auspex/mobilenet" })],
    [
      "picture.model",
      of({ picture: { model: "auspex/mobilenet", topK: 20 } }),
      of({ picture: { model: "auspex/minilm" } }),
    ],
    ["picture.model", of({}), of({ picture: {} })],
    [
      "picture.top_k",
      of({ picture: { model: "auspex/mobilenet", topK: 20 } }),
      of({ picture: { model: "auspex/mobilenet", topK: 21 } }),
    ],
    [
      "extractive.sentences",
      { generator: { case: "extractive", value: { sentences: 20 } } },
      { generator: { case: "extractive", value: { sentences: 21 } } },
    ],
    [
      "extractive.no_match",
      { generator: { case: "extractive", value: { noMatch: "x".repeat(1000) } } },
      { generator: { case: "extractive", value: { noMatch: "x".repeat(1001) } } },
    ],
    ["generator", of({}), {}],
    ["openai.base_url", openai({}), openai({ baseUrl: "" })],
    ["openai.base_url", openai({}), openai({ baseUrl: "llm.example/v1" })],
    ["openai.base_url", openai({}), openai({ baseUrl: "ftp://llm.example/v1" })],
    ["openai.base_url", openai({}), openai({ baseUrl: "https://user:pass@llm.example/v1" })],
    ["openai.base_url", openai({}), openai({ baseUrl: "https://llm.example/v1?key=1" })],
    [
      "openai.base_url",
      openai({ baseUrl: "http://127.0.0.1:9/v1" }),
      openai({ baseUrl: "http://127.0.0.1:10/v1" }),
    ],
    [
      "openai.base_url",
      openai({ baseUrl: `https://llm.example/${"v".repeat(2048 - 20)}` }),
      openai({ baseUrl: `https://llm.example/${"v".repeat(2049 - 20)}` }),
    ],
    ["openai.model", openai({ model: "m".repeat(256) }), openai({ model: "m".repeat(257) })],
    ["openai.model", openai({}), openai({ model: " " })],
    ["openai.api_key_env", openai({ apiKeyEnv: "TEST_LLM_KEY" }), openai({ apiKeyEnv: "PATH" })],
    [
      "openai.api_key_env",
      openai({ apiKeyEnv: "TEST_LLM_KEY", baseUrl: "https://llm.example/v2" }),
      openai({ apiKeyEnv: "TEST_LLM_KEY", baseUrl: "https://llm.example.evil.example/v1" }),
    ],
    [
      "openai.api_key_env",
      openai({ apiKeyEnv: "TEST_LLM_KEY" }),
      openai({ apiKeyEnv: "TEST_LLM_KEY", baseUrl: "http://llm.example/v1" }),
    ],
    [
      "openai.system_prompt",
      openai({ systemPrompt: "x".repeat(32_768) }),
      openai({ systemPrompt: "x".repeat(32_769) }),
    ],
    ["openai.temperature", openai({ temperature: 2 }), openai({ temperature: 2.01 })],
    ["openai.temperature", openai({ temperature: 0 }), openai({ temperature: -0.01 })],
    ["openai.max_tokens", openai({ maxTokens: 32_768 }), openai({ maxTokens: 32_769 })],
    ["openai.timeout", openai({ timeout: { seconds: 600n } }), openai({ timeout: { seconds: 601n } })],
    ["openai.timeout", openai({ timeout: { nanos: 1 } }), openai({ timeout: {} })],
    ["openai.idle_timeout", openai({ idleTimeout: minute }), openai({ idleTimeout: { seconds: 61n } })],
    [
      "openai.idle_timeout",
      openai({ timeout: { seconds: 5n }, idleTimeout: { seconds: 5n } }),
      openai({ timeout: { seconds: 5n }, idleTimeout: { seconds: 5n, nanos: 1000 } }),
    ],
    ["openai.retries", openai({ retries: 5 }), openai({ retries: 6 })],
    ["overridable[0]", of({ overridable: ["promptValues"] }), of({ overridable: ["model"] })],
    ["overridable[1]", of({ overridable: ["topK", "minScore"] }), of({ overridable: ["topK", "topK"] })],
    [
      "chatbot",
      of({ chatbot: { text: "x".repeat(64 * 1024 - 11) } }),
      of({ chatbot: { text: "x".repeat(64 * 1024 - 10) } }),
    ],
    [
      "allowed_origins[1]",
      of({ allowedOrigins: ["*", "https://example.org:8443"] }),
      of({ allowedOrigins: ["*", "https://example.org/"] }),
    ],
    ["allowed_origins[0]", of({}), of({ allowedOrigins: ["example.org"] })],
    [
      "allowed_origins",
      of({ allowedOrigins: Array(100).fill("https://example.org") }),
      of({ allowedOrigins: Array(101).fill("https://example.org") }),
    ],
    ["origin_refusal", of({ originRefusal: "x".repeat(1000) }), of({ originRefusal: "x".repeat(1001) })],
    [
      "rate_limit.questions",
      of({ rateLimit: { questions: 1, period: minute } }),
      of({ rateLimit: { questions: 0, period: minute } }),
    ],
    [
      "rate_limit.questions",
      of({ rateLimit: { questions: 1_000_000, period: minute } }),
      of({ rateLimit: { questions: 1_000_001, period: minute } }),
    ],
    [
      "rate_limit.period",
      of({ rateLimit: { questions: 1, period: { seconds: 86_400n } } }),
      of({ rateLimit: { questions: 1, period: { seconds: 86_401n } } }),
    ],
    [
      "rate_limit.period",
      of({ rateLimit: { questions: 1, period: { seconds: 1n } } }),
      of({ rateLimit: { questions: 1 } }),
    ],
    [
      "rate_limit.refusal",
      of({ rateLimit: { questions: 1, period: minute, refusal: "x".repeat(1000) } }),
      of({ rateLimit: { questions: 1, period: minute, refusal: "x".repeat(1001) } }),
    ],
    [
      "follow_up_prompts",
      of({ followUpPrompts: Array(10).fill("Why?") }),
      of({ followUpPrompts: Array(11).fill("Why?") }),
    ],
    ["follow_up_prompts[0]", of({ followUpPrompts: ["x".repeat(1000)] }), of({ followUpPrompts: [" "] })],
  ])("%s at its edge", async (field, allowed, refused) => {
    expect(await complaintsOf(client.createChatflow({ name: "f", definition: allowed }))).toEqual([]);
    const fields = await fieldsOf(client.createChatflow({ name: "f", definition: refused }));
    expect(fields).toEqual([`definition.${field}`]);
  });

  test("every complaint is told at once", async () => {
    const definition: Definition = {
      memory: { window: 1000 },
      retriever: { model: "Nothing", topK: 1000 },
      generator: { case: "openai", value: { baseUrl: "http://10.0.0.1/v1", apiKeyEnv: "HOME", retries: 9 } },
      overridable: ["everything"],
    };
    expect(await fieldsOf(client.createChatflow({ name: "", definition }))).toEqual([
      "name",
      "definition.memory.window",
      "definition.retriever.model",
      "definition.retriever.top_k",
      "definition.openai.base_url",
      "definition.openai.model",
      "definition.openai.api_key_env",
      "definition.openai.retries",
      "definition.overridable[0]",
    ]);
    expect(await fieldsOf(client.createChatflow({}))).toEqual(["name", "definition"]);
  });

  test("a variable that is set is told as one that is not", async () => {
    const [set, unset] = await Promise.all(
      ["PATH", "NO_SUCH_VARIABLE"].map((apiKeyEnv) =>
        complaintsOf(client.createChatflow({ name: "f", definition: openai({ apiKeyEnv }) })),
      ),
    );
    expect(set?.map((text) => text.replace("PATH", "X"))).toEqual(
      unset?.map((text) => text.replace("NO_SUCH_VARIABLE", "X")),
    );
  });

  test("names have 1 to 180 characters", async () => {
    const definition = { generator: EXTRACTIVE };
    const named = (name: string) => fieldsOf(client.createChatflow({ name, definition }));
    expect(await named("n".repeat(180))).toEqual([]);
    expect(await named("n".repeat(181))).toEqual(["name"]);
    expect(await named(" ")).toEqual(["name"]);
  });
});

describe("changes", () => {
  test("make the next version, and leave what they do not name", async () => {
    const { id } = await create({ generator: EXTRACTIVE, memory: { window: 7 } }, "old");
    const { chatflow: renamed } = await client.updateChatflow({ id, name: "new" });
    expect(renamed).toMatchObject({ name: "new", version: 2, definition: { memory: { window: 7 } } });
    const { chatflow: changed } = await client.updateChatflow({ id, definition: { generator: EXTRACTIVE } });
    expect(changed).toMatchObject({ name: "new", version: 3 });
    expect(changed?.definition?.memory).toBeUndefined();
    expect(await fieldsOf(client.updateChatflow({ id }))).toEqual(["definition"]);
    expect(await fieldsOf(client.updateChatflow({ id, definition: {} }))).toEqual(["definition.generator"]);
    expect((await client.getChatflow({ id })).chatflow?.version).toBe(3);
  });

  test("may ask for the version that they were made for", async () => {
    const { id } = await create();
    await client.updateChatflow({ id, name: "second", ifVersion: 1 });
    await expect(client.updateChatflow({ id, name: "third", ifVersion: 1 })).rejects.toMatchObject({
      code: Code.FailedPrecondition,
      rawMessage: `chatflow ${id} has version 2, not 1`,
    });
  });

  test("that come at once lose nothing of each other", async () => {
    const { id } = await create({ generator: EXTRACTIVE }, "before");
    const definition = { generator: EXTRACTIVE, memory: { window: 3 } };
    await Promise.all([
      client.updateChatflow({ id, name: "after" }),
      client.updateChatflow({ id, definition }),
    ]);
    expect((await client.getChatflow({ id })).chatflow).toMatchObject({
      name: "after",
      version: 3,
      definition: { memory: { window: 3 } },
    });
  });

  test("of the embedding model are refused while there are passages", async () => {
    const { id } = await create({ generator: EXTRACTIVE, retriever: {} });
    const documents = [{ name: "a.txt", content: Buffer.from("The zebra is striped.") }];
    const { result } = await client.upsertDocuments({ chatflowId: id, documents });
    expect((await client.getChatflow({ id })).chatflow?.passages).toBe(1);
    const without = { id, definition: { generator: EXTRACTIVE } };
    await expect(client.updateChatflow(without)).rejects.toMatchObject({ code: Code.FailedPrecondition });
    await client.deleteUpserts({ ids: [result?.id ?? ""], deletePassages: true });
    await expect(client.updateChatflow(without)).resolves.toMatchObject({ chatflow: { version: 2 } });
  });

  test("a deleted flow is gone, and its key with it", async () => {
    const { id } = await create();
    const { secret } = await client.createChatflowKey({ chatflowId: id });
    await client.deleteChatflow({ id });
    for (const call of [client.getChatflow({ id }), client.deleteChatflow({ id })]) {
      await expect(call).rejects.toMatchObject({ code: Code.NotFound });
    }
    const holder = clientOf(server, "grpc", ChatflowService, secret);
    await expect(holder.getChatbot({ chatflowId: id })).rejects.toMatchObject({ code: Code.Unauthenticated });
  });
});

describe("keys", () => {
  test("are shown once and listed without their text", async () => {
    const { id } = await create();
    const { key, secret } = await client.createChatflowKey({ chatflowId: id, name: "site" });
    expect(secret).toMatch(/^flow_[\w-]{43}$/);
    const { chatflow } = await client.getChatflow({ id });
    expect(chatflow?.keys).toEqual([key]);
    expect(JSON.stringify(chatflow?.keys.map(({ id, name }) => [id, name]))).not.toContain(secret.slice(5));
    await expect(client.deleteChatflowKey({ chatflowId: id, keyId: NO_ID })).rejects.toMatchObject({
      code: Code.NotFound,
    });
    await client.deleteChatflowKey({ chatflowId: id, keyId: key?.id ?? "" });
    expect((await client.getChatflow({ id })).chatflow?.keys).toEqual([]);
  });

  test("are at most 100 a flow, also of calls at once", async () => {
    const { id: chatflowId } = await create();
    const made = await Promise.allSettled(
      Array.from({ length: 102 }, () => client.createChatflowKey({ chatflowId })),
    );
    const refused = made.filter(({ status }) => status === "rejected");
    expect(refused).toHaveLength(2);
    for (const reply of refused) {
      if (reply.status === "rejected") expect(reply.reason).toMatchObject({ code: Code.FailedPrecondition });
    }
    expect((await client.getChatflow({ id: chatflowId })).chatflow?.keys).toHaveLength(100);
  });
});

describe("lists", () => {
  test("go page by page, the newest first", async () => {
    await using fresh = await startServer({ settings: { CATALOGUE: "1" } });
    const own = clientOf(fresh, "grpc", ChatflowService);
    const ids: string[] = [];
    for (let i = 0; i < 27; i += 1) {
      const { chatflow } = await own.createChatflow({
        name: `flow ${i}`,
        definition: { generator: EXTRACTIVE },
      });
      ids.unshift(chatflow?.id ?? "");
    }
    const first = await own.listChatflows({});
    expect(first.chatflows.map(({ id }) => id)).toEqual(ids.slice(0, 25));
    const second = await own.listChatflows({ pageToken: first.nextPageToken });
    expect(second.chatflows.map(({ id }) => id)).toEqual(ids.slice(25));
    expect(second.nextPageToken).toBe("");
    const whole = await own.listChatflows({ pageSize: 27 });
    expect([whole.chatflows.length, whole.nextPageToken]).toEqual([27, ""]);
  });

  test.each([
    [{ pageSize: 100 }, []],
    [{ pageSize: 101 }, ["page_size"]],
    [{ pageToken: "nonsense" }, ["page_token"]],
  ])("%j has complaints about %j", async (request, fields) => {
    expect(await fieldsOf(client.listChatflows(request))).toEqual(fields);
  });
});

describe("chat windows", () => {
  test("are told what may be uploaded, and what their flow's creator put there", async () => {
    const { id } = await create(
      {
        generator: EXTRACTIVE,
        retriever: {},
        picture: { model: "auspex/mobilenet" },
        chatbot: { title: "Ask me" },
        followUpPrompts: ["Why?"],
        overridable: ["topK"],
        allowedOrigins: ["https://example.org"],
      },
      "window",
    );
    expect(await client.getChatbot({ chatflowId: id })).toMatchObject({
      name: "window",
      chatbot: { title: "Ask me" },
      streaming: true,
      pictures: true,
      pictureTypes: ["image/jpeg", "image/png", "image/webp", "image/gif"],
      documents: true,
      maxUploadBytes: 52_428_800n,
      followUpPrompts: ["Why?"],
      needsKey: false,
    });
    const { id: plain } = await create();
    const { secret: _ } = await client.createChatflowKey({ chatflowId: plain });
    expect(await client.getChatbot({ chatflowId: plain })).toMatchObject({
      pictures: false,
      pictureTypes: [],
      documents: false,
      documentTypes: [],
      needsKey: true,
    });
  });
});

test.each([
  ["getChatflow", { id: "" }, ["id"]],
  ["getChatflow", { id: "x".repeat(65) }, ["id"]],
  ["deleteChatflow", { id: "" }, ["id"]],
  ["updateChatflow", { id: "", name: "x".repeat(181) }, ["id", "name"]],
  ["createChatflowKey", { chatflowId: "", name: "x".repeat(181) }, ["chatflow_id", "name"]],
  ["deleteChatflowKey", { chatflowId: "", keyId: "1" }, ["chatflow_id", "key_id"]],
  ["getChatbot", { chatflowId: "" }, ["chatflow_id"]],
] as const)("%s of %j has complaints about %j", async (method, request, fields) => {
  expect(await fieldsOf((client[method] as (r: object) => Promise<unknown>)(request))).toEqual(fields);
});
