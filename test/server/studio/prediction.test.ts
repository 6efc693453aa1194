/** Asking a flow through this dialect, in one piece and as a stream, by clients as they are. */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { connect } from "node:net";
import { promisify } from "node:util";
import { FlowiseClient } from "flowise-sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ChatflowService } from "../../../gen/auspex/v1/chatflow_pb.ts";
import { PredictionService, PredictionStatus } from "../../../gen/auspex/v1/prediction_pb.ts";
import { clientOf, photograph, startServer, type TestServer, until } from "../../harness.ts";
import {
  beginEvents,
  chunk,
  dribbles,
  type LlmEndpoint,
  refuses,
  says,
  startLlmEndpoint,
} from "../../llm-endpoint.ts";
import { call, createFlow, ROOTS, refused, upsertText } from "./client.ts";

const run = promisify(execFile);
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

let server: TestServer;
let endpoint: LlmEndpoint;

beforeAll(async () => {
  endpoint = await startLlmEndpoint({
    says: says("Ze", 'bra"\n', "s."),
    dribbles,
    refuses: refuses(400),
    breaks: (response) => {
      beginEvents(response);
      response.write(chunk({ content: "Half an " }), () => setTimeout(() => response.destroy(), 50));
    },
  });
  server = await startServer({
    settings: { CATALOGUE: "auspex/minilm, auspex/mobilenet-tiny", EGRESS_ALLOW: "127.0.0.1" },
  });
});
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await endpoint?.[Symbol.asyncDispose]();
});

/** A flow whose generator behaves as the endpoint's model of this name. */
const llmFlow = (model: string, definition: object = {}) =>
  createFlow(server, {
    definition: {
      extractive: undefined,
      openai: { baseUrl: endpoint.baseUrl, model, retries: 0 },
      ...definition,
    },
  });

/** An SSE body's events, by its exact framing. */
function eventsOf(text: string): readonly { readonly event: string; readonly data: unknown }[] {
  const frames = text.split("\n\n");
  expect(frames.pop()).toBe("");
  return frames
    .filter((frame) => frame !== ":heartbeat")
    .map((frame) => {
      expect(frame.startsWith("message:\ndata:{")).toBe(true);
      return JSON.parse(frame.slice("message:\ndata:".length));
    });
}

describe("an answer in one piece", () => {
  it("has the documented fields, under both roots", async () => {
    const flow = await createFlow(server, {
      definition: { memory: {}, retriever: {}, followUpPrompts: ["And lions?"] },
    });
    expect((await upsertText(server, flow, "Zebras graze on grassland.\n")).status).toBe(200);
    for (const root of ROOTS) {
      const { status, body, headers } = await call(server, `POST ${root}/prediction/${flow}`, {
        json: {
          question: "What do zebras do?",
          overrideConfig: null,
          chatId: null,
          history: [],
          uploads: [],
        },
      });
      expect([status, body]).toEqual([
        200,
        {
          text: "Zebras graze on grassland.",
          question: "What do zebras do?",
          chatId: expect.stringMatching(UUID),
          chatMessageId: expect.stringMatching(UUID),
          isStreamValid: false,
          sessionId: body.chatId,
          memoryType: expect.any(String),
          sourceDocuments: [
            {
              pageContent: "Zebras graze on grassland.",
              metadata: expect.objectContaining({ source: "animals.md" }),
            },
          ],
          followUpPrompts: '["And lions?"]',
        },
      ]);
      const id = headers.get("x-prediction-id") ?? "";
      const { prediction } = await clientOf(server, "grpc", PredictionService).getPrediction({ id });
      expect([prediction?.model, prediction?.status]).toEqual([
        `chatflow/${flow}`,
        PredictionStatus.SUCCEEDED,
      ]);
    }
  });

  it.each([
    [{ chatId: "c" }, { chatId: "c", sessionId: "c" }],
    [{ overrideConfig: { sessionId: "s" } }, { chatId: "s", sessionId: "s" }],
    [
      { chatId: "c", overrideConfig: { sessionId: "s" } },
      { chatId: "c", sessionId: "s" },
    ],
    [
      { chatId: "c", sessionId: "t" },
      { chatId: "c", sessionId: "t" },
    ],
  ])("of %j is of that chat and session", async (ids, expected) => {
    const flow = await createFlow(server);
    const { body } = await call(server, `POST /prediction/${flow}/`, { json: { question: "a?", ...ids } });
    expect(body).toMatchObject(expected);
  });

  it("reaches the language model with its history, memory and overrides", async () => {
    const flow = await llmFlow("says", { memory: {}, overridable: ["temperature", "systemPrompt"] });
    const ask = (json: object) =>
      call(server, `POST /prediction/${flow}`, { json: { chatId: "c", ...json } });
    await ask({ question: "first" });
    const { body } = await ask({
      question: "second",
      history: [{ role: "userMessage", content: "before" }],
      overrideConfig: { temperature: 0.25, systemMessage: "Be brief.", maxTokens: 7 },
    });
    expect(body.text).toBe('Zebra"\ns.');
    const { completion } = endpoint.asked.at(-1) ?? {};
    expect(completion).toMatchObject({ temperature: 0.25, max_tokens: 1024 });
    const contents = completion?.messages.map(({ content }) => content) ?? [];
    expect(contents[0]).toContain("Be brief.");
    expect(contents.slice(1, 4)).toEqual(["before", "first", 'Zebra"\ns.']);
    expect(contents.at(-1)).toContain("second");
  });
});

describe("the documentation's own samples", () => {
  let flow: string;
  beforeAll(async () => {
    flow = await createFlow(server);
  });
  const expected = { question: "text", text: expect.any(String), chatId: expect.stringMatching(UUID) };

  it("raw HTTP", async () => {
    // The sample's length is of its own line ends.
    const body = '{\n  "question": "text",\n  "files": [\n    "binary"\n  ],\n  "modelName": ""\n}';
    const head = [
      `POST /prediction/${flow} HTTP/1.1`,
      "Host: localhost",
      "Authorization: Bearer JWT",
      "Content-Type: multipart/form-data",
      "Accept: */*",
      `Content-Length: ${body.length}`,
      "Connection: close",
    ];
    const answer = await exchange(`${head.join("\r\n")}\r\n\r\n${body}`);
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
    expect(JSON.parse(answer.slice(answer.indexOf("\r\n\r\n") + 4))).toMatchObject(expected);
  });

  it("raw HTTP in chunks", async () => {
    const pieces = ['{"question"', ': "te', 'xt"}'].map(
      (text) => `${text.length.toString(16)}\r\n${text}\r\n`,
    );
    const head = `POST /prediction/${flow} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close`;
    const answer = await exchange(`${head}\r\n\r\n${pieces.join("")}0\r\n\r\n`);
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
    expect(answer).toContain('"question":"text"');
  });

  it("curl", async () => {
    for (const root of ROOTS) {
      const { stdout } = await run("curl", [
        ...["-s", "-L", "--request", "POST", "--url", `${server.url}${root}/prediction/${flow}`],
        ...["--header", "Authorization: Bearer JWT", "--header", "Content-Type: multipart/form-data"],
        ...["--form", "question=text", "--form", "files=binary", "--form", "modelName="],
      ]);
      expect(JSON.parse(stdout)).toMatchObject(expected);
    }
  });

  it("JavaScript", async () => {
    const formData = new FormData();
    formData.append("question", "text");
    formData.append("files", "binary");
    formData.append("modelName", "");
    const response = await fetch(`${server.url}/prediction/${flow}`, {
      method: "POST",
      headers: { Authorization: "Bearer JWT", "Content-Type": "multipart/form-data" },
      body: formData,
    });
    expect(await response.json()).toMatchObject(expected);
  });

  it("Python: what requests 2.34 sends", async () => {
    const boundary = "252f63fd28590fb55be61134b5d59bcd";
    const parts = [
      ["question", "text"],
      ["files", "binary"],
      ["modelName", ""],
    ].map(
      ([name, text]) =>
        `--${boundary}\r\nContent-Disposition: form-data; name="${name}"; filename="${name}"\r\n\r\n${text}\r\n`,
    );
    const { status, body } = await call(server, `POST /prediction/${flow}`, {
      raw: Buffer.from(`${parts.join("")}--${boundary}--\r\n`),
      key: "JWT",
      headers: { "content-type": "multipart/form-data" },
    });
    expect([status, body]).toMatchObject([200, expected]);
  });
});

/** Everything that comes back for these bytes until the server closes the connection. */
async function exchange(bytes: string): Promise<string> {
  const { hostname, port } = new URL(server.url);
  const socket = connect(Number(port), hostname);
  socket.write(bytes);
  const chunks: Buffer[] = [];
  socket.on("data", (data) => chunks.push(data));
  await once(socket, "close");
  return Buffer.concat(chunks).toString();
}

describe("an answer as a stream", () => {
  it("is framed to the byte", async () => {
    const flow = await llmFlow("says", { memory: {} });
    const body = JSON.stringify({ question: "what?", chatId: "c", streaming: true });
    const head = `POST /api/v1/prediction/${flow} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${body.length}`;
    const answer = await exchange(`${head}\r\nConnection: close\r\n\r\n${body}`);
    const [headers = "", ...rest] = answer.split("\r\n\r\n");
    expect(headers).toMatch(/^HTTP\/1\.1 200 /);
    const lower = headers.toLowerCase();
    for (const line of [
      "content-type: text/event-stream",
      "cache-control: no-cache",
      "x-accel-buffering: no",
    ]) {
      expect(lower.split("\r\n")).toContain(line);
    }
    expect(lower).toMatch(/x-prediction-id: [0-9a-f-]{36}/);
    // Chunked: lengths and line ends around each piece.
    const text = rest
      .join("\r\n\r\n")
      .replaceAll(/(?:^|\r\n)[0-9a-f]+\r\n/g, "")
      .replace(/\r\n$/, "");
    const start = text.indexOf('message:\ndata:{"event":"start"');
    const piece = JSON.parse(text.slice(start + "message:\ndata:".length, text.indexOf("\n\n", start))).data;
    expect(text.slice(start)).toContain(
      `message:\ndata:{"event":"token","data":${JSON.stringify(piece)}}\n\n`,
    );
    expect(text.endsWith('message:\ndata:{"event":"end","data":"[DONE]"}\n\n')).toBe(true);
    const events = eventsOf(text);
    const said = events.filter(({ event }) => event === "token").map(({ data }) => data);
    expect(said.join("")).toBe('Zebra"\ns.');
    const names = events.map(({ event }) => event);
    expect(names[0]).toBe("start");
    expect(names.slice(-3)).toEqual(["usageMetadata", "metadata", "end"]);
    expect(events.at(-2)?.data).toEqual({
      chatId: "c",
      chatMessageId: expect.stringMatching(UUID),
      question: "what?",
      sessionId: "c",
      memoryType: expect.any(String),
    });
  });

  it("names its sources, from a form too", async () => {
    const flow = await createFlow(server, { definition: { retriever: {} } });
    await upsertText(server, flow, "Zebras graze on grassland.\n");
    const form = new FormData();
    form.append("question", "What do zebras do?");
    form.append("streaming", "true");
    const { text, headers } = await call(server, `POST /prediction/${flow}`, { raw: form });
    expect(headers.get("content-type")).toBe("text/event-stream");
    const events = eventsOf(text);
    // A window puts them to its last message, which is the question's until the answer's has begun.
    expect(events.slice(0, 2).map(({ event }) => event)).toEqual(["start", "sourceDocuments"]);
    expect(events.find(({ event }) => event === "sourceDocuments")?.data).toMatchObject([
      { pageContent: "Zebras graze on grassland.", metadata: { source: "animals.md" } },
    ]);
    expect(
      events
        .filter(({ event }) => event === "token")
        .map(({ data }) => data)
        .join(""),
    ).toBe("Zebras graze on grassland.");
  });

  it("is JSON with its status where it is refused before it began", async () => {
    const flow = await createFlow(server);
    const ask = (json: object, id = flow) =>
      call(server, `POST /prediction/${id}`, { json: { question: "a?", streaming: true, ...json } });
    expect(await ask({}, "none")).toMatchObject({
      status: 404,
      body: refused(404, "Chatflow none not found in the database!"),
    });
    expect(await ask({ chatId: 7 })).toMatchObject({
      status: 400,
      body: refused(400, "Invalid chatId: must be a string"),
    });
    expect(await ask({ question: "" })).toMatchObject({
      status: 400,
      body: refused(400, expect.stringMatching(/^question: /)),
    });
    expect(await ask({ question: "x".repeat(32_769) })).toMatchObject({
      status: 400,
      body: refused(400, expect.stringMatching(/^question: .*32,?768/)),
    });
    expect(await ask({ chatId: "x".repeat(256) })).toMatchObject({
      status: 400,
      body: refused(400, expect.stringMatching(/^chatId: /)),
    });
    expect(await ask({ uploads: [{ type: "audio", data: "data:audio/wav;base64,eA==" }] })).toMatchObject({
      status: 400,
      body: refused(400, expect.stringMatching(/^uploads\[0\]: audio is not supported/)),
    });
  });

  it("ends with the error that it met, and what was said stays", async () => {
    const flow = await llmFlow("breaks");
    const { status, text } = await call(server, `POST /prediction/${flow}`, {
      json: { question: "a?", chatId: "c", streaming: true },
    });
    expect(status).toBe(200);
    const events = eventsOf(text);
    expect(events.map(({ event }) => event)).toEqual(["start", "token", "error", "end"]);
    expect(events[2]?.data).toEqual(expect.any(String));
    const messages = await call(server, `GET /chatmessage/${flow}?chatId=c`);
    expect(messages.body).toMatchObject([
      { role: "userMessage", content: "a?" },
      { role: "apiMessage", content: "Half an ", error: events[2]?.data },
    ]);
  });

  it("ends with its abort, and so does an answer in one piece", async () => {
    const flow = await llmFlow("dribbles");
    for (const streaming of [true, false]) {
      const before = endpoint.asked.length;
      const asking = call(server, `POST /prediction/${flow}`, {
        json: { question: "a?", chatId: "c", streaming },
      });
      await until(() => endpoint.asked.length > before);
      const aborted = await until(async () => {
        const answer = await call(server, `PUT /api/v1/chatmessage/abort/${flow}/c`);
        expect([answer.status, answer.body]).toEqual([200, { status: 200, message: "Chat message aborted" }]);
        return endpoint.open() === 0;
      });
      expect(aborted).toBe(true);
      const { status, text, body, headers } = await asking;
      if (streaming)
        expect(eventsOf(text).slice(-2)).toEqual([
          { event: "abort", data: "[DONE]" },
          { event: "end", data: "[DONE]" },
        ]);
      else {
        expect([status, body]).toEqual([
          500,
          refused(500, "Error: predictionsServices.buildChatflow - the answer was aborted"),
        ]);
        expect(headers.get("x-prediction-id")).toMatch(UUID);
      }
    }
  });

  it("stops when its reader goes away", async () => {
    const flow = await llmFlow("dribbles");
    const gone = new AbortController();
    const response = await fetch(`${server.url}/prediction/${flow}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ question: "a?", streaming: true }),
      signal: gone.signal,
    });
    const reader = response.body?.getReader();
    expect((await reader?.read())?.done).toBe(false);
    gone.abort();
    await until(() => endpoint.open() === 0);
    const predictions = clientOf(server, "grpc", PredictionService);
    const id = response.headers.get("x-prediction-id") ?? "";
    await until(
      async () => (await predictions.getPrediction({ id })).prediction?.status === PredictionStatus.CANCELED,
    );
  });
});

it("readers that go away at any moment leave nothing behind", async () => {
  const flow = await llmFlow("dribbles");
  const { hostname, port } = new URL(server.url);
  const body = JSON.stringify({ question: "a?", streaming: true });
  const head = `POST /prediction/${flow} HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}`;
  const leave = async (afterMs: number) => {
    const socket = connect(Number(port), hostname);
    socket.on("error", () => undefined);
    await once(socket, "connect");
    socket.end(`${head}\r\n\r\n${body}`);
    await new Promise((resolve) => setTimeout(resolve, afterMs));
    socket.resetAndDestroy();
  };
  for (let round = 0; round < 5; round++) {
    await Promise.all(Array.from({ length: 20 }, (_, i) => leave(i * 2)));
  }
  const predictions = clientOf(server, "grpc", PredictionService);
  await until(async () => {
    const all = await predictions.listPredictions({ pageSize: 200 });
    const own = all.predictions.filter(({ model }) => model === `chatflow/${flow}`);
    return own.length > 0 && own.every(({ status }) => status === PredictionStatus.CANCELED);
  });
  await until(() => endpoint.open() === 0);
  // Streams that were not let go of would count for ever.
  const metrics = async () => (await fetch(`${server.url}/metrics`)).text();
  await until(async () => /^auspex_answer_streams(?:\{[^}]*\})? 0$/m.test(await metrics()));
});

describe("the SDK of the original", () => {
  it("asks, in one piece and as a stream", async () => {
    const flow = await llmFlow("says");
    const client = new FlowiseClient({ baseUrl: server.url });
    const whole = await client.createPrediction({ chatflowId: flow, question: "what?" });
    expect(whole).toMatchObject({ text: 'Zebra"\ns.', question: "what?" });
    const events: { event: string; data: string }[] = [];
    const stream = await client.createPrediction({ chatflowId: flow, question: "what?", streaming: true });
    for await (const event of stream) events.push(event);
    const tokens = events.filter(({ event }) => event === "token").map(({ data }) => data);
    expect(tokens.join("")).toBe('Zebra"\ns.');
    expect(events[0]?.event).toBe("start");
    expect(events.at(-1)).toEqual({ event: "end", data: "[DONE]" });
  });

  it("is told what is wrong, for it parses every answer as JSON", async () => {
    const client = new FlowiseClient({ baseUrl: server.url });
    const answer = await client.createPrediction({ chatflowId: "none", question: "what?", streaming: true });
    expect(answer).toEqual(refused(404, "Chatflow none not found in the database!"));
  });
});

describe("uploads", () => {
  const ask = (flow: string, json: object) => call(server, `POST /prediction/${flow}`, { json });

  it("a picture is seen, as a data URI and as a form's file", async () => {
    const flow = await createFlow(server, { definition: { picture: { model: "auspex/mobilenet-tiny" } } });
    const photo = await readFile(photograph("zebra"));
    const data = `data:image/jpeg;base64,${photo.toString("base64")}`;
    const seen = [
      { tool: "picture", toolInput: { name: "zebra.jpg" }, toolOutput: expect.stringContaining("zebra") },
    ];
    const upload = { type: "file", name: "zebra.jpg", mime: "image/jpeg", data };
    const byUri = await ask(flow, { question: "What is it?", chatId: "c", uploads: [upload] });
    expect(byUri.body).toMatchObject({ usedTools: seen });
    const form = new FormData();
    form.append("question", "What is it?");
    form.append("files", new Blob([photo], { type: "image/jpeg" }), "zebra.jpg");
    expect((await call(server, `POST /prediction/${flow}`, { raw: form })).body).toMatchObject({
      usedTools: seen,
    });

    const { body } = await call(server, `GET /chatmessage/${flow}?chatId=c`);
    expect(body[0].fileUploads).toEqual([{ name: "zebra.jpg", mime: "image/jpeg" }]);

    const plain = await createFlow(server);
    expect(await ask(plain, { question: "?", uploads: [upload] })).toMatchObject({ status: 400 });
  });

  it("a document is read in full, or looked through for its chat alone", async () => {
    const flow = await llmFlow("says", { retriever: {} });
    const data = `data:text/markdown;base64,${Buffer.from("Okapis live in Ituri.").toString("base64")}`;
    const upload = (type: string) => ({ type, name: "okapi.md", mime: "text/markdown", data });
    await ask(flow, { question: "Where do okapis live?", chatId: "full", uploads: [upload("file:full")] });
    const sent = () => JSON.stringify(endpoint.asked.at(-1)?.completion.messages);
    expect(sent()).toContain("Okapis live in Ituri.");

    const rag = await ask(flow, {
      question: "Where do okapis live?",
      chatId: "rag",
      uploads: [upload("file:rag")],
    });
    expect(rag.body.sourceDocuments).toMatchObject([{ pageContent: "Okapis live in Ituri." }]);
    const elsewhere = await ask(flow, { question: "Where do okapis live?", chatId: "other" });
    expect(elsewhere.body.sourceDocuments).toBeUndefined();
    expect(sent()).not.toContain("Ituri");
  });

  it("a document that cannot be read is refused", async () => {
    const flow = await createFlow(server);
    const data = `data:application/msword;base64,${Buffer.from("x").toString("base64")}`;
    const { status, body } = await ask(flow, {
      question: "?",
      uploads: [{ type: "file:full", name: "a.doc", data }],
    });
    expect([status, body.message]).toEqual([
      400,
      expect.stringMatching(/^application\/msword cannot be read/),
    ]);
  });
});

describe("who may ask", () => {
  it("holders of the flow's key, once it has one", async () => {
    const [flow, other] = [await createFlow(server), await createFlow(server)];
    const flows = clientOf(server, "grpc", ChatflowService);
    const [own, foreign] = await Promise.all(
      [flow, other].map(
        async (chatflowId) => (await flows.createChatflowKey({ chatflowId, name: "k" })).secret,
      ),
    );
    for (const streaming of [false, true]) {
      const ask = (key: string | undefined) =>
        call(server, `POST /prediction/${flow}`, { json: { question: "a?", streaming }, key });
      for (const key of [undefined, foreign, "nonsense"]) {
        const { status, body } = await ask(key);
        expect([key, status, body]).toEqual([key, 401, refused(401, "Unauthorized Access")]);
      }
      expect((await ask(own)).status).toBe(200);
    }
  });

  it("pages of the flow's origins, in the flow's own words", async () => {
    const flow = await createFlow(server, {
      more: {
        chatbotConfig: { allowedOrigins: ["https://a.example"], allowedOriginsError: "Not from there." },
      },
    });
    const ask = (origin: string, streaming: boolean) =>
      call(server, `POST /prediction/${flow}`, { json: { question: "a?", streaming }, headers: { origin } });
    for (const origin of ["https://a.example.evil", "http://a.example", "null", "http://localhost"]) {
      const unary = await ask(origin, false);
      expect([unary.status, unary.body]).toEqual([403, refused(403, "Not from there.")]);
      const streamed = await ask(origin, true);
      expect([streamed.status, streamed.text, streamed.headers.get("content-type")]).toEqual([
        403,
        "Not from there.",
        "text/plain; charset=utf-8",
      ]);
    }
    for (const streaming of [false, true]) {
      const { status, headers } = await ask("https://a.example", streaming);
      expect([status, headers.get("access-control-allow-origin")]).toEqual([200, "https://a.example"]);
      expect(headers.get("access-control-expose-headers")).toContain("X-Prediction-Id");
    }
  });

  it("as often as the flow says, and are told in its words", async () => {
    const flow = await createFlow(server, {
      more: {
        apiConfig: {
          rateLimit: { status: true, limitMax: 1, limitDuration: 3600, limitMsg: "Later, please." },
        },
      },
    });
    const ask = (streaming: boolean) =>
      call(server, `POST /prediction/${flow}`, { json: { question: "a?", streaming } });
    expect((await ask(false)).status).toBe(200);
    for (const streaming of [false, true]) {
      const { status, text, headers } = await ask(streaming);
      expect([status, text]).toEqual([429, "Later, please."]);
      expect(Number(headers.get("retry-after"))).toBeGreaterThan(0);
    }
  });
});

it("an endpoint that refuses is the flow's failure: 500 with the original's words before it", async () => {
  const flow = await llmFlow("refuses");
  const { status, body, headers } = await call(server, `POST /prediction/${flow}`, {
    json: { question: "a?" },
  });
  expect([status, body]).toEqual([
    500,
    refused(500, expect.stringMatching(/^Error: predictionsServices\.buildChatflow - .*400/)),
  ]);
  const id = headers.get("x-prediction-id") ?? "";
  const { prediction } = await clientOf(server, "grpc", PredictionService).getPrediction({ id });
  expect(prediction?.status).toBe(PredictionStatus.FAILED);
});
