import { describe, expect, test } from "vitest";
import { addPassages, aFlow, aPassage, aTurn, createFlow, DEFINITION, vectorOf } from "./chatflow-records.ts";
import { newId, tempFolder, tempStore } from "./temp-store.ts";

const KEY = { id: "k1", name: "window", createdAt: 5 };

describe("flows", () => {
  test("come back as they went in, also from another store on the folder", async () => {
    const dataDir = tempFolder();
    const first = await tempStore({ dataDir });
    const flow = aFlow();
    expect(await first.chatflows.create(flow)).toBe(true);
    expect(await first.chatflows.create(aFlow({ id: flow.id, principal: "bob" }))).toBe(false);
    expect(await first.chatflows.get(flow.id)).toEqual(flow);
    await first.close();
    const second = await tempStore({ dataDir });
    expect(await second.chatflows.get(flow.id)).toEqual(flow);
    expect(await second.chatflows.get(newId())).toBeUndefined();
  });

  test("are listed by principal, the newest first, in pages", async () => {
    const store = await tempStore();
    const flows = [await createFlow(store), await createFlow(store), await createFlow(store)];
    await createFlow(store, { principal: "bob" });
    const all = await store.chatflows.list({ principal: "alice", before: undefined, limit: 10 });
    expect(all).toEqual([...flows].reverse());
    const page = await store.chatflows.list({ principal: "alice", before: flows[2]?.id, limit: 1 });
    expect(page).toEqual([flows[1]]);
  });

  test("of files are found, whoever's they are", async () => {
    const store = await tempStore();
    await createFlow(store);
    const faq = await createFlow(store, { id: "faq", fromFile: true });
    const help = await createFlow(store, { id: "help", fromFile: true, principal: "bob" });
    expect(await store.chatflows.fromFiles()).toEqual([faq, help]);
  });

  test("get a new version with a change, and earlier ones are still told", async () => {
    const store = await tempStore();
    const flow = await createFlow(store);
    const definition = { ...DEFINITION, public: true };
    const change = { id: flow.id, name: "new", definition, updatedAt: 2_000 };
    const changed = { ...flow, name: "new", definition, version: 2, updatedAt: 2_000 };
    expect(await store.chatflows.update({ ...change, ifVersion: 1 })).toEqual(changed);
    expect(await store.chatflows.update({ ...change, ifVersion: 1 })).toBeUndefined();
    expect(await store.chatflows.update({ ...change, ifVersion: 0 })).toEqual({ ...changed, version: 3 });
    expect(await store.chatflows.definition(flow.id, 1)).toEqual(DEFINITION);
    expect(await store.chatflows.definition(flow.id, 3)).toEqual(definition);
    expect(await store.chatflows.definition(flow.id, 4)).toBeUndefined();
    expect(await store.chatflows.update({ ...change, id: newId(), ifVersion: 0 })).toBeUndefined();
  });

  test("have keys, as many as allowed, each found by its hash", async () => {
    const store = await tempStore();
    const flow = await createFlow(store);
    const add = (id: string, hash: string) =>
      store.chatflows.addKey({ chatflowId: flow.id, key: { ...KEY, id }, hash, max: 2 });
    expect([await add("k1", "h1"), await add("k2", "h2"), await add("k3", "h3")]).toEqual([
      true,
      true,
      false,
    ]);
    expect(await store.chatflows.keyHolder("h2")).toEqual({ chatflowId: flow.id, principal: "alice" });
    expect(await store.chatflows.keyHolder("h3")).toBeUndefined();
    expect((await store.chatflows.get(flow.id))?.keys).toEqual([KEY, { ...KEY, id: "k2" }]);
    const other = await createFlow(store);
    expect(await store.chatflows.deleteKey(other.id, "k1")).toBe(false);
    expect(await store.chatflows.deleteKey(flow.id, "k1")).toBe(true);
    expect(await store.chatflows.keyHolder("h1")).toBeUndefined();
    const gone = { chatflowId: newId(), key: KEY, hash: "h4", max: 2 };
    expect(await store.chatflows.addKey(gone)).toBe(false);
  });

  test("go with all that is theirs, and another flow keeps its own", async () => {
    const store = await tempStore();
    const [flow, other] = [await createFlow(store, { id: "faq" }), await createFlow(store)];
    for (const each of [flow, other]) {
      const key = { ...KEY, id: `key of ${each.id}` };
      await store.chatflows.addKey({ chatflowId: each.id, key, hash: each.id, max: 1 });
      await store.chats.insertTurn(aTurn(each.id));
      await addPassages(store, each, [aPassage("one thing", vectorOf(1))]);
    }
    expect(await store.chatflows.delete(flow.id)).toBe(true);
    expect(await store.chatflows.delete(flow.id)).toBe(false);
    expect(await store.chatflows.get(flow.id)).toBeUndefined();
    expect(await store.chatflows.definition(flow.id, 1)).toBeUndefined();
    expect(await store.chatflows.keyHolder(flow.id)).toBeUndefined();
    const window = { sessionId: "session", limit: 10 };
    // A flow of the same name begins with nothing.
    await createFlow(store, { id: "faq" });
    expect(await store.chats.window({ chatflowId: flow.id, ...window })).toEqual([]);
    expect(await store.passages.count(flow.id)).toBe(0);
    expect(await store.chats.window({ chatflowId: other.id, ...window })).toHaveLength(2);
    expect(await store.passages.count(other.id)).toBe(1);
    expect(await store.chatflows.keyHolder(other.id)).toBeDefined();
  });
});
