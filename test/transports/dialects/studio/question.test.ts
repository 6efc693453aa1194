/** Every documented field of a prediction's body, and what is said of a bad one. */
import { describe, expect, it } from "vitest";
import { ChatRole, ChatUpload_Kind } from "../../../../gen/auspex/v1/chatflow_pb.ts";
import { readConfig } from "../../../../src/config.ts";
import type { JsonObject } from "../../../../src/domain/payload.ts";
import { readQuestion } from "../../../../src/transports/dialects/studio/question.ts";

const config = readConfig({});
const ask = (values: JsonObject) =>
  readQuestion({ values: new Map(Object.entries(values)), files: [] }, config);

const base64 = (text: string) => Buffer.from(text).toString("base64");
const content = (text: string) => ({ case: "content", value: Buffer.from(text) });

it("asks nothing of an empty body", () => {
  expect(ask({})).toEqual({
    question: { text: "", chatId: "", sessionId: "", overrides: {}, history: [], uploads: [], leadEmail: "" },
    text: undefined,
    streaming: false,
  });
});

describe("fields", () => {
  it.each<[string, JsonObject, JsonObject]>([
    ["question", { question: "why?" }, { text: "why?" }],
    ["chatId", { chatId: "c" }, { chatId: "c" }],
    ["sessionId", { sessionId: "s" }, { sessionId: "s" }],
    [
      "the session of overrideConfig, which counts before",
      { sessionId: "s", overrideConfig: { sessionId: "o" } },
      { sessionId: "o", overrides: {} },
    ],
    ["leadEmail", { leadEmail: "a@b" }, { leadEmail: "a@b" }],
    [
      "nulls",
      { question: null, chatId: null, overrideConfig: null, history: null, uploads: null, leadEmail: null },
      { text: "", overrides: {} },
    ],
    ["form", { form: { colour: "red", size: { w: 1 } } }, { text: 'colour: red\nsize: {"w":1}' }],
    ["question before form", { question: "q", form: { a: "b" } }, { text: "q" }],
    [
      "what other clients add",
      { chatflowId: "x", action: {}, humanInput: { type: "proceed" }, stopNodeId: "n" },
      { overrides: {} },
    ],
    [
      "overrideConfig",
      { overrideConfig: { topK: 2, deep: { a: 1 } } },
      { overrides: { topK: 2, deep: { a: 1 } } },
    ],
    [
      "overrideConfig of a form",
      { overrideConfig: '{"topK": "2", "temperature": "0.5"}' },
      { overrides: { topK: 2, temperature: 0.5 } },
    ],
    [
      "unknown fields, as overrides",
      { modelName: "", topK: "3", overrideConfig: { topK: 4 } },
      { overrides: { modelName: "", topK: 4 } },
    ],
    ["a number that is none, for the flow to refuse", { topK: "many" }, { overrides: { topK: "many" } }],
    [
      "names of the original",
      { overrideConfig: { systemMessage: "be brief", vars: { a: "b" } } },
      { overrides: { systemPrompt: "be brief", promptValues: { a: "b" } } },
    ],
    [
      "our name before another",
      { overrideConfig: { vars: { a: "1" }, promptValues: { a: "2" } } },
      { overrides: { promptValues: { a: "2" } } },
    ],
    ["vars of a form", { vars: '{"a":"b"}' }, { overrides: { promptValues: { a: "b" } } }],
    ["uploads of a form that are no list", { uploads: "other" }, { uploads: [], overrides: {} }],
    ["uploads of a form that are empty", { uploads: "" }, { uploads: [] }],
  ])("%s", (_name, body, expected) => {
    expect(ask(body).question).toMatchObject(expected);
  });

  it("keeps a name that is everybody's prototype an override", () => {
    const { overrides } = ask(JSON.parse('{"overrideConfig": {"__proto__": {"topK": 1}}}')).question;
    expect(Object.keys(overrides ?? {})).toEqual(["__proto__"]);
  });

  it.each([
    [true, true],
    ["true", true],
    [false, false],
    ["false", false],
    [1, false],
    ["yes", false],
    [null, false],
  ])("streaming %j is %s", (streaming, expected) => {
    expect(ask({ streaming }).streaming).toBe(expected);
  });

  it("history, also in its older form and as text", () => {
    const history = [
      { role: "userMessage", content: "a" },
      { type: "apiMessage", message: "b" },
    ];
    const expected = [
      { role: ChatRole.USER, content: "a" },
      { role: ChatRole.API, content: "b" },
    ];
    expect(ask({ history }).question.history).toEqual(expected);
    expect(ask({ history: JSON.stringify(history) }).question.history).toEqual(expected);
  });
});

describe("uploads", () => {
  const upload = (given: JsonObject) => ask({ uploads: [given] }).question.uploads?.[0];

  it.each<[string, JsonObject, object | undefined]>([
    [
      "a picture",
      { type: "file", name: "a.PNG", mime: "image/png", data: `data:image/png;base64,${base64("x")}` },
      { kind: ChatUpload_Kind.PICTURE, name: "a.PNG", mediaType: "image/png", source: content("x") },
    ],
    [
      "a picture by its other extension",
      { type: "file", name: "a.jpeg", data: `data:image/jpeg;base64,${base64("x")}` },
      { kind: ChatUpload_Kind.PICTURE },
    ],
    [
      "a document as a file",
      { type: "file", name: "a.csv", data: `data:text/csv;base64,${base64("a,b")}` },
      { kind: ChatUpload_Kind.UNSPECIFIED, mediaType: "text/csv" },
    ],
    [
      "a file of a type that nobody knows",
      { type: "file", name: "a.md", data: `data:application/octet-stream;base64,${base64("# a")}` },
      { kind: ChatUpload_Kind.UNSPECIFIED, mediaType: "" },
    ],
    [
      "parameters of a type",
      { type: "file:rag", name: "a.txt", data: `data:text/plain;charset=utf-8;base64,${base64("t")}` },
      { kind: ChatUpload_Kind.RAG, mediaType: "text/plain", source: content("t") },
    ],
    ["a document that was upserted before", { type: "file:rag", name: "a.txt", data: "" }, undefined],
    [
      "a document in full",
      { type: "file:full", name: "dir/a.md", data: `data:text/markdown;base64,${base64("# a")}` },
      { kind: ChatUpload_Kind.FULL, name: "a.md", mediaType: "text/markdown", source: content("# a") },
    ],
    [
      "the text of a document that was read before",
      { type: "file:full", name: "a.pdf", mime: "application/pdf", data: "its text" },
      { kind: ChatUpload_Kind.FULL, name: "a.pdf", mediaType: "text/plain", source: content("its text") },
    ],
    [
      "an address",
      { type: "url", data: "https://example.org/p/zebra.jpg?x=1" },
      {
        kind: ChatUpload_Kind.PICTURE,
        name: "zebra.jpg",
        mediaType: "image/png",
        source: { case: "url", value: "https://example.org/p/zebra.jpg?x=1" },
      },
    ],
    [
      "an address of a document",
      { type: "url", name: "a.md", mime: "text/markdown", data: "https://example.org/a" },
      { kind: ChatUpload_Kind.UNSPECIFIED, name: "a.md", mediaType: "text/markdown" },
    ],
    ["no name", { type: "file", data: `data:image/png;base64,${base64("x")}` }, { name: "file-1" }],
  ])("%s", (_name, given, expected) => {
    if (expected === undefined) expect(upload(given)).toBeUndefined();
    else expect(upload(given)).toMatchObject(expected);
  });
});

describe("refusals", () => {
  const png = `data:image/png;base64,${base64("x")}`;
  const one = (upload: JsonObject) => ({ uploads: [upload] });
  it.each<[string, JsonObject]>([
    ["Invalid question: must be a string", { question: 7 }],
    ["Invalid chatId: must be a string", { chatId: 7 }],
    ["Invalid sessionId: must be a string", { sessionId: {} }],
    ["Invalid sessionId: must be a string", { overrideConfig: { sessionId: 7 } }],
    ["Invalid leadEmail: must be a string", { leadEmail: [] }],
    ["overrideConfig: must be an object", { overrideConfig: [] }],
    ["overrideConfig: must be an object", { overrideConfig: "text" }],
    ["overrideConfig is not valid JSON", { overrideConfig: "{" }],
    ["history: must be a list of {role, content}", { history: {} }],
    ["history[0]: must be {role, content}", { history: ["a"] }],
    [
      "history[1].role: must be userMessage or apiMessage",
      {
        history: [
          { role: "userMessage", content: "" },
          { role: "user", content: "" },
        ],
      },
    ],
    ["history[0].content: must be a string", { history: [{ role: "userMessage" }] }],
    ["uploads: must be a list of {type, name, data, mime}", { uploads: {} }],
    ["uploads[0]: must be {type, name, data, mime}", { uploads: [null] }],
    ["uploads[0].type: must be file, url, audio, file:rag or file:full", one({ data: png })],
    ["uploads[0].name: must be a string", one({ type: "file", name: 1, data: png })],
    ["uploads[0].data: must be data:<mime>;base64,<data>", one({ type: "file", name: "a.png" })],
    [
      "uploads[0].data: must be data:<mime>;base64,<data>",
      one({ type: "file", name: "a.png", data: "data:image/png,x" }),
    ],
    [
      "uploads[0].data: must be data:<mime>;base64,<data>",
      one({ type: "file:rag", name: "a.txt", data: "data:text/plain;base64,a*" }),
    ],
    [
      "uploads[0].data: must be data:<mime>;base64,<data>",
      one({ type: "file", name: "a.txt", data: "data:text/plain;base64,abcde" }),
    ],
    ["uploads[0].data: must be an http or https URL", one({ type: "url", data: "file:///etc/passwd" })],
    [
      "uploads[0]: audio is not supported: this server has no speech to text",
      one({ type: "audio", data: "data:audio/webm;base64,eA==" }),
    ],
    [
      "uploads[0]: audio is not supported: this server has no speech to text",
      one({ type: "file", mime: "audio/ogg", data: png }),
    ],
    [
      "uploads[0]: audio is not supported: this server has no speech to text",
      one({ type: "file", data: "data:audio/webm;base64,eA==" }),
    ],
    [
      'MIME type mismatch: file extension "txt" does not match declared MIME type "image/png". Expected: png',
      one({ type: "file", name: "a.txt", data: png }),
    ],
    [
      'MIME type mismatch: file extension "png" does not match declared MIME type "image/jpeg". Expected: jpg',
      one({ type: "file", name: "a.png", data: "data:image/jpeg;base64,eA==" }),
    ],
    [
      'File extension is required to check the MIME type: "a" has none',
      one({ type: "file", name: "a", data: png }),
    ],
  ])("%s: %j", (message, body) => {
    expect(() => ask(body)).toThrow(expect.objectContaining({ status: 400, message }));
  });
});
