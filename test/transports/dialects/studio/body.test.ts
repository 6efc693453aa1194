/** What bodies of this dialect's clients are taken for. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { FastifyRequest } from "fastify";
import { describe, expect, it } from "vitest";
import { readConfig } from "../../../../src/config.ts";
import { readFields } from "../../../../src/transports/dialects/studio/body.ts";

const config = readConfig({});

function read(contentType: string | undefined, body: string | Buffer) {
  const bytes = typeof body === "string" ? Buffer.from(body) : body;
  return readFields({ body: bytes, headers: { "content-type": contentType } } as FastifyRequest, config);
}

async function fieldsOf(contentType: string | undefined, body: string | Buffer) {
  const { values, files } = await read(contentType, body);
  return {
    values: Object.fromEntries(values),
    files: files.map(({ name, mediaType, bytes }) => [name, mediaType, Buffer.from(bytes).toString()]),
  };
}

const form = (boundary: string, ...parts: readonly string[]) =>
  `${parts.map((part) => `--${boundary}\r\nContent-Disposition: form-data; ${part}\r\n`).join("")}--${boundary}--\r\n`;

describe("the four samples of the documentation", () => {
  it("raw HTTP: JSON that says it is a form", async () => {
    const body = '{\n  "question": "text",\n  "files": [\n    "binary"\n  ],\n  "modelName": ""\n}';
    expect(await fieldsOf("multipart/form-data", body)).toEqual({
      values: { question: "text", modelName: "" },
      files: [["file-1", "text/plain", "binary"]],
    });
  });

  it.each([
    [
      "curl",
      "------------------------f797681b0a231931",
      ["question", "files", "modelName"].map((n) => `name="${n}"`),
    ],
    [
      "a browser",
      "----WebKitFormBoundaryo8Fxn2vXIQF1VJsC",
      ["question", "files", "modelName"].map((n) => `name="${n}"`),
    ],
    [
      "Node",
      "----formdata-undici-052350752085",
      ["question", "files", "modelName"].map((n) => `name="${n}"`),
    ],
    [
      "Python",
      "252f63fd28590fb55be61134b5d59bcd",
      ["question", "files", "modelName"].map((n) => `name="${n}"; filename="${n}"`),
    ],
  ])("%s: a form without a boundary in its type", async (client, boundary, [question, files, modelName]) => {
    const body = form(boundary, `${question}\r\n\r\ntext`, `${files}\r\n\r\nbinary`, `${modelName}\r\n\r\n`);
    const expected = {
      values: { question: "text", modelName: "" },
      files: [[client === "Python" ? "files" : "file-1", "text/plain", "binary"]],
    };
    expect(await fieldsOf("multipart/form-data", body)).toEqual(expected);
    expect(await fieldsOf(`multipart/form-data; boundary=${boundary}`, body)).toEqual(expected);
  });
});

it.each([
  undefined,
  "application/json",
  "text/plain",
  "application/x-www-form-urlencoded",
  "multipart/form-data; boundary=x",
])("is JSON when it begins with a brace, whatever its type says: %s", async (type) => {
  for (const before of ["", "\ufeff", " \r\n\t"]) {
    expect(await fieldsOf(type, `${before}{"question":"ä"}`)).toEqual({
      values: { question: "ä" },
      files: [],
    });
  }
});

it("looks for the brace in the first KiB, however much is sent", async () => {
  const body = (blanks: number) => `${" ".repeat(blanks)}{"question":"ä"}`;
  expect((await fieldsOf("text/plain", body(1023))).values).toEqual({ question: "ä" });
  await expect(fieldsOf("text/plain", body(1024))).rejects.toThrow("must be a JSON object");
});

it("knows files by the name files alone, and their types as far as the sender does", async () => {
  const body = form(
    "b",
    'name="question"; filename="question"\r\nContent-Type: application/octet-stream\r\n\r\nwhat?',
    'name="files"; filename="C:\\\\docs\\\\notes.md"\r\nContent-Type: application/octet-stream\r\n\r\n# a',
    'name="files"; filename="page.html"\r\n\r\n<p>',
    'name="files"; filename="list"\r\nContent-Type: TEXT/CSV\r\n\r\na,b',
    'name="files"; filename=""\r\nContent-Type: application/octet-stream\r\n\r\n',
  );
  expect(await fieldsOf("multipart/form-data; boundary=b", body)).toEqual({
    values: { question: "what?" },
    files: [
      ["notes.md", "", "# a"],
      ["page.html", "", "<p>"],
      ["list", "text/csv", "a,b"],
    ],
  });
});

it("takes files in JSON as data URIs and as texts", async () => {
  const files = ["data:text/csv;base64,YSxi", "plain", ""];
  expect((await fieldsOf("application/json", JSON.stringify({ files }))).files).toEqual([
    ["file-1", "text/csv", "a,b"],
    ["file-2", "text/plain", "plain"],
  ]);
  expect(
    (await fieldsOf("application/json", '{"files":"data:,x"}').catch((error) => error.message)) as string,
  ).toBe("files[0]: is not data:<mime>;base64,<data>");
});

it("takes an URL-encoded body, and nothing at all", async () => {
  const type = "application/x-www-form-urlencoded; charset=utf-8";
  expect(await fieldsOf(type, "question=a+b&question=%C3%A4")).toEqual({
    values: { question: "ä" },
    files: [],
  });
  expect(await fieldsOf(undefined, "")).toEqual({ values: {}, files: [] });
});

it.each([
  [400, "The body is not valid JSON", "application/json", '{"question":'],
  [400, "The body must be a JSON object", "application/json", "[1]"],
  [400, "The body must be a JSON object", undefined, "hello"],
  [400, "is not UTF-8 text", "application/json", Buffer.from([0x7b, 0xff])],
  [400, "names no boundary", "multipart/form-data", "no boundary\r\n"],
  [400, "names no boundary", "multipart/form-data", `--${"b".repeat(71)}\r\n`],
  [400, "names no boundary", "multipart/form-data", "--b \r\n"],
  [
    400,
    "not multipart/form-data with the boundary",
    "multipart/form-data; boundary=other",
    form("b", 'name="a"\r\n\r\nx'),
  ],
  [
    400,
    'Unexpected field "file"',
    "multipart/form-data; boundary=b",
    form("b", 'name="file"; filename="a.md"\r\n\r\nx'),
  ],
  [
    400,
    'The field "question" is not UTF-8',
    "multipart/form-data; boundary=b",
    Buffer.from(form("b", 'name="question"\r\n\r\n\xff'), "latin1"),
  ],
  [400, "nested deeper than 32 levels", "application/json", `{"a":${"[".repeat(40)}${"]".repeat(40)}}`],
  [413, "more than 1000000 values", "application/json", `{"a":[${"0,".repeat(1_000_000)}0]}`],
  [
    413,
    "more than 128 parts",
    "multipart/form-data; boundary=b",
    form("b", ...Array(129).fill('name="a"\r\n\r\nx')),
  ],
])("%i: %s", async (status, message, type, body) => {
  await expect(read(type, body)).rejects.toMatchObject({ status, message: expect.stringContaining(message) });
});

it("says that it does not unpack bodies", async () => {
  const headers = { "content-type": "application/json", "content-encoding": "gzip" };
  const request = { body: Buffer.from("{}"), headers } as unknown as FastifyRequest;
  await expect(readFields(request, config)).rejects.toMatchObject({
    status: 415,
    message: "Content-Encoding gzip is not supported",
  });
});

it("takes as many parts, levels and characters of a boundary as it says", async () => {
  expect(
    (await read("multipart/form-data; boundary=b", form("b", ...Array(128).fill('name="a"\r\n\r\nx')))).values
      .size,
  ).toBe(1);
  const longest = "b".repeat(70);
  expect((await fieldsOf("multipart/form-data", form(longest, 'name="a"\r\n\r\nx'))).values).toEqual({
    a: "x",
  });
  expect((await read("application/json", `{"a":${"[".repeat(33)}${"]".repeat(33)}}`)).values.size).toBe(1);
});

it("reads what this Node's own fetch sends with a type that it was given", async () => {
  const received = Promise.withResolvers<[string | undefined, Buffer]>();
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    received.resolve([request.headers["content-type"], Buffer.concat(chunks)]);
    response.end();
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("no address");
  const formData = new FormData();
  formData.append("question", "text");
  formData.append("files", "binary");
  const headers = { "Content-Type": "multipart/form-data" };
  await fetch(`http://127.0.0.1:${address.port}/`, { method: "POST", headers, body: formData });
  server.close();
  const [type, body] = await received.promise;
  expect(type).toBe("multipart/form-data");
  expect(await fieldsOf(type, body)).toEqual({
    values: { question: "text" },
    files: [["file-1", "text/plain", "binary"]],
  });
});
