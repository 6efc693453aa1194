import { expect, test } from "vitest";
import { mayPublish, mayUse, parseModelRef } from "../../src/domain/model.ts";
import { LOCAL } from "../../src/domain/principal.ts";

test.each([
  ["a/b", { owner: "a", name: "b", version: undefined }],
  ["acme/echo-2.1_x:17", { owner: "acme", name: "echo-2.1_x", version: 17 }],
  [`${"a".repeat(64)}/b`, { owner: "a".repeat(64), name: "b", version: undefined }],
])("%s is a reference", (text, expected) => {
  expect(parseModelRef(text)).toEqual(expected);
});

test.each([
  "",
  "a",
  "/b",
  "a/",
  "a/b:",
  "a/b:0",
  "a/b:01",
  "a/b:x",
  "a/b/c",
  "A/b",
  "../b",
  "a/..",
  ".a/b",
  `${"a".repeat(65)}/b`,
  "a/b:1234567890",
])("%s is none", (text) => {
  expect(parseModelRef(text)).toBeUndefined();
});

test("a principal uses the catalogue's models and its own, and publishes its own only", () => {
  const alice = { name: "alice", open: false };
  expect(["auspex", "alice", "bob"].map((owner) => mayUse(alice, owner))).toEqual([true, true, false]);
  expect(["auspex", "alice", "bob"].map((owner) => mayPublish(alice, owner))).toEqual([false, true, false]);
  expect(["auspex", "chatflow", "alice"].map((owner) => mayPublish(LOCAL, owner))).toEqual([
    false,
    false,
    true,
  ]);
});
