import { createHash } from "node:crypto";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, test } from "vitest";
import type { Upsert } from "../../src/domain/chatflow.ts";
import type { PassageSearch } from "../../src/store/chatflow-store.ts";
import { openStore } from "../../src/store/open-store.ts";
import type { Store } from "../../src/store/store.ts";
import { addPassages, aPassage, createFlow, vectorOf } from "./chatflow-records.ts";
import { newId, tempFolder, tempStore } from "./temp-store.ts";

const ONE = aPassage("the first passage", vectorOf(1));
const TWO = aPassage("the second passage", vectorOf(0, 1));

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

async function found(store: Store, chatflowId: string, given: Partial<PassageSearch> = {}) {
  const hits = await store.passages.search({
    chatflowId,
    chatId: "",
    mode: "hybrid",
    text: "passage",
    vector: vectorOf(1, 1),
    limit: 50,
    minScore: -1,
    ...given,
  });
  return hits.map(({ text }) => text).sort();
}

function ending(id: string, chatflowId: string, given: Partial<Upsert> = {}) {
  const of = { principal: "alice", added: 1, skipped: 0, addedPassages: [], createdAt: 1_000 };
  return { upsert: { id, chatflowId, ...of, ...given }, chatId: "", replaced: [] };
}

async function purgeAll(store: Store): Promise<number> {
  let purged = 0;
  for (let count = 1; count > 0; purged += count) count = await store.passages.purge(2);
  return purged;
}

describe("an upsert", () => {
  test("is listed when it has ended, by flow and time, both ways, in pages", async () => {
    const store = await tempStore();
    const [flow, other] = [await createFlow(store), await createFlow(store)];
    const records: Upsert[] = [];
    for (const createdAt of [10, 20, 30]) {
      const id = newId();
      await store.upserts.begin({ id, chatflowId: flow.id, principal: "alice", createdAt });
      const counts = { added: 0, skipped: 3, addedPassages: [{ text: "x", metadata: { source: "a.md" } }] };
      const record = await store.upserts.end(ending(id, flow.id, { ...counts, createdAt }));
      expect(record).toEqual({
        id,
        chatflowId: flow.id,
        principal: "alice",
        ...counts,
        deleted: 0,
        createdAt,
      });
      if (record) records.push(record);
    }
    await store.upserts.begin({ id: newId(), chatflowId: flow.id, principal: "alice", createdAt: 40 });
    const all = { chatflowId: flow.id, since: undefined, until: undefined, descending: false };
    const page = { ...all, after: undefined, limit: 10 };
    expect(await store.upserts.list(page)).toEqual(records);
    expect(await store.upserts.list({ ...page, descending: true })).toEqual([...records].reverse());
    expect(await store.upserts.list({ ...page, since: 20, until: 30 })).toEqual(records.slice(1, 2));
    expect(await store.upserts.list({ ...page, after: records[0]?.id, limit: 1 })).toEqual(
      records.slice(1, 2),
    );
    expect(await store.upserts.list({ ...page, chatflowId: other.id })).toEqual([]);
  });

  test("adds what is found at once, and takes it back when it is abandoned", async () => {
    const store = await tempStore();
    const flow = await createFlow(store);
    const id = await addPassages(store, flow, [ONE, TWO], { ends: false });
    expect(await found(store, flow.id)).toEqual([ONE.text, TWO.text]);
    expect(await store.passages.count(flow.id)).toBe(2);
    await store.upserts.abandon(id);
    for (const mode of ["hybrid", "vector", "keyword"] as const) {
      expect(await found(store, flow.id, { mode }), mode).toEqual([]);
    }
    expect(await store.passages.count(flow.id)).toBe(0);
    await store.passages.add({ chatflowId: flow.id, chatId: "", upsertId: id, passages: [ONE] });
    expect(await store.upserts.end(ending(id, flow.id))).toBeUndefined();
    expect(await purgeAll(store)).toBe(2);
    expect(await found(store, flow.id)).toEqual([]);
  });

  test("that has ended is not abandoned any more", async () => {
    const store = await tempStore();
    const flow = await createFlow(store);
    const id = await addPassages(store, flow, [ONE]);
    await store.upserts.abandon(id);
    expect(await found(store, flow.id)).toEqual([ONE.text]);
  });

  test("of a flow that is gone does not begin, nor end", async () => {
    const store = await tempStore();
    const flow = await createFlow(store);
    const running = await addPassages(store, flow, [ONE], { ends: false });
    await store.chatflows.delete(flow.id);
    expect(await store.upserts.end(ending(running, flow.id))).toBeUndefined();
    const id = newId();
    await store.upserts.begin({ id, chatflowId: flow.id, principal: "alice", createdAt: 1 });
    await store.passages.add({ chatflowId: flow.id, chatId: "", upsertId: id, passages: [ONE] });
    expect(await store.upserts.end(ending(id, flow.id))).toBeUndefined();
    expect(await purgeAll(store)).toBe(1);
  });

  test("that ran when its server died is abandoned by the next one", async () => {
    const dataDir = tempFolder();
    const first = await openStore({ dataDir, queueMax: 10 });
    const flow = await createFlow(first);
    await addPassages(first, flow, [ONE]);
    await addPassages(first, flow, [TWO], { ends: false });
    await first.close();
    const second = await tempStore({ dataDir });
    expect(await found(second, flow.id)).toEqual([ONE.text]);
    expect(await purgeAll(second)).toBe(1);
    expect(await found(second, flow.id)).toEqual([ONE.text]);
  });

  test("is forgotten with or without its passages, all that are named or none", async () => {
    const store = await tempStore();
    const flow = await createFlow(store);
    const other = await createFlow(store, { principal: "bob" });
    const [one, two] = [await addPassages(store, flow, [ONE]), await addPassages(store, flow, [TWO])];
    const foreign = await addPassages(store, other, [ONE]);
    const remove = (ids: readonly string[], deletePassages: boolean) =>
      store.upserts.delete({ principal: "alice", ids, deletePassages });
    expect(await remove([one, foreign], true)).toBeUndefined();
    expect(await remove([one, newId()], true)).toBeUndefined();
    expect(await remove([one, one], false)).toBe(1);
    expect(await remove([one], false)).toBeUndefined();
    expect(await found(store, flow.id)).toEqual([ONE.text, TWO.text]);
    expect(await remove([two], true)).toBe(1);
    expect(await found(store, flow.id)).toEqual([ONE.text]);
    expect(await purgeAll(store)).toBe(1);
    expect(await found(store, other.id)).toEqual([ONE.text]);
    const page = { chatflowId: flow.id, since: undefined, until: undefined, after: undefined };
    expect(await store.upserts.list({ ...page, descending: false, limit: 9 })).toEqual([]);
  });

  test("replaces documents with its end: what is not in them any more goes, of ended upserts alone", async () => {
    const store = await tempStore();
    const flow = await createFlow(store);
    const other = aPassage("a passage of another document", vectorOf(0, 0, 1), "b.md");
    await addPassages(store, flow, [ONE, TWO, other]);
    const third = aPassage("the third passage", vectorOf(0, 0, 0, 1));
    await addPassages(store, flow, [aPassage("a passage for one chat", vectorOf(1))], { chatId: "c1" });
    const id = newId();
    await store.upserts.begin({ id, chatflowId: flow.id, principal: "alice", createdAt: 1 });
    await store.passages.add({ chatflowId: flow.id, chatId: "", upsertId: id, passages: [third] });
    const running = await addPassages(store, flow, [aPassage("a passage under way", vectorOf(1))], {
      ends: false,
    });
    const replaced = [{ source: "a.md", hashes: [sha256(TWO.text), sha256(third.text)] }];
    const record = await store.upserts.end({ ...ending(id, flow.id), replaced });
    expect(record?.deleted).toBe(1);
    await store.upserts.abandon(running);
    expect(await found(store, flow.id)).toEqual([other.text, TWO.text, third.text].sort());
    expect(await found(store, flow.id, { chatId: "c1" })).toContain("a passage for one chat");
  });

  test("has each text of a document once, however often that has it", async () => {
    const store = await tempStore();
    const flow = await createFlow(store);
    const id = newId();
    await store.upserts.begin({ id, chatflowId: flow.id, principal: "alice", createdAt: 1 });
    const other = { ...ONE, metadata: { source: "b.md" } };
    for (const passages of [
      [ONE, ONE, TWO],
      [ONE, other],
    ]) {
      await store.passages.add({ chatflowId: flow.id, chatId: "", upsertId: id, passages });
    }
    expect(await store.passages.count(flow.id)).toBe(3);
    const record = await store.upserts.end(ending(id, flow.id, { added: 5, skipped: 1 }));
    expect(record).toMatchObject({ added: 3, skipped: 3 });
  });

  test("skips what another one of the same document added at the same time", async () => {
    const store = await tempStore();
    const flow = await createFlow(store);
    const [one, two] = [
      await addPassages(store, flow, [ONE, TWO], { ends: false }),
      await addPassages(store, flow, [ONE, TWO], { ends: false }),
    ];
    expect(await store.upserts.end(ending(one, flow.id, { added: 2 }))).toMatchObject({
      added: 2,
      skipped: 0,
    });
    expect(await store.upserts.end(ending(two, flow.id, { added: 2 }))).toMatchObject({
      added: 0,
      skipped: 2,
    });
    expect(await found(store, flow.id)).toEqual([ONE.text, TWO.text]);
  });
});

describe("known passages", () => {
  test("are those that ended upserts left in a document of the name, flow and chat", async () => {
    const store = await tempStore();
    const flow = await createFlow(store);
    await addPassages(store, flow, [ONE]);
    await addPassages(store, flow, [TWO], { ends: false });
    const forChat = aPassage("for one chat", vectorOf(1));
    await addPassages(store, flow, [forChat], { chatId: "c1" });
    const hashes = [ONE, TWO, forChat].map(({ text }) => sha256(text));
    const of = { chatflowId: flow.id, chatId: "", source: "a.md", hashes };
    expect(await store.passages.known(of)).toEqual([hashes[0]]);
    expect(await store.passages.known({ ...of, chatId: "c1" })).toEqual([hashes[2]]);
    expect(await store.passages.known({ ...of, source: "b.md" })).toEqual([]);
    expect(await store.passages.known({ ...of, chatflowId: newId() })).toEqual([]);
  });
});

describe("purging", () => {
  test("leaves nothing of what was deleted in any table, and all of the rest", async () => {
    const dataDir = tempFolder();
    const store = await openStore({ dataDir, queueMax: 10 });
    const [flow, other] = [await createFlow(store), await createFlow(store)];
    await addPassages(store, flow, [ONE, TWO]);
    await addPassages(store, flow, [ONE], { chatId: "c1" });
    await addPassages(store, other, [ONE, TWO]);
    await store.chatflows.delete(flow.id);
    expect([
      await store.passages.purge(2),
      await store.passages.purge(2),
      await store.passages.purge(2),
    ]).toEqual([2, 1, 0]);
    expect(await found(store, other.id)).toEqual([ONE.text, TWO.text]);
    await store.close();
    using native = new DatabaseSync(join(dataDir, "auspex.db"));
    const rows = (table: string) => native.prepare(`select count(*) as rows from ${table}`).get()?.rows;
    const tables = ["passage", "passage_sign", "passage_vector", "passage_words_docsize"];
    expect(tables.map(rows)).toEqual([2, 2, 2, 2]);
    expect(rows("upsert")).toBe(1);
    expect(rows("passage_scope")).toBe(1);
  });
});
