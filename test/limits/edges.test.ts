/** Every limit of requests, on the real server: what is at it is taken, what is one above it is refused by name. */
import { fromJson, type JsonValue, type Message } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ChatflowService } from "../../gen/auspex/v1/chatflow_pb.ts";
import { BadRequestSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { REQUEST_LIMITS, SETTING_LIMITS } from "../../scripts/limit-table.ts";
import { limitsPage } from "../../scripts/limits.ts";
import { sourceConstants } from "../../scripts/source-constants.ts";
import { allMethods, nameOf, type Request } from "../access/rpcs.ts";
import { clientOf, startServer, type TestServer } from "../harness.ts";
import { EDGES, type Edge } from "./edges.ts";

const METHODS = new Map(allMethods().map((method) => [nameOf(method), method]));
const CONSTANTS = sourceConstants();

/** Smaller than by default, so that little has to be sent. */
const SETTINGS: Readonly<Record<string, number>> = {
  WAIT_MAX: 1500,
  MAX_JSON_DEPTH: 12,
  MAX_TENSOR_ELEMENTS: 1000,
  MAX_EXAMPLE_BYTES: 2000,
};
const MAXIMA = new Map([
  ...Object.entries(SETTINGS),
  ...CONSTANTS.map(({ key, value }) => [key, value] as const),
]);

let server: TestServer;
let flow: string;
beforeAll(async () => {
  const { WAIT_MAX, ...plain } = SETTINGS;
  const settings = Object.fromEntries(Object.entries(plain).map(([name, value]) => [name, String(value)]));
  server = await startServer({
    settings: {
      CATALOGUE: "auspex/minilm, auspex/mobilenet-tiny",
      ...settings,
      WAIT_MAX: `${WAIT_MAX}ms`,
      EGRESS_ALLOW: "models.example",
    },
  });
  const { chatflow } = await clientOf(server, "grpc", ChatflowService).createChatflow({
    name: "flow",
    definition: {
      generator: { case: "extractive", value: {} },
      retriever: {},
      overridable: ["systemPrompt", "promptValues"],
    },
  });
  flow = chatflow?.id ?? "";
});
afterAll(() => server?.[Symbol.asyncDispose]());

interface Told {
  /** undefined for a call that was answered. */
  readonly code: Code | undefined;
  /** Those that are complained of. */
  readonly fields: readonly string[];
}

async function send({ rpc }: Edge, request: Request): Promise<Told> {
  const method = METHODS.get(rpc);
  if (!method) throw new Error(`there is no ${rpc}`);
  const client = clientOf(server, "grpc", method.parent) as unknown as Record<
    string,
    (message: Message) => Promise<unknown>
  >;
  try {
    await client[method.localName]?.(fromJson(method.input, request as JsonValue));
    return { code: undefined, fields: [] };
  } catch (thrown) {
    const error = ConnectError.from(thrown);
    const violations = error.findDetails(BadRequestSchema).flatMap(({ fieldViolations }) => fieldViolations);
    return { code: error.code, fields: violations.map(({ field }) => field) };
  }
}

describe("one below its limit is taken, one above it is refused by name", () => {
  test.each(Object.entries(EDGES))("%s", async (key, edge) => {
    const max = MAXIMA.get(key) ?? Number.NaN;
    const at = await send(edge, edge.request(max, flow));
    expect(at.fields).not.toContain(edge.field);
    // What stands beside it may be missing or not fit; it has been looked at, and the limit was no reason.
    expect([Code.Internal, Code.Unknown, Code.Unimplemented]).not.toContain(at.code);
    const above = await send(edge, edge.request(max + (edge.step ?? 1), flow));
    expect(above.code).toBe(Code.InvalidArgument);
    expect(above.fields).toContain(edge.field);
  });
});

describe("no limit is without its edge", () => {
  test("of those that are in the page", () => {
    const byRequest = Object.entries(SETTING_LIMITS).filter(([, { edge }]) => edge.startsWith("one below"));
    const keys = [...Object.keys(REQUEST_LIMITS), ...byRequest.map(([name]) => name)];
    expect(Object.keys(EDGES).toSorted()).toEqual(keys.toSorted());
  });

  test("of settings, each of which names a test that there is", async () => {
    await expect(limitsPage()).resolves.toContain("MAX_PIXELS");
  });

  test("of those in files that check requests", () => {
    const checking = /-checks\.ts$|\/(?:check|validation|chatflow-definition|asked|overrides)\.ts$|^domain\//;
    const missing = CONSTANTS.filter(({ file, key }) => checking.test(file) && !(key in REQUEST_LIMITS));
    expect(missing.map(({ key }) => key)).toEqual([]);
  });
});
