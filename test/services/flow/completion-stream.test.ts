import { describe, expect, test } from "vitest";
import { readCompletion } from "../../../src/services/flow/completion-stream.ts";
import { chunk, completion, DONE, eventOf } from "../../llm-endpoint.ts";

async function* bytesOf(...chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

async function read(text: string, cuts: readonly number[] = [], maxTokens = 100) {
  const bytes = new TextEncoder().encode(text);
  const edges = [0, ...cuts, bytes.length];
  const chunks = cuts.map((cut, index) => bytes.subarray(edges[index], cut));
  let said = "";
  const generated = await readCompletion(
    bytesOf(...chunks, bytes.subarray(edges.at(-2))),
    maxTokens,
    (piece) => {
      said += piece;
    },
  );
  return { said, ...generated };
}

describe("a completion", () => {
  const TEXT = completion(["Grüße ", "😀 – ", "\u65e5\u672c"]);
  const SAID = "Grüße 😀 – \u65e5\u672c";

  test("cut at every byte, also inside of a character, reads the same", async () => {
    const length = new TextEncoder().encode(TEXT).length;
    for (let cut = 1; cut < length; cut++) {
      const { said, usage, stopReason } = await read(TEXT, [cut]);
      expect({ cut, said }).toEqual({ cut, said: SAID });
      expect(usage).toEqual({ prompt: 12, completion: 3 });
      expect(stopReason).toBeUndefined();
    }
    const all = Array.from({ length: length - 1 }, (_, index) => index + 1);
    expect((await read(TEXT, all)).said).toBe(SAID);
  });

  test.each([
    ["carriage returns", TEXT.replaceAll("\n", "\r\n")],
    ["comments in between", `: hello\n\n${TEXT.replaceAll("\n\n", "\n\n: more\n\n")}`],
    ["no [DONE]", TEXT.replace(DONE, "")],
    ["no reason why it stopped", chunk({ content: SAID }) + DONE],
    ["content that is null at first", chunk({ content: null }) + TEXT],
    ["events without choices", eventOf({ id: "x" }) + TEXT],
    ["something after [DONE]", `${TEXT}data: what\n\n`],
  ])("with %s is one", async (_, text) => {
    expect((await read(text)).said).toBe(SAID);
  });

  test("that was too long for its tokens says so", async () => {
    const { said, stopReason } = await read(chunk({ content: "Half a" }) + chunk({}, "length") + DONE);
    expect({ said, stopReason }).toEqual({ said: "Half a", stopReason: "length" });
  });

  test.each([
    ["is empty", "", /said nothing|broke off/],
    ["is another thing", "<html></html>", /broke off before its end/],
    ["is an array", "data: []\n\n", /is no object/],
    ["is a number", "data: 7\n\n", /is no object/],
    ["is filtered", chunk({}, "content_filter") + DONE, /declines to answer/],
    ["reports an error as a string", eventOf({ error: "no" }), /reported an error: no/],
    ["reports an error without words", eventOf({ error: null }), /reported an error$/],
    ["has a number for its text", chunk({ content: 5 }), /text that is no string/],
  ])("that %s is refused", async (_, text, why) => {
    await expect(read(text)).rejects.toThrow(why);
  });

  test.each([
    [1, 1024],
    [32, 1024],
    [33, 33 * 32],
  ])("of %i tokens has at most %i characters", async (maxTokens, characters) => {
    const whole = "x".repeat(characters);
    expect((await read(completion([whole]), [], maxTokens)).said).toBe(whole);
    await expect(read(completion([whole, "x"]), [], maxTokens)).rejects.toThrow(
      `sent more than ${characters} characters`,
    );
  });

  test("ends with its bytes: comments are no way to go on for ever", async () => {
    const line = new TextEncoder().encode(`: ${"x".repeat(60_000)}\n\n`);
    let sent = 0;
    const endless = async function* () {
      for (;;) {
        sent += line.length;
        yield line;
      }
    };
    await expect(readCompletion(endless(), 10, () => {})).rejects.toThrow(/more than 1089536 bytes/);
    expect(sent).toBeLessThan(1_200_000);
  });
});
