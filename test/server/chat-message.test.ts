/** What is kept of a flow's chats, and of its upserts. */
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type Answer, ChatflowService, ChatRole, RatingValue } from "../../gen/auspex/v1/chatflow_pb.ts";
import { BadRequestSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { clientOf, DOORS, startServer, type TestServer, until } from "../harness.ts";

const NO_ID = "01900000-0000-4000-8000-000000000000";
const { THUMBS_UP, THUMBS_DOWN, UNSPECIFIED } = RatingValue;

let server: TestServer;
let client: ReturnType<typeof clientOf<typeof ChatflowService>>;
let chatflowId: string;

beforeAll(async () => {
  server = await startServer({ settings: { CATALOGUE: "auspex/minilm" } });
  client = clientOf(server, "grpc", ChatflowService);
});
afterAll(() => server[Symbol.asyncDispose]());

beforeEach(async () => {
  chatflowId = await makeFlow();
});

async function makeFlow(): Promise<string> {
  const { chatflow } = await client.createChatflow({
    name: "flow",
    definition: { generator: { case: "extractive", value: { noMatch: "I do not know." } }, memory: {} },
  });
  return chatflow?.id ?? "";
}

async function ask(text: string, chatId: string, rest: { sessionId?: string; leadEmail?: string } = {}) {
  const { answer } = await client.createAnswer({ chatflowId, question: { text, chatId, ...rest } });
  if (!answer) throw new Error("no answer");
  return answer;
}

async function fieldsOf(call: Promise<unknown>): Promise<string[]> {
  try {
    await call;
    return [];
  } catch (error) {
    const known = ConnectError.from(error);
    if (known.code !== Code.InvalidArgument) throw error;
    return known
      .findDetails(BadRequestSchema)
      .flatMap(({ fieldViolations }) => fieldViolations.map(({ field }) => field));
  }
}

type Filter = NonNullable<Parameters<typeof client.listMessages>[0]["filter"]>;

async function contents(filter?: Filter, descending = false): Promise<string[]> {
  const request = { chatflowId, descending, ...(filter && { filter }) };
  return (await client.listMessages(request)).messages.map(({ content }) => content);
}

const messageOf = ({ chatId, messageId }: Answer) => ({ chatflowId, chatId, messageId });

describe("messages", () => {
  test("are the question and the answer of every turn", async () => {
    const answer = await ask("first?", "one", { sessionId: "s", leadEmail: "a@example.org" });
    const { messages } = await client.listMessages({ chatflowId });
    const common = {
      chatflowId,
      chatId: "one",
      sessionId: "s",
      predictionId: answer.predictionId,
      leadEmail: "a@example.org",
      memoryType: "Buffer Window Memory",
      failure: "",
    };
    expect(messages).toMatchObject([
      { ...common, role: ChatRole.USER, content: "first?" },
      { ...common, role: ChatRole.API, content: "I do not know.", id: answer.messageId },
    ]);
  });

  test("are listed by page, forwards and backwards", async () => {
    for (const text of ["1", "2", "3"]) await ask(text, "one");
    const all = await client.listMessages({ chatflowId });
    expect(all.nextPageToken).toBe("");
    for (const descending of [false, true]) {
      const ids: string[] = [];
      let pageToken = "";
      let pages = 0;
      do {
        const page = await client.listMessages({ chatflowId, descending, pageSize: 4, pageToken });
        ids.push(...page.messages.map(({ id }) => id));
        pageToken = page.nextPageToken;
        pages += 1;
      } while (pageToken !== "");
      const expected = all.messages.map(({ id }) => id);
      expect(ids).toEqual(descending ? expected.toReversed() : expected);
      expect(pages).toBe(2);
    }
  });

  test("are chosen by every filter, and by all of them together", async () => {
    const first = await ask("a", "one", { sessionId: "x" });
    const between = new Date();
    // A clock's step later, so that a time lies between the two.
    await until(() => Date.now() > between.getTime() + 1);
    await ask("b", "one", { sessionId: "y" });
    await ask("c", "two", { sessionId: "x" });
    await client.rateMessage({ ...messageOf(first), value: THUMBS_UP });
    const no = "I do not know.";
    const startTime = timestampFromDate(new Date(between.getTime() + 1));
    for (const [filter, expected] of [
      [{}, ["a", no, "b", no, "c", no]],
      [{ chatId: "one" }, ["a", no, "b", no]],
      [{ sessionId: "x" }, ["a", no, "c", no]],
      [{ chatId: "one", sessionId: "x" }, ["a", no]],
      [{ chatId: "three" }, []],
      [{ messageId: first.messageId }, [no]],
      [{ messageId: first.messageId.toUpperCase() }, [no]],
      [{ messageId: "what?" }, []],
      [{ memoryType: "Buffer Window Memory", chatId: "two" }, ["c", no]],
      [{ memoryType: "Buffer Memory" }, []],
      [{ startTime }, ["b", no, "c", no]],
      [{ endTime: startTime }, ["a", no]],
      [{ startTime, endTime: startTime }, []],
      [{ ratings: [THUMBS_UP] }, [no]],
      [{ ratings: [THUMBS_DOWN] }, []],
      [{ ratings: [THUMBS_UP, THUMBS_DOWN], chatId: "two" }, []],
    ] as [Filter, string[]][]) {
      expect([filter, await contents(filter)]).toEqual([filter, expected]);
    }
    const [rated] = (await client.listMessages({ chatflowId, filter: { ratings: [THUMBS_UP] } })).messages;
    expect(rated?.rating?.value).toBe(THUMBS_UP);
  });

  test("that are deleted are gone, with their ratings; all others stay", async () => {
    const first = await ask("a", "one");
    await ask("b", "two");
    await client.rateMessage({ ...messageOf(first), value: THUMBS_UP });
    expect(await client.deleteMessages({ chatflowId, filter: { chatId: "one" } })).toMatchObject({
      deleted: 2,
    });
    expect(await contents()).toEqual(["b", "I do not know."]);
    expect((await client.listRatings({ chatflowId })).ratings).toEqual([]);
    expect(await client.deleteMessages({ chatflowId, filter: { chatId: "one" } })).toMatchObject({
      deleted: 0,
    });
    expect(await client.deleteMessages({ chatflowId })).toMatchObject({ deleted: 2 });
    expect(await contents()).toEqual([]);
  });

  test("are each flow's own", async () => {
    const answer = await ask("a", "one");
    const mine = chatflowId;
    chatflowId = await makeFlow();
    await ask("b", "one");
    expect(await contents()).toEqual(["b", "I do not know."]);
    const foreign = { ...messageOf(answer), chatflowId, value: THUMBS_UP };
    await expect(client.rateMessage(foreign)).rejects.toMatchObject({ code: Code.NotFound });
    await client.deleteMessages({ chatflowId });
    chatflowId = mine;
    expect(await contents()).toHaveLength(2);
  });
});

describe("ratings", () => {
  test("are one an answer: the second replaces the first", async () => {
    const answer = await ask("a", "one");
    const { rating: first } = await client.rateMessage({
      ...messageOf(answer),
      value: THUMBS_UP,
      comment: "good",
    });
    expect(first).toMatchObject({
      messageId: answer.messageId,
      chatId: "one",
      value: THUMBS_UP,
      comment: "good",
    });
    const { rating: second } = await client.rateMessage({ ...messageOf(answer), value: THUMBS_DOWN });
    expect(second).toMatchObject({ id: first?.id, value: THUMBS_DOWN, comment: "" });
    expect((await client.listRatings({ chatflowId })).ratings).toEqual([second]);
  });

  test.each(DOORS)("over %s are changed by their own id, and keep what is not named", async (door) => {
    const own = clientOf(server, door, ChatflowService);
    const answer = await ask("a", "one");
    const { rating } = await own.rateMessage({ ...messageOf(answer), value: THUMBS_UP });
    const ratingId = rating?.id ?? "";
    await own.rateMessage({ chatflowId, ratingId, comment: "because" });
    const { rating: changed } = await own.rateMessage({
      chatflowId,
      chatId: "one",
      ratingId,
      value: THUMBS_DOWN,
    });
    expect(changed).toMatchObject({ id: ratingId, value: THUMBS_DOWN, comment: "because" });
    for (const wrong of [{ chatId: "two" }, { messageId: NO_ID }, { ratingId: NO_ID }]) {
      const call = own.rateMessage({ chatflowId, ratingId, value: THUMBS_UP, ...wrong });
      await expect(call).rejects.toMatchObject({ code: Code.NotFound });
    }
    expect((await own.listRatings({ chatflowId })).ratings).toEqual([changed]);
  });

  test("are of answers of the chat that is named", async () => {
    const answer = await ask("a", "one");
    const [question] = (await client.listMessages({ chatflowId })).messages;
    const rate = (rest: object) => client.rateMessage({ ...messageOf(answer), value: THUMBS_UP, ...rest });
    await expect(rate({ chatId: "two" })).rejects.toMatchObject({ code: Code.NotFound });
    await expect(rate({ messageId: NO_ID })).rejects.toMatchObject({ code: Code.NotFound });
    expect(await fieldsOf(rate({ messageId: question?.id }))).toEqual(["message_id"]);
    expect((await client.listRatings({ chatflowId })).ratings).toEqual([]);
  });

  test("are listed by chat, time and page", async () => {
    const ids: (string | undefined)[] = [];
    for (const chat of ["one", "one", "two"]) {
      const { rating } = await client.rateMessage({ ...messageOf(await ask("a", chat)), value: THUMBS_UP });
      ids.push(rating?.id);
    }
    const list = async (rest: object = {}) => {
      const { ratings, nextPageToken } = await client.listRatings({ chatflowId, ...rest });
      return { ids: ratings.map(({ id }) => id), nextPageToken };
    };
    expect((await list()).ids).toEqual(ids);
    expect((await list({ chatId: "one" })).ids).toEqual(ids.slice(0, 2));
    expect((await list({ endTime: timestampFromDate(new Date(0)) })).ids).toEqual([]);
    expect((await list({ startTime: timestampFromDate(new Date(0)) })).ids).toEqual(ids);
    const page = await list({ descending: true, pageSize: 2 });
    expect(page.ids).toEqual([ids[2], ids[1]]);
    const last = await list({ descending: true, pageSize: 2, pageToken: page.nextPageToken });
    expect(last).toEqual({ ids: [ids[0]], nextPageToken: "" });
  });
});

test("leads are kept by chat, and listed by page", async () => {
  const { lead } = await client.createLead({
    chatflowId,
    chatId: "one",
    name: " Ada ",
    email: "ada@example.org",
    phone: "+1 555",
  });
  expect(lead).toMatchObject({
    chatflowId,
    chatId: "one",
    name: "Ada",
    email: "ada@example.org",
    phone: "+1 555",
  });
  const { lead: second } = await client.createLead({ chatflowId, chatId: "two", name: "Grace" });
  const first = await client.listLeads({ chatflowId, pageSize: 1 });
  expect(first.leads).toEqual([lead]);
  const { leads, nextPageToken } = await client.listLeads({ chatflowId, pageToken: first.nextPageToken });
  expect([leads, nextPageToken]).toEqual([[second], ""]);
});

describe("upserts", () => {
  async function upsert(name: string, text: string) {
    const documents = [{ name, content: Buffer.from(text) }];
    const { result } = await client.upsertDocuments({ chatflowId, documents });
    if (!result) throw new Error("no result");
    return result;
  }

  test("are listed with what they added, and forgotten with it where that is asked for", async () => {
    await client.updateChatflow({
      id: chatflowId,
      definition: { generator: { case: "extractive", value: {} }, retriever: {} },
    });
    const results = [
      await upsert("a.txt", "Zebras are striped."),
      await upsert("b.txt", "Leopards are spotted."),
    ];
    const list = async (rest: object = {}) => client.listUpserts({ chatflowId, ...rest });
    expect((await list()).upserts).toEqual(results);
    expect(results[0]).toMatchObject({ added: 1, addedDocuments: [{ text: "Zebras are striped." }] });
    const first = await list({ descending: true, pageSize: 1 });
    expect(first.upserts).toEqual([results[1]]);
    const rest = await list({ descending: true, pageSize: 1, pageToken: first.nextPageToken });
    expect([rest.upserts, rest.nextPageToken]).toEqual([[results[0]], ""]);
    expect((await list({ endTime: timestampFromDate(new Date(0)) })).upserts).toEqual([]);

    const [a, b] = results.map(({ id }) => id);
    const passages = async () => (await client.getChatflow({ id: chatflowId })).chatflow?.passages;
    await expect(client.deleteUpserts({ ids: [a ?? "", NO_ID] })).rejects.toMatchObject({
      code: Code.NotFound,
    });
    expect((await list()).upserts).toHaveLength(2);
    expect(await client.deleteUpserts({ ids: [a ?? "", a?.toUpperCase() ?? ""] })).toMatchObject({
      deleted: 1,
    });
    expect(await passages()).toBe(2);
    expect(await client.deleteUpserts({ ids: [b ?? ""], deletePassages: true })).toMatchObject({
      deleted: 1,
    });
    expect([await passages(), (await list()).upserts]).toEqual([1, []]);
  });

  test("are their principal's alone", async () => {
    const keys = { mine: "acme-key-0123456789", theirs: "zeta-key-0123456789" };
    const settings = { CATALOGUE: "auspex/minilm", API_KEYS: `acme:${keys.mine},zeta:${keys.theirs}` };
    await using closed = await startServer({ settings });
    const mine = clientOf(closed, "grpc", ChatflowService, keys.mine);
    const { chatflow } = await mine.createChatflow({
      name: "f",
      definition: { generator: { case: "extractive", value: {} }, retriever: {} },
    });
    const id = chatflow?.id ?? "";
    const documents = [{ name: "a.txt", content: Buffer.from("Zebras are striped.") }];
    const { result } = await mine.upsertDocuments({ chatflowId: id, documents });
    const ids = [result?.id ?? ""];
    const theirs = clientOf(closed, "grpc", ChatflowService, keys.theirs);
    await expect(theirs.deleteUpserts({ ids })).rejects.toMatchObject({ code: Code.NotFound });
    expect((await mine.listUpserts({ chatflowId: id })).upserts).toHaveLength(1);
  });
});

const CHAT_ID = "c".repeat(255);
const nanos = { seconds: 0n, nanos: -1 };

/** A method, what it just takes, what it just does not, and where the complaints point. */
const EDGES: readonly (readonly [keyof typeof client, object, object, readonly string[]])[] = [
  ["listMessages", { pageSize: 1000 }, { pageSize: 1001 }, ["page_size"]],
  ["listMessages", {}, { pageToken: "x" }, ["page_token"]],
  ["listMessages", {}, { pageToken: "x".repeat(1025) }, ["page_token"]],
  [
    "listMessages",
    { filter: { chatId: CHAT_ID, sessionId: CHAT_ID, messageId: CHAT_ID, memoryType: CHAT_ID } },
    {
      filter: {
        chatId: `${CHAT_ID}c`,
        sessionId: `${CHAT_ID}c`,
        messageId: `${CHAT_ID}c`,
        memoryType: `${CHAT_ID}c`,
      },
    },
    ["filter.chat_id", "filter.session_id", "filter.message_id", "filter.memory_type"],
  ],
  [
    "listMessages",
    { filter: { startTime: { seconds: 0n }, endTime: { seconds: 9_000_000_000n } } },
    { filter: { startTime: nanos, endTime: { seconds: 2n ** 62n } } },
    ["filter.start_time", "filter.end_time"],
  ],
  [
    "listMessages",
    { filter: { ratings: [THUMBS_UP, THUMBS_DOWN] } },
    { filter: { ratings: [UNSPECIFIED] } },
    ["filter.ratings"],
  ],
  ["listMessages", {}, { filter: { ratings: [THUMBS_UP, THUMBS_UP, THUMBS_UP] } }, ["filter.ratings"]],
  [
    "deleteMessages",
    { filter: { chatId: CHAT_ID } },
    { filter: { chatId: `${CHAT_ID}c` } },
    ["filter.chat_id"],
  ],
  ["listRatings", { pageSize: 1000 }, { pageSize: 1001, chatId: `${CHAT_ID}c` }, ["chat_id", "page_size"]],
  ["listRatings", {}, { startTime: nanos }, ["start_time"]],
  ["listLeads", { pageSize: 1000 }, { pageSize: 1001 }, ["page_size"]],
  ["listUpserts", { pageSize: 100 }, { pageSize: 101, endTime: nanos }, ["end_time", "page_size"]],
  [
    "createLead",
    { chatId: CHAT_ID, name: "n".repeat(180), email: "e".repeat(320), phone: "p".repeat(64) },
    { chatId: `${CHAT_ID}c`, name: "n".repeat(181), email: "e".repeat(321), phone: "p".repeat(65) },
    ["chat_id", "name", "email", "phone"],
  ],
  ["createLead", { chatId: "c", phone: "1" }, { name: " " }, ["chat_id", "email"]],
];

test.each(EDGES.map(([method, allowed, refused, fields]) => ({ method, allowed, refused, fields })))(
  "$method at the edge of $fields",
  async ({ method, allowed, refused, fields }) => {
    const call = client[method] as (request: object) => Promise<unknown>;
    expect(await fieldsOf(call({ chatflowId, ...allowed }))).toEqual([]);
    expect(await fieldsOf(call({ chatflowId, ...refused }))).toEqual(fields);
  },
);

test.each([
  [{}, ["chat_id", "message_id", "value"]],
  [{ chatId: "c", messageId: "1", value: 7 as RatingValue }, ["message_id", "value"]],
  [{ ratingId: "1", value: 7 as RatingValue, comment: "c".repeat(4097) }, ["rating_id", "value", "comment"]],
  [{ ratingId: NO_ID, chatId: `${CHAT_ID}c` }, ["chat_id"]],
])("a rating of %j has complaints about %j", async (request, fields) => {
  expect(await fieldsOf(client.rateMessage({ chatflowId, ...request }))).toEqual(fields);
});

test("a comment has 4,096 characters at most, and 1 to 100 upserts are deleted at once", async () => {
  const answer = await ask("a", "one");
  const rated = client.rateMessage({ ...messageOf(answer), value: THUMBS_UP, comment: "c".repeat(4096) });
  expect(await fieldsOf(rated)).toEqual([]);
  expect(await fieldsOf(client.deleteUpserts({}))).toEqual(["ids"]);
  expect(await fieldsOf(client.deleteUpserts({ ids: Array(101).fill(NO_ID) }))).toEqual(["ids"]);
  expect(await fieldsOf(client.deleteUpserts({ ids: [NO_ID, "2"] }))).toEqual(["ids[1]"]);
  const hundred = client.deleteUpserts({ ids: Array(100).fill(NO_ID) });
  await expect(hundred).rejects.toMatchObject({ code: Code.NotFound });
});
