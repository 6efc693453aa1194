/** Who may do what with a chatflow: every method of the service, by every kind of caller, on every kind of flow. */
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ChatflowService, RatingValue } from "../../gen/auspex/v1/chatflow_pb.ts";
import { RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { clientOf, DOORS, startServer, type TestServer } from "../harness.ts";

type Method = keyof typeof ChatflowService.method;
type Client = ReturnType<typeof clientOf<typeof ChatflowService>>;

const ACME = "acme-key-0123456789";
const ZETA = "zeta-key-0123456789";
const NO_ID = "01900000-0000-7000-8000-000000000000";

const definition = { generator: { case: "extractive", value: {} } } as const;
const turn = { text: "hello?", chatId: "chat" };

interface Row {
  /** Whose method it is: anybody's with a credential of his own, the flow's creator's, or whoever's may ask it. */
  readonly audience: "principal" | "creator" | "asker";
  call(client: Client, chatflowId: string): Promise<unknown>;
}

/** One row a method: the compiler asks for a new one's. */
const METHODS: Readonly<Record<Method, Row>> = {
  createChatflow: { audience: "principal", call: (c) => c.createChatflow({ name: "new", definition }) },
  listChatflows: { audience: "principal", call: (c) => c.listChatflows({}) },
  deleteUpserts: { audience: "principal", call: (c) => c.deleteUpserts({ ids: [NO_ID] }) },
  getChatflow: { audience: "creator", call: (c, id) => c.getChatflow({ id }) },
  updateChatflow: { audience: "creator", call: (c, id) => c.updateChatflow({ id, name: "newer" }) },
  deleteChatflow: { audience: "creator", call: (c, id) => c.deleteChatflow({ id }) },
  createChatflowKey: { audience: "creator", call: (c, chatflowId) => c.createChatflowKey({ chatflowId }) },
  deleteChatflowKey: {
    audience: "creator",
    call: (c, chatflowId) => c.deleteChatflowKey({ chatflowId, keyId: NO_ID }),
  },
  upsertDocuments: {
    audience: "creator",
    call: (c, chatflowId) =>
      c.upsertDocuments({ chatflowId, documents: [{ name: "a.txt", content: Buffer.from("some text") }] }),
  },
  listUpserts: { audience: "creator", call: (c, chatflowId) => c.listUpserts({ chatflowId }) },
  listMessages: { audience: "creator", call: (c, chatflowId) => c.listMessages({ chatflowId }) },
  deleteMessages: { audience: "creator", call: (c, chatflowId) => c.deleteMessages({ chatflowId }) },
  listRatings: { audience: "creator", call: (c, chatflowId) => c.listRatings({ chatflowId }) },
  listLeads: { audience: "creator", call: (c, chatflowId) => c.listLeads({ chatflowId }) },
  getChatbot: { audience: "asker", call: (c, chatflowId) => c.getChatbot({ chatflowId }) },
  createAnswer: {
    audience: "asker",
    call: (c, chatflowId) => c.createAnswer({ chatflowId, question: turn }),
  },
  streamAnswer: {
    audience: "asker",
    call: async (c, chatflowId) => {
      for await (const { event } of c.streamAnswer({ chatflowId, question: turn })) {
        if (event.case === "answer") return event.value;
      }
      throw new Error("the stream ended without an answer");
    },
  },
  abortAnswers: {
    audience: "asker",
    call: (c, chatflowId) => c.abortAnswers({ chatflowId, chatId: "chat" }),
  },
  rateMessage: {
    audience: "asker",
    call: (c, chatflowId) =>
      c.rateMessage({ chatflowId, chatId: "chat", messageId: NO_ID, value: RatingValue.THUMBS_UP }),
  },
  createLead: {
    audience: "asker",
    call: (c, chatflowId) => c.createLead({ chatflowId, chatId: "chat", email: "a@example.org" }),
  },
  createAttachments: {
    audience: "asker",
    call: (c, chatflowId) =>
      c.createAttachments({
        chatflowId,
        chatId: "chat",
        documents: [{ name: "a.txt", content: Buffer.from("some text") }],
      }),
  },
  getChatFile: {
    audience: "asker",
    call: (c, chatflowId) => c.getChatFile({ chatflowId, chatId: "chat", name: "none.txt" }),
  },
};

/** `hidden` is what is said of any flow, be it there or not. */
type Outcome = "yes" | "not_found" | "unauthenticated" | "hidden";

/** What the flow's own refusals are is no matter here: whoever gets one has got in. */
async function outcomeOf(row: Row, client: Client, chatflowId: string): Promise<Outcome> {
  try {
    const answer = await row.call(client, chatflowId);
    const isHidden = row === METHODS.getChatbot && (answer as { name: string }).name === "";
    return isHidden ? "hidden" : "yes";
  } catch (error) {
    const { code, rawMessage } = ConnectError.from(error);
    if (code === Code.Unauthenticated) return "unauthenticated";
    const isUnknown = rawMessage === `chatflow ${chatflowId} does not exist`;
    if (isUnknown || rawMessage === "not all of these upserts exist") return "not_found";
    if ([Code.Unimplemented, Code.Internal, Code.PermissionDenied].includes(code)) throw error;
    return "yes";
  }
}

async function outcomes(client: Client, makeFlow: () => Promise<string>): Promise<Record<string, Outcome>> {
  const found: Record<string, Outcome> = {};
  for (const { localName } of ChatflowService.methods) {
    found[localName] = await outcomeOf(METHODS[localName as Method], client, await makeFlow());
  }
  return found;
}

/** For each audience what comes of it; deleting unknown upserts is all that the table does not say. */
function expected({
  principal,
  creator,
  asker,
  chatbot = asker,
}: Record<Row["audience"], Outcome> & { chatbot?: Outcome }): Record<string, Outcome> {
  const outcome = { principal, creator, asker };
  return Object.fromEntries([
    ...ChatflowService.methods.map(({ localName }) => [
      localName,
      outcome[METHODS[localName as Method].audience],
    ]),
    ["deleteUpserts", principal === "yes" ? "not_found" : principal],
    ["getChatbot", chatbot],
  ]);
}

interface Flow {
  readonly id: string;
  readonly key: string;
  readonly deletedKey: string;
}

async function makeFlow(owner: Client, isPublic: boolean): Promise<Flow> {
  const { chatflow } = await owner.createChatflow({
    name: "flow",
    definition: { ...definition, public: isPublic, chatbot: { title: "Ask me" } },
  });
  const chatflowId = chatflow?.id ?? "";
  const { secret: key } = await owner.createChatflowKey({ chatflowId, name: "kept" });
  const { secret: deletedKey, key: deleted } = await owner.createChatflowKey({ chatflowId, name: "deleted" });
  await owner.deleteChatflowKey({ chatflowId, keyId: deleted?.id ?? "" });
  return { id: chatflowId, key, deletedKey };
}

describe("on a server with API keys", () => {
  let server: TestServer;
  let owner: Client;
  let another: Flow;

  beforeAll(async () => {
    server = await startServer({ settings: { API_KEYS: `acme:${ACME},zeta:${ZETA}` } });
    owner = clientOf(server, "grpc", ChatflowService, ACME);
    another = await makeFlow(owner, false);
  });
  afterAll(() => server[Symbol.asyncDispose]());

  const CALLERS = {
    owner: () => ACME,
    "another principal": () => ZETA,
    nobody: () => undefined,
    "its key": (flow: Flow) => flow.key,
    "another flow's key": () => another.key,
    "a deleted key": (flow: Flow) => flow.deletedKey,
    "a key that never was": () => `flow_${"A".repeat(43)}`,
  } as const;
  type Caller = keyof typeof CALLERS;

  const out = "unauthenticated";
  const KEYED: Record<Caller, Record<string, Outcome>> = {
    owner: expected({ principal: "yes", creator: "yes", asker: "yes" }),
    "another principal": expected({ principal: "yes", creator: "not_found", asker: "not_found" }),
    nobody: expected({ principal: out, creator: out, asker: out, chatbot: "hidden" }),
    "its key": expected({ principal: out, creator: out, asker: "yes" }),
    "another flow's key": expected({ principal: out, creator: out, asker: out, chatbot: "hidden" }),
    "a deleted key": expected({ principal: out, creator: out, asker: out }),
    "a key that never was": expected({ principal: out, creator: out, asker: out }),
  };
  const PUBLIC: Record<Caller, Record<string, Outcome>> = {
    ...KEYED,
    "another principal": expected({ principal: "yes", creator: "not_found", asker: "yes" }),
    nobody: expected({ principal: out, creator: out, asker: "yes" }),
    "another flow's key": expected({ principal: out, creator: out, asker: "yes" }),
  };
  const UNKNOWN: Record<Caller, Record<string, Outcome>> = {
    ...KEYED,
    owner: expected({ principal: "yes", creator: "not_found", asker: "not_found" }),
    "its key": KEYED["another flow's key"],
  };

  const TABLE = (["keyed", "public", "unknown"] as const).flatMap((kind) =>
    (Object.keys(CALLERS) as Caller[]).map((caller) => ({ kind, caller })),
  );

  test.each(TABLE)("$caller on a $kind flow", async ({ kind, caller }) => {
    const shared = await makeFlow(owner, kind === "public");
    const client = clientOf(server, "grpc", ChatflowService, CALLERS[caller](shared));
    let last = shared;
    const found = await outcomes(client, async () => {
      if (kind === "unknown") return NO_ID;
      // Its owner deletes it on the way.
      if (caller === "owner") last = await makeFlow(owner, kind === "public");
      return last.id;
    });
    const table = { keyed: KEYED, public: PUBLIC, unknown: UNKNOWN }[kind];
    expect(found).toEqual(table[caller]);
  });

  test.each(DOORS)("over %s a flow that may not be known reads as one that is not there", async (door) => {
    for (const key of [undefined, another.key, ZETA]) {
      const client = clientOf(server, door, ChatflowService, key);
      const flow = await makeFlow(owner, false);
      const refusals = await Promise.all(
        [flow.id, NO_ID].map(async (chatflowId) => {
          const error = await client
            .createLead({ chatflowId, chatId: "c", name: "n" })
            .catch(ConnectError.from);
          if (!(error instanceof ConnectError)) throw new Error("it was let in");
          return `${error.code} ${error.rawMessage.replace(chatflowId, "ID")} ${error.details.length}`;
        }),
      );
      expect(refusals[0]).toBe(refusals[1]);
    }
  });

  test.each([
    ["CreateLead", 64 * 1024, 200],
    ["CreateLead", 64 * 1024 + 1, 429],
    // May carry uploads, of those whom somebody vouches for.
    ["CreateAnswer", 64 * 1024, 200],
    ["CreateAnswer", 64 * 1024 + 1, 429],
  ])("nobody sends %s %i bytes: %i", async (method, bytes, status) => {
    const { id: chatflowId } = await makeFlow(owner, true);
    const rest = method === "CreateLead" ? { chatId: "c", name: "n" } : { question: turn };
    const body = JSON.stringify({ chatflowId, ...rest }).padEnd(bytes);
    const response = await fetch(`${server.url}/auspex.v1.ChatflowService/${method}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
    });
    expect(response.status).toBe(status);
  });

  test("a flow's key is none for the other services", async () => {
    const { key } = await makeFlow(owner, false);
    const response = await fetch(`${server.url}/v1/models`, { headers: { authorization: `Bearer ${key}` } });
    expect(response.status).toBe(401);
  });
});

describe("on an open server", () => {
  let server: TestServer;
  let anybody: Client;

  beforeAll(async () => {
    server = await startServer();
    anybody = clientOf(server, "grpc", ChatflowService);
  });
  afterAll(() => server[Symbol.asyncDispose]());

  const yes = expected({ principal: "yes", creator: "yes", asker: "yes" });

  async function makeUnkeyed(): Promise<string> {
    const { chatflow } = await anybody.createChatflow({ name: "flow", definition });
    return chatflow?.id ?? "";
  }

  test("a flow without keys is everybody's", async () => {
    expect(await outcomes(anybody, makeUnkeyed)).toEqual(yes);
    const withOtherKey = clientOf(server, "grpc", ChatflowService, (await makeFlow(anybody, false)).key);
    expect(await outcomes(withOtherKey, makeUnkeyed)).toEqual(yes);
  });

  test("a flow with keys is asked with one of them alone", async () => {
    const make = async () => (await makeFlow(anybody, false)).id;
    const refused = expected({ principal: "yes", creator: "yes", asker: "unauthenticated", chatbot: "yes" });
    expect(await outcomes(anybody, make)).toEqual(refused);

    const flow = await makeFlow(anybody, false);
    const holder = clientOf(server, "grpc", ChatflowService, flow.key);
    await expect(holder.createLead({ chatflowId: flow.id, chatId: "c", name: "n" })).resolves.toBeDefined();
    const former = clientOf(server, "grpc", ChatflowService, flow.deletedKey);
    await expect(former.createLead({ chatflowId: flow.id, chatId: "c", name: "n" })).rejects.toMatchObject({
      code: Code.Unauthenticated,
    });
  });

  test("a public flow with keys is everybody's", async () => {
    expect(await outcomes(anybody, async () => (await makeFlow(anybody, true)).id)).toEqual(yes);
  });

  test("there is nothing to hide that is not there", async () => {
    const unknown = expected({ principal: "yes", creator: "not_found", asker: "not_found" });
    expect(await outcomes(anybody, async () => NO_ID)).toEqual(unknown);
  });
});

test("questions are counted by flow and address, whichever door they come through", async () => {
  await using server = await startServer();
  const client = clientOf(server, "grpc", ChatflowService);
  const rateLimit = { questions: 3, period: { seconds: 3600n }, refusal: "Take a walk." };
  const make = async () => {
    const { chatflow } = await client.createChatflow({ name: "f", definition: { ...definition, rateLimit } });
    return chatflow?.id ?? "";
  };
  const chatflowId = await make();
  for (const door of DOORS) {
    await clientOf(server, door, ChatflowService).createAnswer({ chatflowId, question: turn });
  }
  for (const door of DOORS) {
    const refused = clientOf(server, door, ChatflowService).createAnswer({ chatflowId, question: turn });
    const error = ConnectError.from(await refused.catch((thrown: unknown) => thrown));
    expect([error.code, error.rawMessage]).toEqual([Code.ResourceExhausted, "Take a walk."]);
    const [retry] = error.findDetails(RetryInfoSchema);
    expect(Number(retry?.retryDelay?.seconds)).toBeGreaterThan(3500);
    expect(Number(retry?.retryDelay?.seconds)).toBeLessThanOrEqual(3600);
  }
  // What is no question, and another flow's questions, cost nothing of it.
  await client.createLead({ chatflowId, chatId: "c", name: "n" });
  await client.createAnswer({ chatflowId: await make(), question: turn });
});

describe("web pages", () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer();
  });
  afterAll(() => server[Symbol.asyncDispose]());

  /** Over Connect, as a page's script would. */
  async function ask(allowedOrigins: string[], origin: string | undefined, originRefusal = "") {
    const client = clientOf(server, "grpc", ChatflowService);
    const { chatflow } = await client.createChatflow({
      name: "flow",
      definition: { ...definition, allowedOrigins, originRefusal },
    });
    const response = await fetch(`${server.url}/auspex.v1.ChatflowService/CreateLead`, {
      method: "POST",
      headers: { "content-type": "application/json", ...(origin !== undefined && { origin }) },
      body: JSON.stringify({ chatflowId: chatflow?.id, chatId: "c", name: "n" }),
    });
    return { status: response.status, body: (await response.json()) as { message?: string } };
  }

  test.each([
    [[], undefined, 200],
    [[], "http://localhost:3000", 200],
    [[], "https://example.org", 403],
    [["https://example.org"], "https://example.org", 200],
    [["https://example.org"], undefined, 200],
    [["https://example.org"], "http://localhost:3000", 403],
    [["https://example.org"], "http://example.org", 403],
    [["https://example.org"], "https://example.org:8443", 403],
    [["https://example.org"], "https://example.org.evil.example", 403],
    [["*"], "https://anything.example", 200],
    [["*"], "null", 200],
    [[], "null", 403],
  ])("of origins %j, a page of %s is answered %i", async (origins, origin, status) => {
    expect((await ask(origins, origin)).status).toBe(status);
  });

  test("are refused in the flow's words", async () => {
    const { body } = await ask(["https://example.org"], "https://other.example", "Only at example.org.");
    expect(body.message).toBe("Only at example.org.");
  });
});
