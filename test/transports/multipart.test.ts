/** Forms as clients really send them, byte for byte, and those that nobody should. */
import { describe, expect, it } from "vitest";
import { PARTS_MAX, readMultipart } from "../../src/transports/multipart.ts";

/** Text with CRLF for every line break, one byte a character. */
const bytes = (text: string) => Buffer.from(text.replaceAll("\n", "\r\n"), "latin1");
const part = (name: string, value: string, more = "") =>
  `--b\nContent-Disposition: form-data; name="${name}"${more}\n\n${value}\n`;
const PLAIN = "multipart/form-data; boundary=b";

async function read(body: string | Buffer, contentType = PLAIN) {
  const parts = await readMultipart(contentType, typeof body === "string" ? bytes(body) : body);
  return parts.map(({ name, bytes: value }) => [name, value.toString("latin1")]);
}

describe("a form", () => {
  it.each([
    ["plain", PLAIN, `${part("a", "1")}${part("b", "2")}--b--\n`],
    [
      "with its boundary quoted behind another parameter",
      'multipart/form-data; charset="UTF-8"; boundary="b"',
      `${part("a", "1")}${part("b", "2")}--b--`,
    ],
    ["with two closing delimiters", PLAIN, `${part("a", "1")}${part("b", "2")}--b----b--`],
    [
      "with a preamble and an epilogue",
      PLAIN,
      `hello\n${part("a", "1")}${part("b", "2")}--b--\nbye\n--b\n\nx\n--b--`,
    ],
    [
      "with file names on its text fields",
      PLAIN,
      `${part("a", "1", '; filename="a"')}${part("b", "2", '; filename="b"')}--b--`,
    ],
  ])("is read %s", async (_name, contentType, body) => {
    expect(await read(body, contentType)).toEqual([
      ["a", "1"],
      ["b", "2"],
    ]);
  });

  it("keeps a file's bytes, name and type as they are, blanks around the type aside", async () => {
    const picture = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    const body = Buffer.concat([
      bytes(
        '--b\nContent-Disposition: form-data; name="data"; filename="a b.jpg"\nContent-Type: image/jpeg  \n\n',
      ),
      picture,
      bytes("\n--b--"),
    ]);
    const [file] = await readMultipart(PLAIN, body);
    expect(file).toEqual({ name: "data", fileName: "a b.jpg", mediaType: "image/jpeg", bytes: picture });
  });

  it("has no part that does not say its name", async () => {
    expect(await read("--b\nContent-Type: image/png\n\nx\n--b--")).toEqual([]);
  });

  it("may be larger than any step in which it is read", async () => {
    const file = Buffer.alloc(8_000_000, "\r\n--");
    const body = Buffer.concat([
      bytes(part("a", "1")),
      bytes(part("f", "")).subarray(0, -2),
      file,
      bytes("\n--b--"),
    ]);
    let turns = 0;
    const timer = setInterval(() => turns++, 0);
    const [first, second] = await readMultipart(PLAIN, body);
    clearInterval(timer);
    // Others had theirs meanwhile.
    expect(turns).toBeGreaterThan(0);
    expect(first?.bytes.toString()).toBe("1");
    expect(second?.bytes.equals(file)).toBe(true);
  });
});

describe("what is no form", () => {
  it.each([
    ["without a boundary", "multipart/form-data", `${part("a", "1")}--b--`],
    ["with an empty boundary", "multipart/form-data; boundary=", `${part("a", "1")}--b--`],
    ["with another boundary", "multipart/form-data; boundary=c", `${part("a", "1")}--b--`],
    ["without an end", PLAIN, part("a", "1")],
    ["that is something else", PLAIN, "garbage"],
    [
      "with a Content-Type of 600 characters",
      `multipart/form-data; boundary=${"b".repeat(600)}`,
      `--${"b".repeat(600)}--`,
    ],
  ])("is 400: %s", async (_name, contentType, body) => {
    await expect(read(body, contentType)).rejects.toMatchObject({ status: 400 });
  });

  it("is 413 from one part too many on", async () => {
    expect(await read(`${part("a", "1").repeat(PARTS_MAX)}--b--`)).toHaveLength(PARTS_MAX);
    await expect(read(`${part("a", "1").repeat(PARTS_MAX + 1)}--b--`)).rejects.toMatchObject({ status: 413 });
  });

  it("loses only a part whose headers are endless", async () => {
    const body = `--b\n${"X: y\n".repeat(20_000)}Content-Disposition: form-data; name="a"\n\n1\n${part("c", "2")}--b--`;
    expect(await read(body)).toEqual([["c", "2"]]);
  });
});
