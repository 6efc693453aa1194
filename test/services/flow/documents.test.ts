/** Each format as it is read, in this process: what it becomes, and what is refused. */
import { describe, expect, test } from "vitest";
import { documentType } from "../../../src/services/flow/documents/media-type.ts";
import { readDocument } from "../../../src/services/flow/documents/read.ts";
import { makePdf } from "./pdf.ts";

const LIMITS = { characters: 1000, parts: 10 };

function read(name: string, content: string | Buffer, limits = LIMITS) {
  const bytes = typeof content === "string" ? Buffer.from(content) : content;
  return readDocument({ type: documentType(name, "", bytes), bytes, limits, passages: null });
}

describe("formats", () => {
  test("text is one part; line ends are one kind and control characters go", async () => {
    expect(await read("a.txt", "\ufeff\n\n  one\r\ntwo\rthree\u0007\n\n")).toEqual([
      { text: "  one\ntwo\nthree", metadata: {} },
    ]);
  });

  test("Markdown: a part for each section, with its path of headings", async () => {
    const text = [
      "Before.",
      "# Title #",
      "",
      "## `First` [part](#x)",
      "One.",
      "```sh",
      "# not a heading",
      "```",
      "### Deep C#",
      "Two.",
      "Second",
      "------",
      "Three.",
      "",
      "- a list",
      "---",
      "Four.",
    ].join("\n");
    expect(await read("a.md", text)).toEqual([
      { text: "Before.", metadata: {} },
      {
        text: "# Title #\n\n## `First` [part](#x)\nOne.\n```sh\n# not a heading\n```",
        metadata: { heading: "Title > First part" },
      },
      {
        text: "### Deep C#\nTwo.\nSecond\n------\nThree.\n\n- a list\n---\nFour.",
        metadata: { heading: "Title > First part > Deep C#" },
      },
    ]);
  });

  test("Markdown: underlined headings, and what stands in front", async () => {
    const text = "---\ntitle: x\n---\n\nTitle\n=====\n\nOne.\n\nSecond\n------\nTwo.\n";
    expect(await read("a.markdown", text)).toEqual([
      { text: "title: x", metadata: {} },
      { text: "Title\n=====\n\nOne.", metadata: { heading: "Title" } },
      { text: "Second\n------\nTwo.", metadata: { heading: "Title > Second" } },
    ]);
  });

  test("HTML: text by sections, tables by rows, code fenced; no scripts, styles, pictures and addresses", async () => {
    const html = `<!doctype html><html><head><title>T</title><style>p{}</style></head><body>
      <script>alert("1")</script><noscript>no</noscript>
      <h1>Hello <b>World</b></h1><p>One &amp; <a href="http://x.example">two</a><img src="http://x.example/y" alt="z"></p>
      <h2>Table</h2><table><tr><th>k</th><th>v</th></tr><tr><td><p>a</p></td><td>1</td></tr></table>
      <pre>x = 1

y = 2</pre><ul><li>first<li>second</ul></body></html>`;
    expect(await read("a.html", html)).toEqual([
      { text: "# Hello World\n\nOne & two", metadata: { heading: "Hello World" } },
      {
        text: "## Table\n\nk | v\na | 1\n\n```\nx = 1\n\ny = 2\n```\n\n- first\n- second",
        metadata: { heading: "Hello World > Table" },
      },
    ]);
  });

  test("CSV: a part for each row, with the names of the columns", async () => {
    const csv = `Name,Price,\r\n"Say ""hi""",3,extra\n\n,,\n"two\nlines",,,more\n`;
    expect(await read("a.csv", csv)).toEqual([
      { text: 'Name: Say "hi"\nPrice: 3\ncolumn 3: extra', metadata: { row: 1 } },
      { text: "Name: two\nlines\ncolumn 4: more", metadata: { row: 3 } },
    ]);
    expect(await read("a.csv", "a;b;c,d\n1;2,5;x\n")).toEqual([
      { text: "a: 1\nb: 2,5\nc,d: x", metadata: { row: 1 } },
    ]);
  });

  test("JSON: a part for each object of an array, else the text set out", async () => {
    const objects = [{ name: "x", price: 3, tags: ["a"] }, { name: "y" }];
    expect(await read("a.json", JSON.stringify(objects))).toEqual([
      { text: 'name: x\nprice: 3\ntags: ["a"]', metadata: { row: 1 } },
      { text: "name: y", metadata: { row: 2 } },
    ]);
    expect(await read("a.json", '{"a":[1,2]}')).toEqual([
      { text: JSON.stringify({ a: [1, 2] }, null, 2), metadata: {} },
    ]);
    const long = '[{"id":12345678901234567891}]';
    expect(await read("a.json", long)).toEqual([{ text: "id: 12345678901234567891", metadata: { row: 1 } }]);
    // A half of a surrogate pair can be written in JSON, and not be kept.
    expect(await read("a.json", '"\\ud800!"')).toEqual([{ text: "\ufffd!", metadata: {} }]);
  });

  test("PDF: a part for each page that has text", async () => {
    expect(await read("a.pdf", makePdf([["Hello", "World"], [], ["Three"]]))).toEqual([
      { text: "Hello\nWorld", metadata: { page: 1 } },
      { text: "Three", metadata: { page: 3 } },
    ]);
  });
});

describe("what a file is", () => {
  const bytes = Buffer.from("x");

  test("is what it is declared as, by any of its names, else what its name says", () => {
    expect(documentType("a.md", "text/plain; charset=utf-8", bytes)).toBe("text/plain");
    expect(documentType("a", "TEXT/X-Markdown", bytes)).toBe("text/markdown");
    expect(documentType("A.HTM", "", bytes)).toBe("text/html");
    expect(documentType("a.md", "application/octet-stream", bytes)).toBe("text/markdown");
  });

  test("what cannot be read is told, with what can", () => {
    expect(() => documentType("a.docx", "", bytes)).toThrow(
      "its name says nothing of its type; it must be one of text/plain, text/markdown",
    );
    expect(() => documentType("a.md", "image/png", bytes)).toThrow("image/png cannot be read");
  });

  test("a type that the bytes contradict is told", () => {
    const pdf = makePdf([["x"]]);
    expect(() => documentType("a.txt", "", pdf)).toThrow("declared as text/plain and holds a PDF");
    expect(() => documentType("a.pdf", "", bytes)).toThrow("declared as application/pdf and holds no PDF");
    expect(documentType("a.pdf", "", Buffer.concat([Buffer.alloc(1019), pdf]))).toBe("application/pdf");
    expect(() => documentType("a.pdf", "", Buffer.concat([Buffer.alloc(1020), pdf]))).toThrow("holds no PDF");
  });
});

describe("what is refused", () => {
  test.each([
    ["a.txt", Buffer.from([0x61, 0xff]), "it is not text in UTF-8"],
    ["a.txt", Buffer.from("a\0b"), "it holds NUL bytes"],
    ["a.txt", Buffer.from(" \n\t\n"), "it holds no text"],
    ["a.csv", Buffer.from("only,a,header\n"), "it holds no text"],
    ["a.csv", Buffer.from('a\n"open'), "it cannot be read: Quote Not Closed"],
    ["a.json", Buffer.from("{"), "it is not JSON"],
    ["a.json", Buffer.from(`${"[".repeat(100_000)}${"]".repeat(100_000)}`), "it is nested too deep"],
    ["a.html", Buffer.from(`${"<div>".repeat(20_000)}x`), "it is nested too deep"],
    ["a.pdf", makePdf([[]]), "it holds no text; pages that are pictures are not read"],
    ["a.pdf", makePdf([["x"]]).subarray(0, 200), "it cannot be read: Invalid PDF structure"],
  ])("%s: %#", async (name, bytes, message) => {
    await expect(read(name, bytes)).rejects.toMatchObject({
      code: "invalid_argument",
      message: expect.stringContaining(message),
    });
  });

  test("a PDF whose pages hold each other", async () => {
    const pdf = makePdf([["x"]])
      .toString("latin1")
      .replace(/Kids\[\d+ 0 R\]/, "Kids[2 0 R]");
    await expect(read("a.pdf", Buffer.from(pdf, "latin1"))).rejects.toThrow("circular reference");
  });

  test("too many characters, to the character", async () => {
    expect(await read("a.txt", "x".repeat(1000))).toHaveLength(1);
    await expect(read("a.txt", "x".repeat(1001))).rejects.toThrow("more than 1,000 characters of text");
    // Names of columns count with each row.
    await expect(read("a.csv", `${"n".repeat(500)}\n1\n2\n`)).rejects.toThrow("more than 1,000 characters");
  });

  test("too many parts, to the part", async () => {
    const rows = (count: number): string => `a\n${"1\n".repeat(count)}`;
    expect(await read("a.csv", rows(10))).toHaveLength(10);
    await expect(read("a.csv", rows(11))).rejects.toThrow("more than 10 parts");
  });
});
