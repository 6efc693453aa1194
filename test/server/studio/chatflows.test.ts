/** Flows in this dialect's shape: there and back, and what is refused. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ChatflowService } from "../../../gen/auspex/v1/chatflow_pb.ts";
import { clientOf, startServer, type TestServer } from "../../harness.ts";
import { call, createFlow, refused } from "./client.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startServer({ settings: { CATALOGUE: "0" } });
});
afterAll(() => server?.[Symbol.asyncDispose]());

const FLOWS = "/api/v1/chatflows";
const declare = (definition: object) => JSON.stringify({ nodes: [], edges: [], definition });

describe("a flow", () => {
  it("is created, read, listed, changed and deleted", async () => {
    const created = await call(server, `POST ${FLOWS}`, {
      json: {
        name: "Support",
        flowData: declare({ memory: { window: 4 }, extractive: { sentences: 2 } }),
        isPublic: true,
        deployed: true,
        type: "CHATFLOW",
        category: "help",
        chatbotConfig: JSON.stringify({
          welcomeMessage: "Hello",
          allowedOrigins: ["https://a.example", ""],
          allowedOriginsError: "not here",
        }),
        apiConfig: JSON.stringify({
          rateLimit: { status: true, limitMax: "5", limitDuration: "60", limitMsg: "slowly" },
          overrideConfig: { status: true, parameters: ["topK"] },
        }),
      },
    });
    expect(created.status).toBe(200);
    const { id, flowData, chatbotConfig, apiConfig, createdDate, updatedDate, ...rest } = created.body;
    expect(rest).toEqual({
      name: "Support",
      deployed: true,
      isPublic: true,
      apikeyid: null,
      category: null,
      type: "CHATFLOW",
    });
    expect(JSON.parse(flowData)).toMatchObject({
      nodes: [],
      edges: [],
      definition: { memory: { window: 4 }, extractive: { sentences: 2 } },
    });
    expect(JSON.parse(chatbotConfig)).toEqual({
      welcomeMessage: "Hello",
      allowedOrigins: ["https://a.example"],
      allowedOriginsError: "not here",
    });
    expect(JSON.parse(apiConfig)).toEqual({
      rateLimit: { status: true, limitMax: 5, limitDuration: 60, limitMsg: "slowly" },
      overrideConfig: { status: true, parameters: ["topK"] },
    });
    for (const date of [createdDate, updatedDate]) expect(new Date(date).toISOString()).toBe(date);

    const flows = clientOf(server, "grpc", ChatflowService);
    const { chatflow } = await flows.getChatflow({ id });
    expect(chatflow?.definition).toMatchObject({
      public: true,
      allowedOrigins: ["https://a.example"],
      originRefusal: "not here",
      chatbot: { welcomeMessage: "Hello" },
      overridable: ["topK"],
      rateLimit: { questions: 5, refusal: "slowly" },
      generator: { case: "extractive", value: { sentences: 2 } },
    });

    for (const path of [`${FLOWS}/${id}`, `/chatflows/${id}/`]) {
      expect((await call(server, `GET ${path}`)).body).toEqual(created.body);
    }
    const other = await createFlow(server);
    const ids = (reply: { body: { id: string }[] }) => reply.body.map((flow) => flow.id);
    expect(ids(await call(server, `GET ${FLOWS}`))).toEqual([other, id]);
    expect(ids(await call(server, `GET ${FLOWS}?page=2&limit=1`))).toEqual([id]);
    expect(ids(await call(server, `GET ${FLOWS}?page=3&limit=1`))).toEqual([]);

    // What was read can be sent back whole, and nothing comes of it.
    const same = await call(server, `PUT ${FLOWS}/${id}`, { json: created.body });
    expect({ ...same.body, updatedDate }).toEqual(created.body);
    const renamed = await call(server, `PUT ${FLOWS}/${id}`, { json: { name: "Help", isPublic: false } });
    expect(renamed.body).toMatchObject({ name: "Help", isPublic: false, flowData, chatbotConfig, apiConfig });
    const redefined = await call(server, `PUT ${FLOWS}/${id}`, {
      json: { flowData: declare({ extractive: { noMatch: "no idea" } }) },
    });
    expect(redefined.body).toMatchObject({ name: "Help", isPublic: false, chatbotConfig, apiConfig });
    expect(JSON.parse(redefined.body.flowData).definition.memory).toBeUndefined();
    const unlimited = await call(server, `PUT ${FLOWS}/${id}`, {
      json: { apiConfig: { rateLimit: { status: false } }, chatbotConfig: "{}" },
    });
    expect(unlimited.body).toMatchObject({ chatbotConfig: null, apiConfig: null });

    const key = await flows.createChatflowKey({ chatflowId: id, name: "k" });
    const keyed = await call(server, `GET ${FLOWS}/${id}`);
    expect(keyed.body.apikeyid).toBe(key.key?.id);
    expect((await call(server, `PUT ${FLOWS}/${id}`, { json: keyed.body })).status).toBe(200);

    const gone = await call(server, `DELETE ${FLOWS}/${id}`);
    expect([gone.status, gone.body]).toEqual([200, { raw: [], affected: 1 }]);
    for (const method of ["GET", "PUT", "DELETE"]) {
      const json = method === "PUT" ? { json: { name: "x" } } : {};
      const { status, body } = await call(server, `${method} ${FLOWS}/${id}`, json);
      expect([status, body]).toEqual([404, refused(404, `Chatflow ${id} not found in the database!`)]);
    }
  });

  it("is declared whole where a client prefers that", async () => {
    const id = await createFlow(server, {
      definition: {
        public: true,
        overridable: ["topK"],
        chatbot: { a: 1 },
        rateLimit: { questions: 1, period: "1.5s" },
      },
    });
    const { body } = await call(server, `GET ${FLOWS}/${id}`);
    expect(body).toMatchObject({ isPublic: true, chatbotConfig: '{"a":1}' });
    expect(Object.keys(JSON.parse(body.flowData).definition)).toEqual(["extractive"]);
    expect(JSON.parse(body.apiConfig).rateLimit.limitDuration).toBe(1.5);
    expect((await call(server, `PUT ${FLOWS}/${id}`, { json: body })).body).toMatchObject({
      apiConfig: body.apiConfig,
    });
  });
});

describe("refusals", () => {
  const drawn = JSON.stringify({ nodes: [{ id: "chatOpenAI_0", data: { name: "chatOpenAI" } }], edges: [] });
  const good = { name: "a", flowData: declare({ extractive: {} }) };
  it.each<[unknown, object]>([
    [expect.stringMatching(/^flowData: is required\. .*"definition"/), { name: "a" }],
    [
      expect.stringMatching(/^flowData: has no definition\. .*drawn of nodes are not run$/),
      { name: "a", flowData: drawn },
    ],
    [expect.stringMatching(/^flowData is not valid JSON/), { name: "a", flowData: "{" }],
    ["flowData: must be a JSON object as a string", { name: "a", flowData: "7" }],
    ["flowData: must be a JSON object as a string", { name: "a", flowData: [] }],
    [
      expect.stringMatching(/^flowData\.definition: .*unknown/),
      { name: "a", flowData: declare({ extractive: {}, colour: 1 }) },
    ],
    [expect.stringMatching(/^flowData\.definition/), { name: "a", flowData: declare({}) }],
    [
      expect.stringMatching(/^flowData\.definition\.extractive\.sentences: /),
      { name: "a", flowData: declare({ extractive: { sentences: 21 } }) },
    ],
    [
      expect.stringMatching(/^flowData\.definition\.memory\.window: .*; flowData\.definition/),
      { name: "a", flowData: declare({ memory: { window: 101 } }) },
    ],
    [expect.stringMatching(/^name: /), { ...good, name: "" }],
    ["name: must be a string", { ...good, name: 7 }],
    ["isPublic: must be true or false", { ...good, isPublic: "yes" }],
    ["chatbotConfig: must be a JSON object as a string", { ...good, chatbotConfig: "text" }],
    [
      expect.stringMatching(/^flowData\.definition: /),
      { ...good, chatbotConfig: { allowedOrigins: "https://a.example" } },
    ],
    [
      expect.stringMatching(/^flowData\.definition/),
      { ...good, apiConfig: { rateLimit: { status: true, limitMax: 0, limitDuration: 1 } } },
    ],
    [expect.stringMatching(/^apikeyid: .*CreateChatflowKey/), { ...good, apikeyid: "another" }],
    [expect.stringMatching(/^type: must be CHATFLOW/), { ...good, type: "AGENTFLOW" }],
    ["The body is not valid JSON", "{" as unknown as object],
  ])("%s", async (message, json) => {
    const options = typeof json === "string" ? { raw: json as string } : { json };
    const { status, body } = await call(server, `POST ${FLOWS}`, options);
    expect([status, body]).toEqual([400, refused(400, message)]);
  });

  it.each(["page=0&limit=1", "page=x&limit=1", "page=1&limit=1.5", "page=1&limit=2001"])(
    "%s",
    async (query) => {
      const { status, body } = await call(server, `GET ${FLOWS}?${query}`);
      expect([status, body]).toEqual([400, refused(400, expect.stringMatching(/^(?:page|limit): /))]);
    },
  );
});
