/** Every route of this dialect × {401, 403, 404, 405, 412, 413}, under /api/v1 and without it. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startServer, type TestServer } from "../../harness.ts";
import { send } from "../einstein-vision/client.ts";
import { type Call, call, createFlow, ROOTS, refused } from "./client.ts";

const KEY = "a-key-of-16-characters";
const OTHER = "another-key-of-16-chars";
const BODY_MAX = 100 * 1024;
const NOBODYS_PAGE = "https://evil.example";
const OWN_PAGE = "https://console.example";

let server: TestServer;

beforeAll(async () => {
  server = await startServer({
    settings: {
      API_KEYS: `alice:${KEY},bob:${OTHER}`,
      MAX_BODY_BYTES: String(BODY_MAX),
      CORS_ORIGINS: OWN_PAGE,
      CATALOGUE: "0",
    },
  });
});
afterAll(() => server?.[Symbol.asyncDispose]());

/** `FLOW` stands for a flow's id; `body` is one that is well-formed. `id` is false where no id ends the path. */
const ROUTES: readonly {
  readonly line: string;
  readonly audience: "asker" | "principal";
  readonly body?: object;
  readonly form?: true;
  readonly namesFlow?: false;
  readonly missing?: 412;
}[] = [
  { line: "POST /prediction/FLOW", audience: "asker", body: { question: "what?" }, missing: 412 },
  { line: "PUT /chatmessage/abort/FLOW/chat", audience: "asker" },
  { line: "GET /chatflows-uploads/FLOW", audience: "asker", missing: 412 },
  { line: "GET /chatflows-streaming/FLOW", audience: "asker", missing: 412 },
  { line: "GET /public-chatbotConfig/FLOW", audience: "asker", missing: 412 },
  { line: "POST /vector/upsert/FLOW", audience: "principal", form: true, missing: 412 },
  { line: "GET /upsert-history/FLOW", audience: "principal", missing: 412 },
  {
    line: "PATCH /upsert-history",
    audience: "principal",
    body: { ids: ["00000000-0000-7000-8000-000000000000"] },
  },
  {
    line: "PATCH /upsert-history/FLOW",
    audience: "principal",
    body: { ids: ["00000000-0000-7000-8000-000000000000"] },
  },
  { line: "GET /chatmessage/FLOW", audience: "principal", missing: 412 },
  { line: "DELETE /chatmessage/FLOW", audience: "principal", missing: 412 },
  {
    line: "POST /feedback",
    audience: "asker",
    body: {
      chatflowid: "FLOW",
      chatId: "c",
      messageId: "00000000-0000-7000-8000-000000000000",
      rating: "THUMBS_UP",
    },
  },
  {
    line: "PUT /feedback/FLOW.00000000-0000-7000-8000-000000000000",
    audience: "asker",
    body: { content: "x" },
    missing: 412,
  },
  { line: "GET /feedback/FLOW", audience: "principal", missing: 412 },
  { line: "POST /leads", audience: "asker", body: { chatflowid: "FLOW", chatId: "c", email: "a@b.example" } },
  { line: "GET /leads/FLOW", audience: "principal", missing: 412 },
  { line: "POST /attachments/FLOW/chat", audience: "asker", form: true },
  { line: "GET /get-upload-file?chatflowId=FLOW&chatId=c&fileName=a.txt", audience: "asker" },
  {
    line: "POST /chatflows",
    audience: "principal",
    body: { name: "a", flowData: '{"definition":{"extractive":{}}}' },
    namesFlow: false,
  },
  { line: "GET /chatflows", audience: "principal", namesFlow: false },
  { line: "GET /chatflows/FLOW", audience: "principal" },
  { line: "PUT /chatflows/FLOW", audience: "principal", body: { name: "b" }, missing: 412 },
  { line: "DELETE /chatflows/FLOW", audience: "principal", missing: 412 },
];

const UNKNOWN = "00000000-0000-7000-8000-000000000000";

function formOf(): FormData {
  const form = new FormData();
  form.append("files", new Blob(["text"], { type: "text/plain" }), "a.txt");
  return form;
}

function optionsOf({ body, form }: (typeof ROUTES)[number], flow: string): Call {
  if (form) return { raw: formOf() };
  return body ? { json: JSON.parse(JSON.stringify(body).replaceAll("FLOW", flow)) } : {};
}

const slashed = (path: string) => (path.includes("?") ? path.replace("?", "/?") : `${path}/`);

describe.each(ROUTES)("$line", (route) => {
  const [method = "", below = ""] = route.line.split(" ");
  /** Under both roots, with a slash at the end and without. */
  const lines = (flow: string) =>
    ROOTS.flatMap((root) =>
      [root + below, slashed(root + below)].map((path) => `${method} ${path.replaceAll("FLOW", flow)}`),
    );

  it("asks for a credential", async () => {
    const flow = await createFlow(server, { key: KEY });
    for (const line of lines(flow)) {
      for (const key of ["not-a-key-of-anybody", "flow_not-a-key-of-any-flow", undefined]) {
        // What a window asks before it has a key is told without one, and tells nothing of the flow.
        const isShown = key === undefined && /chatflows-(?:streaming|uploads)|chatbotConfig/.test(line);
        const { status, body } = await call(server, line, { ...optionsOf(route, flow), key });
        expect([line, status]).toEqual([line, isShown ? 200 : 401]);
        if (!isShown) expect(body).toEqual(refused(401, "Unauthorized Access"));
      }
    }
  });

  if (route.namesFlow !== false)
    it("is 404 for what is not there, and for what is another's", async () => {
      const own = await createFlow(server, { key: KEY });
      for (const [key, flow] of [
        [KEY, UNKNOWN],
        [OTHER, own],
      ] as const) {
        for (const line of lines(flow)) {
          const { status, body } = await call(server, line, { ...optionsOf(route, flow), key });
          expect([line, status, body]).toEqual([line, 404, refused(404, expect.any(String))]);
        }
      }
    });

  it("is refused to pages that may not call, before anything is done", async () => {
    const flow = await createFlow(server, { key: KEY });
    for (const line of lines(flow)) {
      const headers = { origin: NOBODYS_PAGE };
      const answer = await call(server, line, { ...optionsOf(route, flow), key: KEY, headers });
      expect([line, answer.status, answer.body]).toEqual([line, 403, refused(403, expect.any(String))]);
      // Who may ask is to read why not; what is a principal's own shows a foreign page nothing at all.
      const readable = route.audience === "asker" ? NOBODYS_PAGE : null;
      expect(answer.headers.get("access-control-allow-origin")).toBe(readable);
    }
    expect((await call(server, `GET /api/v1/chatflows/${flow}`, { key: KEY })).status).toBe(200);
  });

  it("answers preflights", async () => {
    for (const [origin, expected] of [
      [OWN_PAGE, OWN_PAGE],
      [NOBODYS_PAGE, route.audience === "asker" ? NOBODYS_PAGE : null],
    ] as const) {
      for (const line of lines(UNKNOWN)) {
        const headers = {
          origin,
          "access-control-request-method": method,
          "access-control-request-headers": "authorization,content-type",
        };
        const answer = await call(server, line.replace(method, "OPTIONS"), { headers });
        expect([line, answer.status]).toEqual([line, 204]);
        expect(answer.headers.get("access-control-allow-origin")).toBe(expected);
        expect(answer.headers.get("vary")).toBe("Origin");
        expect(answer.headers.has("access-control-allow-credentials")).toBe(false);
        if (expected === null) expect(answer.headers.has("access-control-allow-methods")).toBe(false);
        else {
          expect(answer.headers.get("access-control-allow-methods")?.split(", ")).toContain(method);
          expect(answer.headers.get("access-control-allow-headers")).toMatch(/^Authorization, Content-Type/);
        }
      }
    }
  });

  it("is 405 by another method", async () => {
    for (const line of lines(UNKNOWN)) {
      const { status, body, headers } = await call(server, line.replace(method, "PROPFIND"), { key: KEY });
      expect([line, status, body]).toEqual([line, 405, refused(405, "PROPFIND is not allowed here")]);
      expect(headers.get("allow")?.split(", ")).toContain(method);
    }
  });

  if (route.missing)
    it("is 412 without an id", async () => {
      const bare = below.replace(/\/[^/]*$/, "");
      for (const path of ROOTS.flatMap((root) => [root + bare, `${root}${bare}/`])) {
        const { status, body } = await call(server, `${method} ${path}`);
        expect([path, status, body]).toEqual([
          path,
          412,
          refused(412, expect.stringMatching(/id not provided!$/)),
        ]);
      }
    });

  if (["POST", "PUT", "PATCH"].includes(method))
    it("is 413 with a body beyond the limit, before any of it is looked at", async () => {
      for (const line of lines(await createFlow(server, { key: KEY }))) {
        const head = [`${line} HTTP/1.1`, `Authorization: Bearer ${KEY}`, "Content-Type: application/json"];
        const sized = await send(server, [...head, `Content-Length: ${BODY_MAX + 1}`]);
        expect([line, sized.status, sized.body]).toEqual([line, 413, refused(413, expect.any(String))]);
      }
    });
});

it.each([
  "/nothing",
  "/prediction/a/b",
  "/chatmessage/abort/a",
  "/vector",
  "/vector/a/b",
  "/attachments/a",
  "/ping/a",
])("%s is nobody's, as JSON of this dialect", async (path) => {
  for (const root of path === "/nothing" ? ["/api/v1"] : ROOTS) {
    const { status, body } = await call(server, `GET ${root}${path}`, { key: KEY });
    expect([status, body]).toEqual([404, refused(404, `There is nothing at GET ${root}${path}`)]);
  }
});

it.each(["assistants", "document-store", "tools", "variables", "text-to-speech"])(
  "has no %s, and says so whatever is asked of it",
  async (group) => {
    for (const root of ROOTS) {
      for (const line of [`GET ${root}/${group}`, `POST ${root}/${group}/a/b`, `DELETE ${root}/${group}/`]) {
        const { status, body } = await call(server, line);
        expect([line, status, body]).toEqual([line, 501, refused(501, `This server has no ${group}`)]);
      }
    }
  },
);

it("answers a ping to anybody", async () => {
  for (const root of ROOTS) {
    const { status, text, headers } = await call(server, `GET ${root}/ping`, {
      headers: { origin: NOBODYS_PAGE },
    });
    expect([status, text, headers.get("content-type")]).toEqual([200, "pong", "text/plain; charset=utf-8"]);
  }
});

it("leaves Einstein Prediction its own, and both are nobody's when they are switched off", async () => {
  expect((await call(server, "GET /api/v1/imports/x", { key: KEY })).body).toEqual({
    status: 404,
    error: "Not Found",
  });
  await using bare = await startServer({ settings: { DIALECTS: "einstein-prediction", CATALOGUE: "0" } });
  for (const path of ["/api/v1/ping", "/ping", "/prediction/x", "/api/v1/nothing", "/tools"]) {
    expect(await call(bare, `GET ${path}`)).toMatchObject({
      status: 404,
      body: { error: { code: "not_found" } },
    });
  }
  expect((await call(bare, "GET /api/v1/imports/x")).body).toEqual({ status: 404, error: "Not Found" });
});
