/**
 * I10 and row F20 for those whom nobody vouches for: on a server with keys, who may not ask a chatflow gets to send nothing
 * large, over any door, and holds nothing of what others need.
 */
import { connect } from "node:net";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { compressionGzip, createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ChatflowService } from "../../gen/auspex/v1/chatflow_pb.ts";
import { clientOf, DOORS, type Door, startServer, type TestServer, until } from "../harness.ts";
import { FLAG, FRAME, frame, grpcHeaders, openHttp2, uint32 } from "../http2-frames.ts";

const MIB = 1024 ** 2;
const BODY_MAX = 8 * MIB;
const KEY = "a-key-of-the-creator-of-flows";
/** More than anybody may send. */
const LARGE = new TextEncoder().encode("Pandas eat bamboo. ".repeat(8_000));
const UNKNOWN = "01900000-0000-7000-8000-000000000000";

let server: TestServer;
let flows: Readonly<Record<"keyed" | "open", string>>;
let flowKey: string;
beforeAll(async () => {
  server = await startServer({
    settings: {
      CATALOGUE: "off",
      API_KEYS: `creator:${KEY}`,
      MAX_BODY_BYTES: String(BODY_MAX),
      MAX_BYTES_IN_FLIGHT: String(4 * BODY_MAX),
    },
  });
  const creator = clientOf(server, "grpc", ChatflowService, KEY);
  const make = async (name: string, isPublic: boolean): Promise<string> => {
    const generator = { case: "extractive", value: {} } as const;
    const { chatflow } = await creator.createChatflow({ name, definition: { public: isPublic, generator } });
    return chatflow?.id ?? "";
  };
  flows = { keyed: await make("keyed", false), open: await make("open", true) };
  flowKey = (await creator.createChatflowKey({ chatflowId: flows.keyed })).secret;
});
afterAll(() => server?.[Symbol.asyncDispose]());

const question = (content: Uint8Array<ArrayBuffer>) => ({
  text: "What do pandas eat?",
  uploads: [{ name: "pandas.txt", source: { case: "content", value: content } as const }],
});

/** One call of each method for askers that takes uploads. */
const CALLS = {
  createAnswer: (door: Door, chatflowId: string, content: Uint8Array<ArrayBuffer>, key?: string) =>
    clientOf(server, door, ChatflowService, key).createAnswer({ chatflowId, question: question(content) }),
  streamAnswer: async (door: Door, chatflowId: string, content: Uint8Array<ArrayBuffer>, key?: string) => {
    const request = { chatflowId, question: question(content) };
    for await (const _ of clientOf(server, door, ChatflowService, key).streamAnswer(request));
  },
  createAttachments: (door: Door, chatflowId: string, content: Uint8Array<ArrayBuffer>, key?: string) =>
    clientOf(server, door, ChatflowService, key).createAttachments({
      chatflowId,
      chatId: "chat",
      documents: [{ name: "pandas.txt", content }],
    }),
} as const;

const codeOf = (thrown: unknown) => ConnectError.from(thrown).code;
const cases = DOORS.flatMap((door) =>
  Object.keys(CALLS).map((call) => [door, call as keyof typeof CALLS] as const),
);

test.each(cases)(
  "F20 I10 %s %s: without a credential 64 KiB, with one MAX_BODY_BYTES",
  async (door, name) => {
    const call = CALLS[name];
    for (const id of [flows.keyed, flows.open, UNKNOWN]) {
      expect(await call(door, id, LARGE).then(() => undefined, codeOf)).toBe(Code.ResourceExhausted);
    }
    const small = LARGE.slice(0, 60 * 1024);
    expect(await call(door, flows.keyed, small).then(() => undefined, codeOf)).toBe(Code.Unauthenticated);
    await call(door, flows.open, small);
    await call(door, flows.keyed, LARGE, flowKey);
    await call(door, flows.open, LARGE, flowKey);
  },
);

test.each(["grpc", "connect"] as const)("F21 I10 %s: 64 KiB are counted unpacked", async (door) => {
  const options = { sendCompression: compressionGzip, compressMinBytes: 1 };
  const transport =
    door === "grpc"
      ? createGrpcTransport({ baseUrl: server.grpcUrl, ...options })
      : createConnectTransport({ baseUrl: server.url, httpVersion: "1.1", ...options });
  const packed = createClient(ChatflowService, transport);
  const ask = (content: Uint8Array<ArrayBuffer>) =>
    packed.createAnswer({ chatflowId: flows.open, question: question(content) });
  await ask(LARGE.slice(0, 60 * 1024));
  expect(await ask(LARGE).then(() => undefined, codeOf)).toBe(Code.ResourceExhausted);
});

/** What is answered to a head that promises so many bytes, of which none is sent. */
async function answerToHead(path: string, length: number, headers = ""): Promise<string> {
  const socket = connect(Number(new URL(server.url).port), "127.0.0.1");
  let answer = "";
  socket.setEncoding("latin1").on("data", (text) => {
    answer += text;
  });
  socket.write(
    `POST ${path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n${headers}content-length: ${length}\r\n\r\n`,
  );
  try {
    return await until(() => /\r\n\r\n.*\}$/s.test(answer) && answer);
  } finally {
    socket.destroy();
  }
}

test.each(["/prediction/:id", "/attachments/:id/chat"])(
  "F20 I10 Studio %s: who may not ask a flow is refused by the head, and learns nothing of it",
  async (path) => {
    const answers = await Promise.all(
      [flows.keyed, UNKNOWN].flatMap((id) =>
        ["/api/v1", ""].map((root) => answerToHead(root + path.replace(":id", id), BODY_MAX)),
      ),
    );
    const told = answers.map((answer) => answer.replace(/\r\ndate: [^\r]*/i, ""));
    for (const answer of told) expect(answer).toMatch(/^HTTP\/1\.1 401 .*"Unauthorized Access"/s);
    expect(new Set(told).size).toBe(1);
    const key = `authorization: Bearer ${KEY}\r\n`;
    const unknown = await answerToHead(`/api/v1${path.replace(":id", UNKNOWN)}`, BODY_MAX, key);
    expect(unknown).toMatch(/^HTTP\/1\.1 404 /);
  },
);

test.each(["/feedback", "/leads", "/prediction"])(
  "F20 I10 Studio %s: where the body says which flow, it is small",
  async (path) => {
    for (const key of ["", `authorization: Bearer ${KEY}\r\n`])
      expect(await answerToHead(`/api/v1${path}`, 64 * 1024 + 1, key)).toMatch(/^HTTP\/1\.1 413 /);
  },
);

test("F20 I10 Studio: anybody may send a large body to a flow that is public", async () => {
  const data = `data:text/plain;base64,${Buffer.from(LARGE).toString("base64")}`;
  const uploads = [{ type: "file:full", name: "pandas.txt", mime: "text/plain", data }];
  const response = await fetch(`${server.url}/api/v1/prediction/${flows.open}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ question: "What do pandas eat?", uploads }),
  });
  expect(response.status).toBe(200);
  expect(await response.json()).toMatchObject({ text: expect.stringContaining("bamboo") });
});

test("F20 I10 gRPC: what was refused holds nothing, also where its sender leaves the call open", async () => {
  const client = await openHttp2(Number(new URL(server.grpcUrl).port));
  const head = Buffer.concat([Buffer.from([0]), uint32(BODY_MAX)]);
  const CALLS_OPEN = 24;
  for (let i = 0; i < CALLS_OPEN; i++) {
    await client.send(
      Buffer.concat([
        frame(
          FRAME.headers,
          FLAG.endHeaders,
          2 * i + 1,
          grpcHeaders("/auspex.v1.ChatflowService/CreateAnswer"),
        ),
        frame(FRAME.data, 0, 2 * i + 1, head),
      ]),
    );
    await until(() => client.frames.filter(({ type }) => type === FRAME.headers).length > i);
  }
  const most = new Uint8Array(BODY_MAX - 1000);
  const asked = CALLS.createAttachments("grpc", flows.keyed, most, flowKey);
  // It has been read, and is no document.
  expect(await asked.then(() => undefined, codeOf)).toBe(Code.InvalidArgument);
  client.socket.destroy();
});
