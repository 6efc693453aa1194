import { expect, test } from "vitest";
import { tempStore } from "./temp-store.ts";

test("an alias is its principal's, can be moved, and is gone once deleted", async () => {
  const store = await tempStore();
  const row = { principal: "alice", alias: "model-1", target: "alice/cats" };
  expect(await store.aliases.get("alice", "model-1")).toBeUndefined();
  await store.aliases.set(row);
  await store.aliases.set({ ...row, alias: "another" });
  await store.aliases.set({ ...row, principal: "bob", target: "bob/dogs" });
  await store.aliases.set({ ...row, target: "alice/cats-and-dogs" });
  expect(await store.aliases.get("alice", "model-1")).toEqual({ ...row, target: "alice/cats-and-dogs" });
  expect((await store.aliases.list("alice")).map(({ alias }) => alias)).toEqual(["another", "model-1"]);
  expect(await store.aliases.delete("alice", "model-1")).toBe(true);
  expect(await store.aliases.delete("alice", "model-1")).toBe(false);
  expect(await store.aliases.get("alice", "model-1")).toBeUndefined();
  expect((await store.aliases.get("bob", "model-1"))?.target).toBe("bob/dogs");
});
