import { expect, test } from "vitest";
import { sentencesOf } from "../../../src/services/flow/sentences.ts";

const texts = (text: string) => sentencesOf(text).map((sentence) => sentence.text);

test("lines that a page's width has broken are joined, and sentences taken apart", () => {
  expect(texts("A lease lasts\nten seconds. It is renewed\nwhile it runs.\n\nAnother paragraph")).toEqual([
    "A lease lasts ten seconds.",
    "It is renewed while it runs.",
    "Another paragraph",
  ]);
});

test("entries of a list and rows of a table stand alone, with their own further lines", () => {
  const text =
    "## Ways\nThree ways:\n* one way,\n  which is long\n* two ways\n1. numbered\n\n| a | b |\n|---|---|\n| 1 | 2. x |";
  expect(texts(text)).toEqual([
    "Three ways:",
    "* one way, which is long",
    "* two ways",
    "1. numbered",
    "| a | b |",
    "| 1 | 2. x |",
  ]);
  expect(sentencesOf(text).map(({ isBlock }) => isBlock)).toEqual([false, true, true, true, true, true]);
});

test("a piece of code is one sentence, as it stands, also one that is cut off", () => {
  const code = "```sh\nnpm ci && npm start\n\n# ready. Now ask.\n```";
  expect(texts(`Start it.\n${code}\nThen ask.`)).toEqual(["Start it.", code, "Then ask."]);
  expect(texts("```\nhalf")).toEqual(["```\nhalf"]);
});

test("nothing makes no sentences", () => {
  for (const text of ["", "\n\n", "---", " \r\n "]) expect(texts(text)).toEqual([]);
});
