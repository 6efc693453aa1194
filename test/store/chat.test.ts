import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { CHAT_FILES, type ChatMessage, type Rating } from "../../src/domain/chatflow.ts";
import type { MessageFilter } from "../../src/store/chatflow-store.ts";
import type { Store } from "../../src/store/store.ts";
import { aTurn, createFlow } from "./chatflow-records.ts";
import { anImage, aPrediction, CANCELLATION, insert, newId, SUCCESS, tempStore } from "./temp-store.ts";

function filter(chatflowId: string, given: Partial<MessageFilter> = {}): MessageFilter {
  return {
    chatflowId,
    chatId: "",
    sessionId: "",
    messageId: "",
    memoryType: "",
    since: undefined,
    until: undefined,
    ratings: [],
    ...given,
  };
}

async function list(store: Store, of: MessageFilter, descending = false): Promise<ChatMessage[]> {
  const rows = await store.chats.list({ filter: of, descending, after: undefined, limit: 100 });
  return rows.map(({ message }) => message);
}

function aRating({ chatflowId, id, chatId }: ChatMessage, given: Partial<Rating> = {}): Rating {
  const of = { chatflowId, messageId: id, chatId };
  return { id: newId(), ...of, value: "up", comment: "", createdAt: 1_000, ...given };
}

describe("a turn", () => {
  test("is written once, with its flow's other messages, as it was said", async () => {
    const store = await tempStore();
    const flow = await createFlow(store);
    const turn = aTurn(flow.id, {
      failure: "cut",
      leadEmail: "a@example.org",
      uploads: [{ name: "x.png", mediaType: "image/png" }],
      sourceDocuments: [{ text: "t", metadata: { source: "a.md", page: 2 }, score: 0.5 }],
      followUpPrompts: ["And then?"],
    });
    await store.chats.insertTurn(turn);
    const said = turn.map((each) => ({ ...each, content: "something else" })) as unknown as typeof turn;
    await store.chats.insertTurn(said);
    expect(await list(store, filter(flow.id))).toEqual(turn);
  });

  test("is written with the transition that settles its prediction, if that wins", async () => {
    const store = await tempStore();
    const flow = await createFlow(store);
    const prediction = aPrediction();
    await insert(store, prediction);
    const [turn, late] = [aTurn(flow.id), aTurn(flow.id)];
    const settle = (given: typeof turn, status: typeof SUCCESS | typeof CANCELLATION) =>
      store.predictions.transition({
        next: { ...prediction, revision: 2, ...status },
        guard: { kind: "revision", revision: 1 },
        deliveries: [],
        turn: given,
      });
    expect(await settle(turn, SUCCESS)).toBe(true);
    expect(await settle(late, CANCELLATION)).toBe(false);
    expect(await list(store, filter(flow.id))).toEqual(turn);
  });

  test("is written with a first row that is terminal, once for a request id", async () => {
    const store = await tempStore();
    const flow = await createFlow(store);
    const common = { lease: null, deliveries: [], images: [] };
    const [turn, repeated] = [aTurn(flow.id), aTurn(flow.id)];
    const prediction = aPrediction({ ...SUCCESS, requestId: "r" });
    await store.predictions.insert({ prediction, ...common, turn });
    await store.predictions.insert({ prediction: { ...prediction, id: newId() }, ...common, turn: repeated });
    expect(await list(store, filter(flow.id))).toEqual(turn);
  });

  test("goes with its prediction into the same transaction or not at all", async () => {
    const store = await tempStore();
    const flow = await createFlow(store);
    const image = anImage();
    await store.images.insert(image);
    const write = { prediction: aPrediction(SUCCESS), lease: null, deliveries: [], images: [image] };
    await expect(store.predictions.insert({ ...write, turn: aTurn(flow.id) })).rejects.toThrow();
    expect(await list(store, filter(flow.id))).toEqual([]);
  });

  test("of a flow that is gone is dropped, and its prediction settled", async () => {
    const store = await tempStore();
    const flow = await createFlow(store);
    await store.chatflows.delete(flow.id);
    const prediction = aPrediction(SUCCESS);
    const turn = aTurn(flow.id);
    await store.predictions.insert({ prediction, lease: null, deliveries: [], images: [], turn });
    expect(await store.predictions.get("alice", prediction.id)).toEqual(prediction);
    expect(await list(store, filter(flow.id))).toEqual([]);
  });
});

describe("memory", () => {
  test("is the last messages of one session of one flow, oldest first", async () => {
    const store = await tempStore();
    const [flow, other] = [await createFlow(store), await createFlow(store)];
    const turns = [aTurn(flow.id), aTurn(flow.id)];
    for (const turn of turns) await store.chats.insertTurn(turn);
    await store.chats.insertTurn(aTurn(flow.id, { sessionId: "another" }));
    await store.chats.insertTurn(aTurn(other.id));
    const window = (limit: number) =>
      store.chats.window({ chatflowId: flow.id, sessionId: "session", limit });
    expect(await window(10)).toEqual(turns.flat());
    expect(await window(3)).toEqual(turns.flat().slice(1));
  });
});

describe("messages", () => {
  test("are listed by every filter, both ways, in pages, and never another flow's", async () => {
    const store = await tempStore();
    const [flow, other] = [await createFlow(store), await createFlow(store)];
    const first = aTurn(flow.id, { chatId: "c1", sessionId: "s1", createdAt: 10 });
    const second = aTurn(flow.id, { chatId: "c2", sessionId: "s1", createdAt: 20, memoryType: "" });
    for (const turn of [first, second]) await store.chats.insertTurn(turn);
    await store.chats.insertTurn(aTurn(other.id, { chatId: "c1", sessionId: "s1", createdAt: 10 }));
    const cases: readonly (readonly [Partial<MessageFilter>, readonly ChatMessage[]])[] = [
      [{}, [...first, ...second]],
      [{ chatId: "c2" }, second],
      [{ sessionId: "s1" }, [...first, ...second]],
      [{ sessionId: "s1", chatId: "c1" }, first],
      [{ sessionId: "s2" }, []],
      [{ messageId: second[1].id }, [second[1]]],
      [{ messageId: second[1].id, chatId: "c1" }, []],
      [{ memoryType: "window" }, first],
      [{ since: 20 }, second],
      [{ until: 20 }, first],
      [{ since: 10, until: 21 }, [...first, ...second]],
    ];
    for (const [given, expected] of cases) {
      expect(await list(store, filter(flow.id, given)), JSON.stringify(given)).toEqual(expected);
      const reversed = [...expected].reverse();
      expect(await list(store, filter(flow.id, given), true), JSON.stringify(given)).toEqual(reversed);
    }
    expect(await list(store, filter(other.id, { messageId: first[0].id }))).toEqual([]);
    const page = { filter: filter(flow.id), descending: false, limit: 3 };
    const rows = await store.chats.list({ ...page, after: undefined });
    const rest = await store.chats.list({ ...page, after: rows.at(-1)?.position });
    expect([...rows, ...rest].map(({ message }) => message)).toEqual([...first, ...second]);
  });

  test("are got by id, in their flow and chat", async () => {
    const store = await tempStore();
    const [flow, other] = [await createFlow(store), await createFlow(store)];
    const turn = aTurn(flow.id);
    await store.chats.insertTurn(turn);
    expect(await store.chats.get(flow.id, "", turn[0].id)).toEqual(turn[0]);
    expect(await store.chats.get(flow.id, "chat", turn[0].id)).toEqual(turn[0]);
    expect(await store.chats.get(flow.id, "another", turn[0].id)).toBeUndefined();
    expect(await store.chats.get(other.id, "", turn[0].id)).toBeUndefined();
  });

  test("are deleted by a filter, more than a transaction's worth of them, with their ratings", async () => {
    const store = await tempStore();
    const flow = await createFlow(store);
    await Promise.all(Array.from({ length: 600 }, () => store.chats.insertTurn(aTurn(flow.id))));
    const kept = aTurn(flow.id, { chatId: "kept" });
    await store.chats.insertTurn(kept);
    const [one] = await list(store, filter(flow.id));
    const rating = one && (await store.chats.rate(aRating(one)));
    expect(rating).toBeDefined();
    expect(await store.chats.delete(filter(flow.id, { chatId: "chat" }))).toBe(1200);
    expect(await list(store, filter(flow.id))).toEqual(kept);
    expect(await store.chats.rating(flow.id, rating?.id ?? "")).toBeUndefined();
  });
});

describe("a rating", () => {
  test("is one a message: a second replaces the first, whose id stays", async () => {
    const store = await tempStore();
    const flow = await createFlow(store);
    const turn = aTurn(flow.id);
    await store.chats.insertTurn(turn);
    const first = aRating(turn[1], { createdAt: 5 });
    expect(await store.chats.rate(first)).toEqual(first);
    const second = aRating(turn[1], { value: "down", comment: "wrong", createdAt: 6 });
    const replaced = { ...first, value: "down", comment: "wrong" };
    expect(await store.chats.rate(second)).toEqual(replaced);
    expect(await store.chats.rating(flow.id, first.id)).toEqual(replaced);
    expect(await store.chats.rating(flow.id, second.id)).toBeUndefined();
    const rows = await store.chats.list({
      filter: filter(flow.id),
      descending: false,
      after: undefined,
      limit: 9,
    });
    expect(rows.map(({ rating }) => rating)).toEqual([undefined, replaced]);
    expect(await list(store, filter(flow.id, { ratings: ["down"] }))).toEqual([turn[1]]);
    expect(await list(store, filter(flow.id, { ratings: ["up", "down"] }))).toEqual([turn[1]]);
    expect(await list(store, filter(flow.id, { ratings: ["up"] }))).toEqual([]);
  });

  test("needs a message of the flow", async () => {
    const store = await tempStore();
    const [flow, other] = [await createFlow(store), await createFlow(store)];
    const turn = aTurn(flow.id);
    await store.chats.insertTurn(turn);
    expect(await store.chats.rate(aRating({ ...turn[1], chatflowId: other.id }))).toBeUndefined();
    expect(await store.chats.rate(aRating({ ...turn[1], id: newId() }))).toBeUndefined();
    expect(await store.chats.rating(other.id, newId())).toBeUndefined();
  });

  test("is listed by chat and time, both ways, in pages", async () => {
    const store = await tempStore();
    const flow = await createFlow(store);
    const ratings: Rating[] = [];
    for (const [index, chatId] of ["c1", "c1", "c2"].entries()) {
      const turn = aTurn(flow.id, { chatId });
      await store.chats.insertTurn(turn);
      const rating = await store.chats.rate(aRating(turn[1], { createdAt: index }));
      if (rating) ratings.push(rating);
    }
    const all = { chatflowId: flow.id, chatId: "", since: undefined, until: undefined };
    const page = { ...all, descending: false, after: undefined, limit: 10 };
    expect(await store.chats.listRatings(page)).toEqual(ratings);
    expect(await store.chats.listRatings({ ...page, chatId: "c1" })).toEqual(ratings.slice(0, 2));
    expect(await store.chats.listRatings({ ...page, since: 1, until: 2 })).toEqual(ratings.slice(1, 2));
    const falling = { ...page, descending: true, after: ratings[2]?.id };
    expect(await store.chats.listRatings(falling)).toEqual(ratings.slice(0, 2).reverse());
    expect(await store.chats.listRatings({ ...page, chatflowId: newId() })).toEqual([]);
  });
});

test("leads are kept with their flow and listed in pages", async () => {
  const store = await tempStore();
  const flow = await createFlow(store);
  const lead = (id: string) => ({
    id,
    chatflowId: flow.id,
    chatId: "chat",
    name: "Ada",
    email: "ada@example.org",
    phone: "",
    createdAt: 7,
  });
  const leads = [lead(newId()), lead(newId()), lead(newId())];
  for (const each of leads) await store.chats.insertLead(each);
  await store.chats.insertLead({ ...lead(newId()), chatflowId: newId() });
  const page = { chatflowId: flow.id, after: undefined, limit: 2 };
  expect(await store.chats.listLeads(page)).toEqual(leads.slice(0, 2));
  expect(await store.chats.listLeads({ ...page, after: leads[1]?.id })).toEqual(leads.slice(2));
});

describe("files of a chat", () => {
  const BLOB = createHash("sha256").update("x").digest("hex");

  test("replace those of their name, and belong to one chat", async () => {
    const store = await tempStore();
    const flow = await createFlow(store);
    const file = (name: string, sizeBytes: number, chatId = "chat") => ({
      chatflowId: flow.id,
      chatId,
      name,
      mediaType: "text/plain",
      blob: BLOB,
      sizeBytes,
      createdAt: 3,
    });
    expect(await store.chats.putFiles([file("a", 1), file("b", 2)])).toBe(true);
    expect(await store.chats.putFiles([file("a", 9)])).toBe(true);
    expect(await store.chats.getFile(flow.id, "chat", "a")).toEqual(file("a", 9));
    expect(await store.chats.getFile(flow.id, "other", "a")).toBeUndefined();
    expect(await store.chats.putFiles([{ ...file("a", 1), chatflowId: newId() }])).toBe(false);
  });

  test("are as many, and as large together, as a chat may have; past it none is kept", async () => {
    const store = await tempStore();
    const flow = await createFlow(store);
    const file = (name: string, chatId: string, sizeBytes: number) => ({
      chatflowId: flow.id,
      chatId,
      name,
      mediaType: "",
      blob: BLOB,
      sizeBytes,
      createdAt: 3,
    });
    const many = Array.from({ length: CHAT_FILES.count - 1 }, (_, index) => file(`${index}`, "many", 0));
    expect(await store.chats.putFiles(many)).toBe(true);
    expect(await store.chats.putFiles([file("x", "many", 0), file("y", "many", 0)])).toBe(false);
    expect(await store.chats.getFile(flow.id, "many", "x")).toBeUndefined();
    expect(await store.chats.putFiles([file("x", "many", 0)])).toBe(true);
    expect(await store.chats.putFiles([file("x", "many", 1), file("0", "many", 1)])).toBe(true);
    expect(await store.chats.putFiles([file("x", "large", CHAT_FILES.bytes)])).toBe(true);
    expect(await store.chats.putFiles([file("y", "large", 1)])).toBe(false);
    expect(await store.chats.putFiles([file("x", "large", 5), file("y", "large", 1)])).toBe(true);
  });

  test("keep their blobs from being swept, until their flow is deleted", async () => {
    const store = await tempStore();
    const flow = await createFlow(store);
    const blob = await store.blobs.put(Buffer.from("a file"));
    const file = {
      chatflowId: flow.id,
      chatId: "chat",
      name: "a",
      mediaType: "",
      sizeBytes: 6,
      createdAt: 3,
    };
    await store.chats.putFiles([{ ...file, blob }]);
    expect(await store.blobs.sweep(0)).toBe(0);
    await store.chatflows.delete(flow.id);
    expect(await store.blobs.sweep(0)).toBe(1);
  });
});
