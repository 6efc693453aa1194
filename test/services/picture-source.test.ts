import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createEgress, type OpenEgress } from "../../src/services/egress.ts";
import { fetchPicture, parsePictureReference } from "../../src/services/picture-source.ts";
import { type HttpListener, listen } from "./http-listener.ts";

const WRONG_BASE64 = /not well-formed/;

describe("an image in an input is", () => {
  test("a data URI", () => {
    const bytes = Buffer.from([0xff, 0xd8, 0xff, 0xfb, 0x00, 0x3e]);
    const base64 = bytes.toString("base64");
    expect(base64).toMatch(/[+/]/);
    expect(parsePictureReference(`data:image/jpeg;base64,${base64}`)).toEqual({
      kind: "bytes",
      bytes,
      mediaType: "image/jpeg",
    });
    expect(parsePictureReference(`DATA:Image/JPEG;name=x.jpg;Base64,${base64}`)).toMatchObject({
      bytes,
      mediaType: "image/jpeg",
    });
    expect(parsePictureReference(`data:;base64,${base64}`)).toMatchObject({ bytes, mediaType: "text/plain" });
    const escaped = base64.replaceAll("+", "%2B").replaceAll("/", "%2F");
    expect(parsePictureReference(`data:image/jpeg;base64,${escaped}`)).toMatchObject({ bytes });
    expect(parsePictureReference("data:image/gif,GIF89a%01%FF")).toMatchObject({
      bytes: Buffer.from("GIF89a\x01\xff", "latin1"),
      mediaType: "image/gif",
    });
  });

  test.each(["http://example.com/a.jpg", "https://example.com/a.jpg?x=data:", "HTTPS://example.com"])(
    "a URL: %s",
    (url) => {
      expect(parsePictureReference(url)).toEqual({ kind: "url", url });
    },
  );

  test("an image id, in any case", () => {
    const id = "018f3c1e-7f3b-7c55-9d0a-2f6a0f1d9a11";
    expect(parsePictureReference(id)).toEqual({ kind: "image", id });
    expect(parsePictureReference(id.toUpperCase())).toEqual({ kind: "image", id });
  });

  test.each([
    "",
    "zebra.jpg",
    "file:///etc/passwd",
    "ftp://example.com/a.jpg",
    "018f3c1e-7f3b-7c55-9d0a",
    " http://x",
  ])("nothing else: %j", (value) => {
    expect(parsePictureReference(value)).toEqual({
      kind: "invalid",
      reason: "must be a data URI, an http or https URL, or the id of an uploaded image",
    });
  });

  test.each([
    ["no comma", "data:image/png;base64", /without a comma/],
    ["a comma too late", `data:image/png;x=${"y".repeat(300)};base64,AAAA`, /without a comma/],
    ["no data", "data:image/png;base64,", /without data/],
    ["no padding", "data:image/png;base64,AAA", WRONG_BASE64],
    ["too much padding", "data:image/png;base64,A===", WRONG_BASE64],
    ["padding inside", "data:image/png;base64,AA==AAAA", WRONG_BASE64],
    ["a blank", "data:image/png;base64,AAAA AAA", WRONG_BASE64],
    ["a line break", "data:image/png;base64,AAAA\nAAA", WRONG_BASE64],
    ["base64url", "data:image/png;base64,AA-_", WRONG_BASE64],
    ["not ASCII", "data:image/png;base64,AAAé", WRONG_BASE64],
    ["a broken escape", "data:image/png;base64,AA%3", WRONG_BASE64],
    ["a broken escape, plain", "data:image/png,GIF%G1", WRONG_BASE64],
    ["not ASCII, plain", "data:image/png,GIFé", WRONG_BASE64],
  ])("no data URI with %s", (_name, value, reason) => {
    expect(parsePictureReference(value)).toEqual({ kind: "invalid", reason: expect.stringMatching(reason) });
  });

  test.each([9, 10, 11])("a data URI of at most so many bytes: limit 10, given %d", (length) => {
    for (const uri of [
      `data:image/png;base64,${Buffer.alloc(length, 7).toString("base64")}`,
      `data:image/png,${"%07".repeat(length)}`,
    ]) {
      expect(parsePictureReference(uri, 10)).toEqual(
        length <= 10
          ? { kind: "bytes", bytes: Buffer.alloc(length, 7), mediaType: "image/png" }
          : { kind: "invalid", reason: "holds a picture of more than 10 bytes" },
      );
    }
  });

  test("also a data URI of 50 MiB", () => {
    const bytes = Buffer.alloc(50 * 2 ** 20, 0xa5);
    const reference = parsePictureReference(
      `data:image/png;base64,${bytes.toString("base64")}`,
      bytes.length,
    );
    expect(reference.kind === "bytes" && bytes.equals(reference.bytes)).toBe(true);
  });
});

describe("fetching a picture", () => {
  let egress: OpenEgress;
  let source: HttpListener;
  const signal = new AbortController().signal;
  const picture = Buffer.from([1, 2, 3, 4]);

  beforeAll(async () => {
    egress = createEgress({ allow: ["127.0.0.1"] });
    source = await listen((response, { path }) => {
      const status = Number(/^\/status\/(\d+)$/.exec(path)?.[1] ?? 200);
      const headers = path === "/gzip" ? { "content-encoding": "gzip" } : { location: "/picture" };
      response.writeHead(status, headers).end(path === "/empty" ? "" : picture);
    });
  });
  afterAll(async () => {
    await egress.close();
    await source[Symbol.asyncDispose]();
  });

  test("answers its bytes, and says what it wants", async () => {
    expect(await fetchPicture(`${source.origin}/picture`, egress, 4, signal)).toEqual(picture);
    expect(source.received.at(-1)?.headers).toMatchObject({
      accept: "image/*",
      "accept-encoding": "identity",
    });
  });

  test.each([
    ["/status/404", 4, "the picture's URL answered 404"],
    ["/status/500", 4, "the picture's URL answered 500"],
    ["/status/206", 4, "the picture's URL answered 206"],
    ["/status/302", 4, "the picture's URL answered 302; redirects are not followed"],
    ["/gzip", 4, "the picture's URL answered with content-encoding gzip, unasked"],
    ["/empty", 4, "the picture's URL answered with an empty body"],
    ["/picture", 3, expect.stringMatching(/answered more than 3 bytes$/)],
  ])("%s, at most %d bytes: invalid_argument", async (path, maxBytes, message) => {
    await expect(fetchPicture(source.origin + path, egress, maxBytes, signal)).rejects.toMatchObject({
      code: "invalid_argument",
      message,
    });
  });

  test("an address that is not allowed is refused", async () => {
    await expect(fetchPicture("http://127.0.0.2/x.png", egress, 4, signal)).rejects.toMatchObject({
      code: "invalid_argument",
    });
  });
});
