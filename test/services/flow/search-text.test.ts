import { expect, test } from "vitest";
import type { SaidMessage } from "../../../src/domain/chatflow.ts";
import { searchText } from "../../../src/services/flow/search-text.ts";

const SAID: readonly SaidMessage[] = [
  { role: "user", content: "Where are pictures stored?" },
  { role: "api", content: "In blobs." },
  { role: "user", content: "How long is a lease?" },
  { role: "api", content: "Ten seconds." },
];

test.each([
  ["and why?", "How long is a lease?\nand why?"],
  ["What about this one?", "How long is a lease?\nWhat about this one?"],
  ["tell me more about it", "How long is a lease?\ntell me more about it"],
  ["And the default?", "How long is a lease?\nAnd the default?"],
  ["How large may a picture be?", "How large may a picture be?"],
  ["gRPC port?", "gRPC port?"],
  ["Wie lange werden Bilder aufbewahrt?", "Wie lange werden Bilder aufbewahrt?"],
])("%s", (question, searched) => {
  expect(searchText(question, SAID, [])).toBe(searched);
});

test("the first question stands for itself, however short", () => {
  expect(searchText("and why?", [], [])).toBe("and why?");
  expect(searchText("and why?", [{ role: "api", content: "Hello!" }], [])).toBe("and why?");
});

test("what pictures show is searched for, too, and then it is no follow-up", () => {
  const pictures = [{ name: "a.jpg", labels: ["zebra", "sorrel"] }];
  expect(searchText("what is this?", SAID, pictures)).toBe("what is this?\nzebra, sorrel");
  expect(searchText("", SAID, pictures)).toBe("zebra, sorrel");
});
