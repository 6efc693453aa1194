/** Documents, what was said in chats, and what a chat window asks, through this dialect. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startServer, type TestServer } from "../../harness.ts";
import { call, createFlow, ROOTS, refused, upsertText } from "./client.ts";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

let server: TestServer;
beforeAll(async () => {
  server = await startServer({ settings: { CATALOGUE: "auspex/minilm, auspex/mobilenet-tiny" } });
});
afterAll(() => server?.[Symbol.asyncDispose]());

const dataUri = (type: string, text: string) => `data:${type};base64,${Buffer.from(text).toString("base64")}`;
const NOTHING = { numAdded: 0, numDeleted: 0, numUpdated: 0, numSkipped: 0, addedDocs: [] };

function form(
  fields: Readonly<Record<string, string | readonly [text: string, name: string, type?: string]>>,
) {
  const data = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    if (typeof value === "string") data.append(name, value);
    else data.append(name.replace(/\d+$/, ""), new Blob([value[0]], { type: value[2] ?? "" }), value[1]);
  }
  return data;
}

describe("an upsert", () => {
  it("takes files of every kind, and says what became of them", async () => {
    const flow = await createFlow(server, { definition: { retriever: {} } });
    const documents = {
      files1: ["Zebras graze.", "a.txt", "text/plain"],
      files2: ["# Lions\n\nLions hunt.\n", "b.md"],
      files3: ["<h1>Owls</h1><p>Owls sleep by day.</p>", "c.html", "text/html"],
      files4: ["animal,sound\nfrog,croak\n", "d.csv", "text/csv"],
      files5: ['[{"animal": "bee", "sound": "buzz"}]', "e.json", "application/json"],
    } as const;
    const raw = form({ ...documents, chatId: "c", metadata: '{"shelf": "7"}' });
    const { status, body } = await call(server, `POST /api/v1/vector/upsert/${flow}`, { raw });
    expect(status).toBe(200);
    expect(body).toEqual({ ...NOTHING, numAdded: body.addedDocs.length, addedDocs: expect.any(Array) });
    const sources = body.addedDocs.map(
      ({ metadata }: { metadata: { source: string; shelf: string } }) => metadata,
    );
    expect(new Set(sources.map(({ source }: { source: string }) => source))).toEqual(
      new Set(["a.txt", "b.md", "c.html", "d.csv", "e.json"]),
    );
    expect(sources.every(({ shelf }: { shelf: string }) => shelf === "7")).toBe(true);

    const again = await call(server, `POST /vector/upsert/${flow}/`, {
      raw: form({ ...documents, metadata: '{"shelf": "7"}' }),
    });
    expect(again.body).toEqual({ ...NOTHING, numSkipped: body.numAdded });
    const asked = await call(server, `POST /prediction/${flow}`, {
      json: { question: "What sound does a frog make?" },
    });
    expect(asked.body.sourceDocuments[0].metadata).toMatchObject({ source: "d.csv", shelf: "7" });
  });

  it.each([
    ["a text", { overrideConfig: { text: "Zebras graze." } }, "text"],
    ["a text with a name", { overrideConfig: { text: "Zebras graze.", fileName: "notes.txt" } }, "notes.txt"],
    [
      "a loader's file",
      { overrideConfig: { txtFile: `${dataUri("text/plain", "Zebras graze.")},filename:z.txt` } },
      "z.txt",
    ],
    [
      "a loader's file without a name",
      { overrideConfig: { mdFile: dataUri("text/markdown", "Zebras graze.") } },
      "file-1.md",
    ],
    ["uploads", { uploads: [{ name: "u.txt", data: dataUri("text/plain", "Zebras graze.") }] }, "u.txt"],
    [
      "uploads without an extension",
      { uploads: [{ name: "u", data: dataUri("text/plain", "Zebras graze.") }] },
      "u",
    ],
    ["files", { files: [dataUri("text/plain", "Zebras graze.")] }, "file-1"],
  ])("takes JSON with %s", async (_name, json, source) => {
    const flow = await createFlow(server, { definition: { retriever: {} } });
    const { body } = await call(server, `POST /vector/upsert/${flow}`, {
      json: { stopNodeId: "x", question: "", ...json },
    });
    expect(body).toMatchObject({
      numAdded: 1,
      addedDocs: [{ pageContent: "Zebras graze.", metadata: { source } }],
    });
  });

  it("splits as it is told, and replaces where it is told so", async () => {
    const flow = await createFlow(server, { definition: { retriever: {} } });
    const sentences = Array.from(
      { length: 10 },
      (_, i) => `Sentence number ${i} is about the animal of that number.`,
    );
    const upsert = (text: string, more: object) =>
      call(server, `POST /vector/upsert/${flow}`, {
        json: { overrideConfig: { text, chunkSize: 120, chunkOverlap: "0", ...more } },
      });
    const first = await upsert(sentences.join(" "), {});
    expect(first.body.numAdded).toBe(5);
    for (const { pageContent } of first.body.addedDocs) expect(pageContent.length).toBeLessThanOrEqual(120);
    const second = await upsert("Nothing of it is left.", { cleanup: "incremental" });
    expect(second.body).toMatchObject({ numAdded: 1, numDeleted: 5 });
  });

  it("is refused, with what was wrong", async () => {
    const [flow, bare] = [
      await createFlow(server, { definition: { retriever: {} } }),
      await createFlow(server),
    ];
    const refusal = async (json: object, id = flow) => {
      const { status, body } = await call(server, `POST /vector/upsert/${id}`, { json });
      expect(body).toEqual(refused(status, body.message));
      return [status, body.message];
    };
    const text = "Zebras graze.";
    expect(await refusal({ overrideConfig: { text } }, bare)).toEqual([
      500,
      expect.stringMatching(/^Error: vectorsService\.upsertVector - No vector node found/),
    ]);
    expect(await refusal({})).toEqual([400, expect.stringMatching(/^There is no document/)]);
    for (const [override, message] of [
      [{ text: 7 }, /^text: must be a string/],
      [{ text, chunkSize: "many" }, /^chunkSize: must be a whole number/],
      [{ text, chunkSize: 99 }, /^chunkSize: .*100/],
      [{ text, chunkSize: 100, chunkOverlap: 50 }, /^chunkOverlap: /],
      [{ text, cleanup: "full" }, /^cleanup: must be incremental or none/],
      [{ text, metadata: "shelf" }, /^metadata: must be an object/],
      [{ pdfFile: "plain" }, /^pdfFile: must be data:/],
      [{ pdfFile: dataUri("application/pdf", "no PDF") }, /PDF/],
      [{ jsonFile: dataUri("application/json", "{") }, /JSON/],
    ] as const) {
      expect([override, ...(await refusal({ overrideConfig: override }))]).toEqual([
        override,
        400,
        expect.stringMatching(message),
      ]);
    }
    expect(await refusal({ uploads: [{ name: "a.txt" }] })).toEqual([
      400,
      expect.stringMatching(/^uploads\[0\]: /),
    ]);
  });

  it("is remembered, and forgotten", async () => {
    const flow = await createFlow(server, { definition: { retriever: {} } });
    await upsertText(server, flow, "Zebras graze.");
    await upsertText(server, flow, "Lions hunt.", { name: "lions.md" });
    const list = async (query = "", root = "") =>
      (await call(server, `GET ${root}/upsert-history/${flow}${query}`)).body;
    for (const root of ROOTS) {
      expect(await list("", root)).toEqual(
        ["Zebras graze.", "Lions hunt."].map((pageContent) => ({
          id: expect.stringMatching(UUID),
          chatflowid: flow,
          result: { ...NOTHING, numAdded: 1, addedDocs: [{ pageContent, metadata: expect.any(Object) }] },
          flowData: {},
          date: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
        })),
      );
    }
    const rows: { id: string; date: string }[] = await list();
    expect(await list("?order=DESC")).toEqual(rows.toReversed());
    expect(await list("?endDate=2020-01-01")).toEqual([]);
    expect(await list("?startDate=2020-01-01")).toEqual(rows);
    expect(await list("?page=2&limit=1")).toEqual(rows.slice(1));
    const forget = (ids: unknown, path = "") =>
      call(server, `PATCH /upsert-history${path}`, { json: { ids } });
    for (const ids of [[], undefined, "all", [7]]) {
      expect(await forget(ids)).toMatchObject({
        status: 400,
        body: refused(400, expect.stringMatching(/^ids: /)),
      });
    }
    expect((await forget([rows[0]?.id, "00000000-0000-7000-8000-000000000000"])).status).toBe(404);
    expect(await list()).toHaveLength(2);
    expect((await forget([rows[0]?.id])).body).toEqual({ raw: [], affected: 1 });
    expect((await forget([rows[1]?.id], `/${flow}`)).body).toEqual({ raw: [], affected: 1 });
    expect(await list()).toEqual([]);
  });
});

it("attachments are read and kept for their chat", async () => {
  const flow = await createFlow(server);
  const { status, body } = await call(server, `POST /attachments/${flow}/c`, {
    raw: form({
      files1: ["# Lions\n\nLions hunt.\n", "lions.md", "text/markdown"],
      files2: ["a,b\n1,2\n", "t.csv"],
    }),
  });
  expect(status).toBe(200);
  expect(body).toEqual([
    {
      name: "lions.md",
      mimeType: "text/markdown",
      size: 21,
      content: expect.stringContaining("Lions hunt."),
    },
    { name: "t.csv", mimeType: "text/csv", size: 8, content: expect.stringContaining("1") },
  ]);
  const query = (chatId: string, fileName: string) =>
    `chatflowId=${flow}&chatId=${chatId}&fileName=${fileName}`;
  for (const root of ROOTS) {
    const file = await call(server, `GET ${root}/get-upload-file?${query("c", "lions.md")}`);
    expect([file.status, file.text]).toEqual([200, "# Lions\n\nLions hunt.\n"]);
    expect(file.headers.get("content-type")).toMatch(/^text\/markdown/);
    expect(file.headers.get("content-disposition")).toBe("attachment; filename*=UTF-8''lions.md");
    expect(file.headers.get("x-content-type-options")).toBe("nosniff");
  }
  for (const other of [
    query("other", "lions.md"),
    query("c", "none.md"),
    query("c", "..%2f..%2fauspex.db"),
  ]) {
    expect((await call(server, `GET /get-upload-file?${other}`)).status).toBe(404);
  }
  for (const missing of ["chatflowId", "chatId", "fileName"]) {
    const rest = new URLSearchParams(query("c", "lions.md"));
    rest.delete(missing);
    const answer = await call(server, `GET /get-upload-file?${rest}`);
    expect([answer.status, answer.body]).toEqual([400, refused(400, `${missing}: is required`)]);
  }
  expect((await call(server, `POST /attachments/${flow}/c`, { json: {} })).body).toEqual(
    refused(400, "files: is required"),
  );
});

describe("messages", () => {
  it("are listed by what is asked for, and deleted", async () => {
    const flow = await createFlow(server, { definition: { memory: {} } });
    for (const [chatId, question] of [
      ["a", "first"],
      ["b", "second"],
      ["a", "third"],
    ]) {
      const json = { question, chatId, leadEmail: "ada@b.example" };
      expect((await call(server, `POST /prediction/${flow}`, { json })).status).toBe(200);
    }
    const list = async (query = "", root = "") =>
      (await call(server, `GET ${root}/chatmessage/${flow}${query}`)).body;
    const all = await list();
    expect(all).toHaveLength(6);
    expect(all[0]).toEqual({
      id: expect.stringMatching(UUID),
      role: "userMessage",
      chatflowid: flow,
      content: "first",
      sourceDocuments: null,
      usedTools: null,
      fileAnnotations: null,
      agentReasoning: null,
      fileUploads: null,
      artifacts: null,
      action: null,
      chatType: "EXTERNAL",
      chatId: "a",
      memoryType: expect.any(String),
      sessionId: "a",
      createdDate: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
      leadEmail: "ada@b.example",
      followUpPrompts: null,
      executionId: null,
    });
    expect(await list("", "/api/v1")).toEqual(all);
    const same = async (query: string, expected: unknown) =>
      expect([query, await list(query)]).toEqual([query, expected]);
    await same("?order=DESC", all.toReversed());
    await same("?order=ASC&chatId=b", all.slice(2, 4));
    await same("?sessionId=b", all.slice(2, 4));
    await same(`?messageId=${all[1].id}`, [all[1]]);
    await same(`?memoryType=${encodeURIComponent(all[0].memoryType)}`, all);
    await same("?memoryType=other", []);
    await same("?chatType=EXTERNAL", all);
    await same(`?chatType=${encodeURIComponent('["INTERNAL","EXTERNAL"]')}`, all);
    await same("?chatType=INTERNAL", []);
    await same("?page=2&limit=4", all.slice(4));
    await same("?page=-1&limit=-1", all);
    await same("?startDate=2100-01-01", []);
    await same("?endDate=2100-01-01T00:00:00Z", all);
    for (const query of [
      "order=UP",
      "startDate=x",
      "page=0&limit=1",
      "feedbackType=MAYBE",
      "chatType=[",
      "limit=2001",
    ]) {
      const { status, body } = await call(server, `GET /chatmessage/${flow}?${query}`);
      expect([query, status, body]).toEqual([
        query,
        400,
        refused(400, expect.stringMatching(new RegExp(`^${query.split("=")[0]}: `))),
      ]);
    }
    const remove = async (query: string) => (await call(server, `DELETE /chatmessage/${flow}${query}`)).body;
    expect(await remove("?chatType=INTERNAL")).toEqual({ raw: [], affected: 0 });
    expect(await remove("?chatId=b&hardDelete=true")).toEqual({ raw: [], affected: 2 });
    expect(await remove("?chatId=b")).toEqual({ raw: [], affected: 0 });
    expect(await remove("")).toEqual({ raw: [], affected: 4 });
    expect(await list()).toEqual([]);
  });

  it("are rated, and rated again by the id that was given out", async () => {
    const flow = await createFlow(server);
    const asked = await call(server, `POST /prediction/${flow}`, { json: { question: "a?", chatId: "c" } });
    const { chatMessageId: messageId } = asked.body;
    const given = { chatflowid: flow, chatId: "c", messageId, rating: "THUMBS_UP", content: "" };
    const first = await call(server, "POST /feedback", { json: given });
    expect([first.status, first.body]).toEqual([
      200,
      { ...given, id: expect.any(String), createdDate: expect.any(String) },
    ]);
    const { id } = first.body;
    const put = (path: string, json: object) => call(server, `PUT ${path}`, { json });
    expect((await put(`/api/v1/feedback/${id}`, { content: "good" })).body).toMatchObject({
      id,
      rating: "THUMBS_UP",
      content: "good",
    });
    const bare = id.split(".")[1];
    expect((await put(`/feedback/${bare}`, { chatflowid: flow, rating: "THUMBS_DOWN" })).body).toMatchObject({
      id,
      rating: "THUMBS_DOWN",
      content: "good",
    });
    expect((await call(server, `GET /feedback/${flow}?chatId=c&sortOrder=DESC`)).body).toMatchObject([
      { id, rating: "THUMBS_DOWN" },
    ]);
    expect((await call(server, `GET /feedback/${flow}?chatId=other`)).body).toEqual([]);
    const messages = async (query: string) => (await call(server, `GET /chatmessage/${flow}${query}`)).body;
    expect(await messages("?feedbackType=THUMBS_DOWN")).toMatchObject([{ id: messageId }]);
    expect(await messages("?feedbackType=THUMBS_UP")).toEqual([]);
    expect(
      (await messages("?feedback=true")).map(({ feedback }: { feedback: object | null }) => feedback),
    ).toEqual([null, expect.objectContaining({ rating: "THUMBS_DOWN", content: "good" })]);
    for (const [line, json, status, message] of [
      ["POST /feedback", { ...given, rating: "FINE" }, 400, /^rating: /],
      ["POST /feedback", { ...given, chatflowid: undefined }, 400, /^chatflowid: /],
      ["POST /feedback", { ...given, messageId: undefined }, 400, /^messageId: /],
      ["POST /feedback", { ...given, chatId: "other" }, 404, /./],
      [`PUT /feedback/${bare}`, {}, 400, /^chatflowid: /],
      [`PUT /feedback/${flow}.x`, {}, 400, /^id: /],
    ] as const) {
      const answer = await call(server, line, { json });
      expect([line, answer.status, answer.body]).toEqual([
        line,
        status,
        refused(status, expect.stringMatching(message)),
      ]);
    }
  });

  it("have leads", async () => {
    const flow = await createFlow(server);
    const lead = { chatflowid: flow, chatId: "c", name: "Ada", email: "ada@b.example", phone: "1" };
    const { status, body } = await call(server, "POST /api/v1/leads/", { json: lead });
    expect([status, body]).toEqual([
      200,
      { ...lead, id: expect.stringMatching(UUID), createdDate: expect.any(String) },
    ]);
    expect((await call(server, `GET /leads/${flow}`)).body).toEqual([body]);
    expect((await call(server, "POST /leads", { json: { chatflowid: flow, chatId: "c" } })).status).toBe(400);
  });
});

describe("a chat window", () => {
  it("is told what it may offer", async () => {
    const flow = await createFlow(server, {
      definition: {
        retriever: {},
        picture: { model: "auspex/mobilenet-tiny" },
        followUpPrompts: ["And then?"],
        chatbot: { welcomeMessage: "Hi", starterPrompts: { "0": { prompt: "Hello?" } } },
        originRefusal: "no",
        allowedOrigins: ["https://a.example"],
      },
    });
    const uploads = {
      isSpeechToTextEnabled: false,
      isImageUploadAllowed: true,
      isRAGFileUploadAllowed: true,
      imgUploadSizeAndTypes: [
        { fileTypes: expect.arrayContaining(["image/png", "image/jpeg"]), maxUploadSize: expect.any(Number) },
      ],
      fileUploadSizeAndTypes: [
        { fileTypes: expect.arrayContaining([".md", ".pdf", ".csv"]), maxUploadSize: expect.any(Number) },
      ],
    };
    for (const root of ROOTS) {
      expect((await call(server, `GET ${root}/chatflows-streaming/${flow}`)).body).toEqual({
        isStreaming: true,
      });
      expect((await call(server, `GET ${root}/chatflows-uploads/${flow}`)).body).toEqual(uploads);
      expect((await call(server, `GET ${root}/public-chatbotConfig/${flow}`)).body).toEqual({
        followUpPrompts: { status: true },
        welcomeMessage: "Hi",
        starterPrompts: { "0": { prompt: "Hello?" } },
        uploads,
        flowData: '{"nodes":[],"edges":[]}',
        isTTSEnabled: false,
      });
    }
    const plain = await createFlow(server);
    expect((await call(server, `GET /chatflows-uploads/${plain}`)).body).toEqual({
      isSpeechToTextEnabled: false,
      isImageUploadAllowed: false,
      isRAGFileUploadAllowed: false,
      imgUploadSizeAndTypes: [],
      fileUploadSizeAndTypes: [],
    });
  });
});
