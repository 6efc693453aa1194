import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import type { ScoredPassage } from "../../src/domain/chatflow.ts";
import type { PassageSearch } from "../../src/store/chatflow-store.ts";
import { fuse } from "../../src/store/passage-search.ts";
import { matchOf, queryWords } from "../../src/store/passage-words.ts";
import { SqliteConnection } from "../../src/store/sqlite.ts";
import type { Store } from "../../src/store/store.ts";
import { addPassages, aPassage, createFlow, vectorOf } from "./chatflow-records.ts";
import { aPrediction, insert, newId, tempFolder, tempStore } from "./temp-store.ts";

function search(store: Store, chatflowId: string, given: Partial<PassageSearch>): Promise<ScoredPassage[]> {
  return store.passages.search({
    chatflowId,
    chatId: "",
    mode: "hybrid",
    text: "",
    vector: undefined,
    limit: 10,
    minScore: -1,
    ...given,
  });
}

const texts = (hits: readonly ScoredPassage[]) => hits.map(({ text }) => text);

const CAT = aPassage("A cat sleeps on the mat.", vectorOf(1, 0.1));
const DOG = aPassage("A dog runs after the ball.", vectorOf(0.1, 1));
const FISH = aPassage("Fishes swim in the running water.", vectorOf(0, 0, 1));

describe("by meaning", () => {
  test("the nearest come first, each with its cosine", async () => {
    const store = await tempStore();
    const flow = await createFlow(store);
    await addPassages(store, flow, [CAT, DOG, FISH]);
    const hits = await search(store, flow.id, { mode: "vector", vector: vectorOf(1) });
    expect(texts(hits)).toEqual([CAT.text, DOG.text, FISH.text]);
    expect(hits[0]).toMatchObject({ metadata: { source: "a.md" }, id: expect.any(Number) });
    expect(hits[0]?.score).toBeCloseTo(1 / Math.hypot(1, 0.1), 5);
    expect(hits[1]?.score).toBeCloseTo(0.1 / Math.hypot(1, 0.1), 5);
    expect(hits[2]?.score).toBeCloseTo(0, 5);
  });

  test("what is less like the question than asked for is left out; the bound itself is in", async () => {
    const store = await tempStore();
    const flow = await createFlow(store);
    await addPassages(store, flow, [CAT, DOG]);
    const [first] = await search(store, flow.id, { mode: "vector", vector: vectorOf(1), limit: 1 });
    const minScore = first?.score ?? 2;
    const query = { mode: "vector", vector: vectorOf(1) } as const;
    expect(texts(await search(store, flow.id, { ...query, minScore }))).toEqual([CAT.text]);
    expect(await search(store, flow.id, { ...query, minScore: minScore + 1e-6 })).toEqual([]);
  });

  test("vectors of another width are not compared", async () => {
    const store = await tempStore();
    const flow = await createFlow(store);
    await addPassages(store, flow, [CAT]);
    const wide = Float32Array.from({ length: 16 }, () => 0.25);
    await addPassages(store, flow, [aPassage("wide", wide)]);
    const query = { mode: "hybrid", text: "cat", vector: wide } as const;
    const hits = await search(store, flow.id, query);
    expect(hits.map(({ text, score }) => [text, score === null])).toEqual([
      ["wide", false],
      [CAT.text, true],
    ]);
  });
});

describe("by words", () => {
  test("any of them will do, in whatever form, and the more the better", async () => {
    const store = await tempStore();
    const flow = await createFlow(store);
    await addPassages(store, flow, [CAT, DOG, FISH]);
    const ask = async (text: string) => texts(await search(store, flow.id, { mode: "keyword", text }));
    expect(await ask("Does a dog run?")).toEqual([DOG.text, FISH.text]);
    expect(await ask("SLEEPING cats")).toEqual([CAT.text]);
    expect(await ask("elephants")).toEqual([]);
  });

  test("headings count, accents do not", async () => {
    const store = await tempStore();
    const flow = await createFlow(store);
    const passage = aPassage("Un café, s'il vous plaît.", vectorOf(1));
    await addPassages(store, flow, [{ ...passage, metadata: { source: "a.md", heading: "Boissons" } }]);
    for (const text of ["cafe", "CAFÉ", "boissons"]) {
      expect(texts(await search(store, flow.id, { mode: "keyword", text })), text).toEqual([passage.text]);
    }
  });

  test.each([
    ['"', ""],
    ["'; drop table passage; --", "passage"],
    ["cat* OR NEAR(dog, 2) NOT ^fish", "cat"],
    ["words : cat", "cat"],
    ['{words} "cat" + dog', "cat"],
    ["-cat", "cat"],
    ["((((", ""],
    ["\u0000cat\u0000", "cat"],
    ["\ud800 cat", "cat"],
    ["1x 1xcat", ""],
    ["the", ""],
    ["", ""],
    ["AND", ""],
    ["cat ".repeat(10_000), "cat"],
    ["c".repeat(100_000), ""],
    ["नमस्ते ไทย 漢字 cat", "cat"],
  ])("%j is a question as any other", async (text, word) => {
    const store = await tempStore();
    const flow = await createFlow(store);
    await addPassages(store, flow, [CAT, aPassage("Whose passage is this?", vectorOf(0, 1))]);
    const hits = texts(await search(store, flow.id, { mode: "keyword", text }));
    expect(hits.some((hit) => word !== "" && hit.toLowerCase().includes(word))).toBe(word !== "");
  });

  test("as many words are looked up as a question has, and no more", () => {
    const words = Array.from({ length: 100 }, (_, index) => `word${index}`);
    expect(queryWords(words.join(" "))).toEqual(words.slice(0, 32));
    expect(queryWords("Which cat, and which dog? Cat!")).toEqual(["cat", "dog"]);
    expect(queryWords("who is it")).toEqual(["who", "is", "it"]);
    expect(queryWords("?!")).toEqual([]);
    expect(matchOf([1, 2], ["cat", "dog"], "any")).toBe('("1xcat" OR "1xdog") OR ("2xcat" OR "2xdog")');
    expect(matchOf([1], ["cat", "dog"], "all")).toBe('("1xcat" AND "1xdog")');
  });
});

test("past 20,000 matches the commonest words are left out, but for one that stands alone", async () => {
  const store = await tempStore();
  const flow = await createFlow(store);
  let made = 0;
  const common = (count: number) =>
    Array.from({ length: count }, () => aPassage(`common ${++made}`, vectorOf(1)));
  const ask = (text: string) => search(store, flow.id, { mode: "keyword", text, limit: 5 });
  await addPassages(store, flow, [aPassage("rare", vectorOf(1)), ...common(19_999)]);
  expect(await ask("common and rare")).toHaveLength(5);
  await addPassages(store, flow, common(1));
  expect(texts(await ask("common and rare"))).toEqual(["rare"]);
  await addPassages(store, flow, common(1));
  expect(await ask("common")).toHaveLength(5);
});

describe("by both", () => {
  test("ranks are fused: the sum of 1 / (60 + place) decides", () => {
    const at = (id: number) => ({ id, score: null });
    // 1: 1/61 + 1/63 = 0.03227; 2: 1/62 + 1/61 = 0.03252; 3: 1/63; 4: 1/62.
    const lists = [
      [1, 2, 3],
      [2, 4, 1],
    ].map((ids) => ids.map(at));
    expect(fuse(lists).map(({ id }) => id)).toEqual([2, 1, 4, 3]);
    expect(fuse([[{ id: 7, score: 0.5 }], [at(7)]])).toEqual([{ id: 7, score: 0.5 }]);
    expect(fuse([])).toEqual([]);
  });

  test("what either finds is found, keyword hits with their cosine and whatever that is", async () => {
    const store = await tempStore();
    const flow = await createFlow(store);
    await addPassages(store, flow, [CAT, DOG, FISH]);
    const query = { text: "Where do fishes swim?", vector: vectorOf(1), minScore: 0.5 };
    const hits = await search(store, flow.id, query);
    expect(new Set(texts(hits))).toEqual(new Set([CAT.text, FISH.text]));
    expect(hits.find(({ text }) => text === FISH.text)?.score).toBeCloseTo(0, 5);
    expect(texts(await search(store, flow.id, { ...query, limit: 1 }))).toHaveLength(1);
  });

  test("where nothing is near by meaning, a passage needs all of the words", async () => {
    const store = await tempStore();
    const flow = await createFlow(store);
    await addPassages(store, flow, [CAT, DOG]);
    await addPassages(store, flow, [FISH], { chatId: "c" });
    const ask = async (text: string, minScore: number) =>
      texts(await search(store, flow.id, { text, minScore, chatId: "c", vector: vectorOf(0, 0, 0, 1) }));
    expect(await ask("Do dogs sleep?", 0.5)).toEqual([]);
    expect(await ask("Do dogs run after a ball?", 0.5)).toEqual([DOG.text]);
    expect(await ask("Does it swim in the water?", 0.5)).toEqual([FISH.text]);
    expect(new Set(await ask("Do dogs sleep?", -1))).toEqual(new Set([CAT.text, DOG.text, FISH.text]));
  });
});

describe("one's own", () => {
  test("passages alone are found: not another flow's, nor another chat's", async () => {
    const store = await tempStore();
    const [flow, other] = [await createFlow(store), await createFlow(store, { principal: "bob" })];
    await addPassages(store, flow, [CAT]);
    await addPassages(store, flow, [DOG], { chatId: "c1" });
    await addPassages(store, flow, [FISH], { chatId: "c2" });
    await addPassages(store, other, [aPassage("A cat and a dog and fishes.", vectorOf(1, 1, 1))]);
    const query = { text: "cat dog fishes", vector: vectorOf(1, 1, 1) };
    for (const mode of ["vector", "keyword", "hybrid"] as const) {
      const ask = async (chatId: string) =>
        new Set(texts(await search(store, flow.id, { ...query, mode, chatId })));
      expect(await ask(""), mode).toEqual(new Set([CAT.text]));
      expect(await ask("c1"), mode).toEqual(new Set([CAT.text, DOG.text]));
      expect(await ask("c2"), mode).toEqual(new Set([CAT.text, FISH.text]));
      expect(await search(store, newId(), { ...query, mode }), mode).toEqual([]);
    }
    expect(await store.passages.count(flow.id)).toBe(1);
  });

  test("rare words are rare in the flow, whatever others have", async () => {
    const store = await tempStore();
    const [flow, other] = [await createFlow(store), await createFlow(store)];
    const common = Array.from({ length: 20 }, (_, index) => aPassage(`server number ${index}`, vectorOf(1)));
    await addPassages(store, flow, [
      ...common,
      aPassage("zebra", vectorOf(1)),
      aPassage("server", vectorOf(1)),
    ]);
    const zebras = Array.from({ length: 50 }, (_, index) => aPassage(`zebra ${index}`, vectorOf(1)));
    await addPassages(store, other, zebras);
    const hits = await search(store, flow.id, { mode: "keyword", text: "zebra server", limit: 1 });
    expect(texts(hits)).toEqual(["zebra"]);
  });
});

test("passages that are gone and not yet deleted take no places from those that are there", async () => {
  const store = await tempStore();
  const flow = await createFlow(store);
  const gone = Array.from({ length: 60 }, (_, at) => aPassage(`cat cat ${at}`, vectorOf(1)));
  await store.upserts.abandon(await addPassages(store, flow, gone, { ends: false }));
  await addPassages(store, flow, [CAT]);
  for (const mode of ["vector", "keyword", "hybrid"] as const) {
    const query = { mode, text: "cat", vector: vectorOf(1), limit: 5 };
    expect(texts(await search(store, flow.id, query)), mode).toEqual([CAT.text]);
  }
});

test("no SQL loads an extension, also where one was loaded", async () => {
  const file = join(tempFolder(), "test.db");
  for (const role of ["write", "read", "search"] as const) {
    const connection = new SqliteConnection(file, role);
    onTestFinished(() => connection.close());
    expect(() => connection.exec("select load_extension('x')"), role).toThrow("not authorized");
  }
});

test("a search holds up neither writes nor lists", async () => {
  const store = await tempStore();
  const flow = await createFlow(store);
  // Wide vectors, so that a search takes its time.
  const wide = (seed: number) =>
    Float32Array.from({ length: 4096 }, (_, at) => Math.sin(seed * (at + 1)) / 64);
  for (let part = 0; part < 5; part++) {
    const passages = Array.from({ length: 100 }, (_, at) =>
      aPassage(`number ${at}`, wide(part * 100 + at + 1)),
    );
    await addPassages(store, flow, passages);
  }
  const query = { mode: "vector", vector: wide(0.5), limit: 50 } as const;
  const list = () => store.chatflows.list({ principal: "alice", before: undefined, limit: 1 });
  // Both threads have begun.
  await Promise.all([search(store, flow.id, query), list()]);
  let searched = 0;
  const searches = Array.from({ length: 100 }, () => search(store, flow.id, query).then(() => searched++));
  await Promise.all([insert(store, aPrediction()), list()]);
  expect(searched).toBeLessThan(100);
  await Promise.all(searches);
});
