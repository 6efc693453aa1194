/** Documents through the real server: upserted in every format, found by questions, replaced, attached to chats. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Client, Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ChatflowService, type Retriever_Mode } from "../../gen/auspex/v1/chatflow_pb.ts";
import { clientOf, startServer, type TestServer, until } from "../harness.ts";
import { makePdf } from "../services/flow/pdf.ts";

const PASSAGES_MAX = 600;
const settings = { CATALOGUE: "auspex/minilm", MAX_UPSERT_PASSAGES: String(PASSAGES_MAX) };
let server: TestServer;
let dataDir: string;
let flows: Client<typeof ChatflowService>;

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "auspex-documents-"));
  server = await startServer({ dataDir, settings });
  flows = clientOf(server, "grpc", ChatflowService);
});
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await rm(dataDir, { recursive: true, force: true });
});

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

async function createFlow(retriever: { chunkSize?: number; mode?: Retriever_Mode } = {}): Promise<string> {
  const generator = { case: "extractive", value: {} } as const;
  const { chatflow } = await flows.createChatflow({
    name: "documents",
    definition: { retriever, generator },
  });
  return chatflow?.id ?? "";
}

async function passagesOf(id: string): Promise<number> {
  return (await flows.getChatflow({ id })).chatflow?.passages ?? 0;
}

async function sourcesOf(chatflowId: string, text: string): Promise<readonly unknown[]> {
  const { answer } = await flows.createAnswer({ chatflowId, question: { text } });
  return answer?.sourceDocuments.map((passage) => ({ ...passage.metadata, text: passage.text })) ?? [];
}

async function errorOf(call: Promise<unknown>): Promise<ConnectError> {
  return call.then(
    () => expect.unreachable("it was not refused"),
    (thrown: unknown) => ConnectError.from(thrown),
  );
}

/** A table of so many rows, each of which makes a passage. */
function table(rows: number): { name: string; content: Uint8Array } {
  const lines = Array.from(
    { length: rows },
    (_, n) => `${n},"Item ${n} weighs ${n * 7} grams and is kept in room ${n % 9}."`,
  );
  return { name: "items.csv", content: utf8(`item,text\n${lines.join("\n")}\n`) };
}

test("every format is read, and answers name the document and the place in it", async () => {
  const chatflowId = await createFlow();
  const documents = [
    { name: "tea.md", content: utf8("# Tea\n## Green\nGreen tea is brewed at 75 degrees for two minutes.") },
    { name: "dogs.html", content: utf8("<h1>Dogs</h1><p>A border collie herds sheep all day.</p>") },
    { name: "cities.csv", content: utf8("city,river\nVienna,Danube\nParis,Seine\n") },
    { name: "stars.json", content: utf8('[{"star":"Sirius","note":"the brightest star of the night sky"}]') },
    { name: "bikes.pdf", content: makePdf([["A bicycle chain needs oil", "every two hundred kilometres."]]) },
    {
      name: "bread",
      mediaType: "text/plain",
      content: utf8("Sourdough bread rises overnight."),
      metadata: { shelf: 3 },
    },
  ];
  const { result } = await flows.upsertDocuments({ chatflowId, documents });
  expect(result).toMatchObject({ added: 7, skipped: 0, deleted: 0, updated: 0 });
  expect(result?.addedDocuments).toHaveLength(7);

  const best = async (question: string) => (await sourcesOf(chatflowId, question))[0];
  expect(await best("How hot should the water for green tea be?")).toEqual({
    source: "tea.md",
    heading: "Tea > Green",
    text: "# Tea\n## Green\nGreen tea is brewed at 75 degrees for two minutes.",
  });
  expect(await best("Which dog looks after sheep?")).toMatchObject({ source: "dogs.html", heading: "Dogs" });
  expect(await best("Which river flows through Vienna?")).toEqual({
    source: "cities.csv",
    row: 1,
    text: "city: Vienna\nriver: Danube",
  });
  expect(await best("What is the brightest star?")).toMatchObject({ source: "stars.json", row: 1 });
  expect(await best("When does a bicycle chain need oil?")).toMatchObject({ source: "bikes.pdf", page: 1 });
  expect(await best("Does sourdough bread rise overnight?")).toEqual({
    source: "bread",
    shelf: 3,
    text: "Sourdough bread rises overnight.",
  });
});

describe("the same document again", () => {
  test("is skipped, and only what is new is added", async () => {
    const chatflowId = await createFlow();
    const upsert = (text: string, replace = false) =>
      flows.upsertDocuments({ chatflowId, documents: [{ name: "a.md", content: utf8(text) }], replace });
    const counts = async (call: ReturnType<typeof upsert>) => {
      const { added, skipped, deleted } = (await call).result ?? {};
      return [added, skipped, deleted];
    };
    expect(await counts(upsert("# One\nFirst.\n# Two\nSecond."))).toEqual([2, 0, 0]);
    expect(await counts(upsert("# One\nFirst.\n# Two\nSecond."))).toEqual([0, 2, 0]);
    expect(await counts(upsert("# Two\nSecond.\n# Three\nThird."))).toEqual([1, 1, 0]);
    expect(await passagesOf(chatflowId)).toBe(3);
    expect(await counts(upsert("# Three\nThird.\n# Four\nFourth.", true))).toEqual([1, 1, 2]);
    expect(await passagesOf(chatflowId)).toBe(2);
    // Another document may say the same.
    const other = { name: "b.md", content: utf8("# Four\nFourth.") };
    expect((await flows.upsertDocuments({ chatflowId, documents: [other] })).result?.added).toBe(1);
    const { upserts } = await flows.listUpserts({ chatflowId });
    expect(upserts.map(({ added }) => added)).toEqual([2, 0, 1, 1, 1]);
  });

  test("at the same time is there once", async () => {
    const chatflowId = await createFlow();
    const upsert = () => flows.upsertDocuments({ chatflowId, documents: [table(40)] });
    const results = await Promise.all([upsert(), upsert(), upsert()]);
    expect(results.map(({ result }) => result?.added).sort((a = 0, b = 0) => a - b)).toEqual([0, 0, 40]);
    expect(await passagesOf(chatflowId)).toBe(40);
  });

  test("twice in one request, and rows that repeat, are there once", async () => {
    const chatflowId = await createFlow();
    const rows = { name: "rows.csv", content: utf8("a\nx\nx\ny\n") };
    const { result } = await flows.upsertDocuments({ chatflowId, documents: [rows, rows] });
    expect(result).toMatchObject({ added: 2, skipped: 4 });
  });
});

test("sizes of passages are the flow's, or the request's", async () => {
  const chatflowId = await createFlow({ chunkSize: 100 });
  const text = Array.from({ length: 8 }, (_, n) => `Line ${n} has exactly forty characters, see?`).join("\n");
  const upsert = (name: string, chunks: { chunkSize?: number; chunkOverlap?: number }) =>
    flows.upsertDocuments({ chatflowId, documents: [{ name, content: utf8(text) }], ...chunks });
  expect((await upsert("flow.txt", {})).result?.added).toBe(4);
  expect((await upsert("request.txt", { chunkSize: 400 })).result?.added).toBe(1);
  expect((await upsert("shared.txt", { chunkOverlap: 49 })).result?.added).toBeGreaterThan(4);
  for (const chunks of [
    { chunkSize: 99 },
    { chunkSize: 4001 },
    { chunkOverlap: 50 },
    { chunkSize: 100, chunkOverlap: 50 },
  ]) {
    expect((await errorOf(upsert("refused.txt", chunks))).code).toBe(Code.InvalidArgument);
  }
});

describe("refused, with nothing written", () => {
  const good = { name: "a.txt", content: utf8("text") };
  test.each([
    ["no document", [], "documents: must hold a document"],
    ["101 documents", Array(101).fill(good), "documents: has 101 entries; at most 100"],
    ["a name of 256", [{ ...good, name: `${"n".repeat(252)}.txt` }], "documents[0].name: has 256 characters"],
    ["no name", [good, { ...good, name: " " }], "documents[1].name: is required"],
    ["no bytes", [{ ...good, content: utf8("") }], "documents[0].content: must hold"],
    [
      "metadata of 4,097",
      [{ ...good, metadata: { k: "v".repeat(4097 - 8) } }],
      "documents[0].metadata: has 4097 bytes",
    ],
    ["an unknown type", [{ ...good, mediaType: "image/png" }], 'document "a.txt": image/png cannot be read'],
    ["broken JSON", [good, { name: "b.json", content: utf8("{") }], 'document "b.json": it is not JSON'],
    ["a blank document", [{ ...good, content: utf8(" ") }], 'document "a.txt": it holds no text'],
    ["a passage too many", [table(PASSAGES_MAX + 1)], `it has more than ${PASSAGES_MAX} passages`],
    [
      "a passage too many together",
      [table(PASSAGES_MAX), good],
      `the documents make more than ${PASSAGES_MAX} passages`,
    ],
  ])("%s", async (_, documents, message) => {
    const chatflowId = await createFlow();
    const error = await errorOf(flows.upsertDocuments({ chatflowId, documents }));
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.message).toContain(message);
    expect(await passagesOf(chatflowId)).toBe(0);
    expect((await flows.listUpserts({ chatflowId })).upserts).toEqual([]);
  });

  test("a flow without a retriever, and one that is not there", async () => {
    const definition = { generator: { case: "extractive", value: {} } } as const;
    const { chatflow } = await flows.createChatflow({ name: "mute", definition });
    const chatflowId = chatflow?.id ?? "";
    const error = await errorOf(flows.upsertDocuments({ chatflowId, documents: [good] }));
    expect(error.code).toBe(Code.FailedPrecondition);
    const unknown = flows.upsertDocuments({ chatflowId: "none", documents: [good] });
    expect((await errorOf(unknown)).code).toBe(Code.NotFound);
  });

  test("at the limits nothing is", async () => {
    const chatflowId = await createFlow();
    const documents = [
      { ...good, name: `${"n".repeat(251)}.txt`, metadata: { k: "v".repeat(4096 - 8) } },
      ...Array(99).fill(good),
    ];
    const { result } = await flows.upsertDocuments({ chatflowId, documents });
    expect(result).toMatchObject({ added: 2, skipped: 98 });
  });
});

describe("an upsert that does not come to its end", () => {
  test("as many passages as there may be, canceled by its caller: nothing stays", async () => {
    const chatflowId = await createFlow();
    const gone = new AbortController();
    const upsert = errorOf(
      flows.upsertDocuments({ chatflowId, documents: [table(PASSAGES_MAX)] }, { signal: gone.signal }),
    );
    await until(async () => (await passagesOf(chatflowId)) > 0);
    gone.abort();
    expect((await upsert).code).toBe(Code.Canceled);
    await until(async () => (await passagesOf(chatflowId)) === 0);
    expect((await flows.listUpserts({ chatflowId })).upserts).toEqual([]);
    // The flow is free for the next one at once.
    const { result } = await flows.upsertDocuments({ chatflowId, documents: [table(3)] });
    expect(result).toMatchObject({ added: 3, skipped: 0 });
  });

  test("its flow is deleted meanwhile", async () => {
    const chatflowId = await createFlow();
    const upsert = errorOf(flows.upsertDocuments({ chatflowId, documents: [table(PASSAGES_MAX)] }));
    await until(async () => (await passagesOf(chatflowId)) > 0);
    await flows.deleteChatflow({ id: chatflowId });
    expect((await upsert).code).toBe(Code.NotFound);
  });
});

describe("attachments", () => {
  const documents = [
    { name: "a.md", content: utf8("# A\nOne.\n# B\nTwo.") },
    { name: "b.pdf", content: makePdf([["Page one"], ["Page two"]]) },
  ];

  test("are answered as text and kept with their chat alone", async () => {
    const chatflowId = await createFlow();
    const { attachments } = await flows.createAttachments({ chatflowId, chatId: "chat 1", documents });
    expect(attachments).toMatchObject([
      { name: "a.md", mediaType: "text/markdown", size: 17n, content: "# A\nOne.\n\n# B\nTwo." },
      { name: "b.pdf", mediaType: "application/pdf", content: "Page one\n\nPage two" },
    ]);
    const file = await flows.getChatFile({ chatflowId, chatId: "chat 1", name: "b.pdf" });
    expect(file.mediaType).toBe("application/pdf");
    expect(Buffer.from(file.content).equals(documents[1]?.content ?? Buffer.alloc(0))).toBe(true);
    const other = await createFlow();
    for (const wrong of [
      { chatflowId, chatId: "chat 2", name: "b.pdf" },
      { chatflowId, chatId: "chat 1", name: "c.pdf" },
      { chatflowId: other, chatId: "chat 1", name: "b.pdf" },
    ]) {
      expect((await errorOf(flows.getChatFile(wrong))).code).toBe(Code.NotFound);
    }
    expect(await passagesOf(chatflowId)).toBe(0);
  });

  test("a chat holds a hundred of them, and one that cannot be read leaves none", async () => {
    const chatflowId = await createFlow();
    const attach = (first: number, count: number) =>
      flows.createAttachments({
        chatflowId,
        chatId: "full",
        documents: Array.from({ length: count }, (_, n) => ({
          name: `${first + n}.txt`,
          content: utf8("text"),
        })),
      });
    for (let first = 0; first < 96; first += 16) await attach(first, 16);
    expect((await errorOf(attach(96, 5))).code).toBe(Code.ResourceExhausted);
    expect((await attach(96, 4)).attachments).toHaveLength(4);
    expect((await errorOf(attach(100, 1))).code).toBe(Code.ResourceExhausted);
    // In place of one that is there.
    expect((await attach(0, 1)).attachments).toHaveLength(1);
    expect((await errorOf(attach(0, 17))).message).toContain("at most 16");

    const broken = { name: "c.json", content: utf8("{") };
    const refused = flows.createAttachments({
      chatflowId,
      chatId: "broken",
      documents: [...documents, broken],
    });
    expect((await errorOf(refused)).message).toContain("documents[2]: it is not JSON");
    const kept = flows.getChatFile({ chatflowId, chatId: "broken", name: "a.md" });
    expect((await errorOf(kept)).code).toBe(Code.NotFound);
  });
});

test("passages and files are there after a restart", async () => {
  const chatflowId = await createFlow();
  const documents = [{ name: "tea.md", content: utf8("# Tea\nGreen tea is brewed at 75 degrees.") }];
  await flows.upsertDocuments({ chatflowId, documents });
  await flows.createAttachments({ chatflowId, chatId: "c", documents });
  expect(await server.terminate()).toBe(0);
  server = await startServer({ dataDir, settings });
  flows = clientOf(server, "grpc", ChatflowService);
  expect(await sourcesOf(chatflowId, "How hot is green tea?")).toMatchObject([{ source: "tea.md" }]);
  expect((await flows.upsertDocuments({ chatflowId, documents })).result).toMatchObject({
    added: 0,
    skipped: 1,
  });
  const { content } = await flows.getChatFile({ chatflowId, chatId: "c", name: "tea.md" });
  expect(content).toEqual(documents[0]?.content);
});
