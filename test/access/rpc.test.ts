/**
 * F39 for the operations: every one of them, called well by everybody who may not, over every door, about what is
 * another's and about what nobody has. The two are told in the same words, and nothing has happened afterwards.
 */
import { type DescMethod, fromJson, type JsonValue, type Message, toJson } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { clientOf, DOORS, type Door } from "../harness.ts";
import {
  asIfOf,
  CALLERS,
  type Caller,
  leaked,
  median,
  OTHER_KEY,
  OWNER_KEY,
  openScene,
  type Scene,
  STRANGERS,
} from "./attack.ts";
import { allMethods, nameOf, type Request, RPCS, type RpcRow } from "./rpcs.ts";
import type { Things } from "./things.ts";

const METHODS = allMethods();

interface Told {
  /** `ok`, or the name of a code. */
  readonly code: string;
  /** All of it: messages, or the error with its details and headers. */
  readonly text: string;
}

interface Way {
  readonly method: DescMethod;
  readonly row: RpcRow;
  readonly request: (of: Things) => Request;
}

const WAYS: readonly Way[] = METHODS.flatMap((method) => {
  const row = RPCS[nameOf(method)];
  return row ? row.requests.map((request) => ({ method, row, request })) : [];
});

let scene: Scene;
beforeAll(async () => {
  scene = await openScene();
}, 180_000);
afterAll(() => scene?.[Symbol.asyncDispose]());

/** Headers that differ from one answer to the next, whatever is asked. */
const PASSING = ["date", "content-length"];

function render(error: ConnectError): string {
  const headers = [...error.metadata].filter(([name]) => !PASSING.includes(name)).toSorted();
  const details = error.details.map((detail) =>
    "debug" in detail || "value" in detail ? JSON.stringify(detail) : String(detail),
  );
  return JSON.stringify({ message: error.rawMessage, details, headers });
}

type Call = (message: Message) => Promise<Message> | AsyncIterable<Message>;

async function tell({ method }: Way, door: Door, key: string | undefined, request: Request): Promise<Told> {
  const message = fromJson(method.input, request as JsonValue);
  const client = clientOf(scene.server, door, method.parent, key) as unknown as Record<string, Call>;
  const show = (answer: Message) => JSON.stringify(toJson(method.output, answer));
  try {
    const answer = client[method.localName]?.(message);
    if (answer === undefined) throw new Error(`there is no ${nameOf(method)}`);
    if (answer instanceof Promise) return { code: "ok", text: show(await answer) };
    const texts: string[] = [];
    for await (const one of answer) texts.push(show(one));
    return { code: "ok", text: texts.join("\n") };
  } catch (thrown) {
    if (!(thrown instanceof ConnectError)) throw thrown;
    return { code: Code[thrown.code] ?? "", text: render(thrown) };
  }
}

const named = ({ request }: Way): boolean =>
  JSON.stringify(request(scene.things)) !== JSON.stringify(request(scene.nothing));

/** undefined where it depends on what is asked for. */
function codeFor({ row }: Way, caller: Caller): string | undefined {
  if (row.audience === "anybody") return "Unauthenticated";
  if (caller === "another principal") return undefined;
  const isLetIn = row.hides && !STRANGERS.has(caller);
  return isLetIn ? "ok" : "Unauthenticated";
}

/** These would be our own mistakes. */
const MISTAKES = ["Internal", "Unknown", "Unimplemented", "Unavailable"];

async function complaints(way: Way, door: Door, caller: Caller): Promise<readonly string[]> {
  const { things, nothing, callers } = scene;
  const [asked, askedOfNobody] = [way.request(things), way.request(nothing)];
  const foreign = await tell(way, door, callers[caller], asked);
  const found: string[] = [];
  if (named(way)) {
    const missing = await tell(way, door, callers[caller], askedOfNobody);
    if (missing.code !== foreign.code || asIfOf(things, scene, missing.text) !== foreign.text) {
      found.push(`told apart:\n  ${foreign.code} ${foreign.text}\n  ${missing.code} ${missing.text}`);
    }
  }
  const expected = codeFor(way, caller);
  if (expected !== undefined && foreign.code !== expected) found.push(`${foreign.code}, not ${expected}`);
  if (MISTAKES.includes(foreign.code)) found.push(`${foreign.code} ${foreign.text}`);
  const ids = leaked(things, JSON.stringify(asked), foreign.text);
  if (ids.length > 0) found.push(`tells of ${ids.join(", ")}`);
  return found.map((complaint) => `${nameOf(way.method)} ${JSON.stringify(asked)} ${complaint}`);
}

/** Everything that the owner can see. */
async function seen(): Promise<Readonly<Record<string, string>>> {
  const views: Record<string, string> = {};
  for (const way of WAYS.filter(({ method }) => /^(?:Get|List)/.test(method.name))) {
    const request = way.request(scene.things);
    const { code, text } = await tell(way, "grpc", OWNER_KEY, request);
    views[`${nameOf(way.method)} ${JSON.stringify(request)}`] = `${code} ${text}`;
  }
  return views;
}

test("F39 every operation has a row", () => {
  expect(Object.keys(RPCS).toSorted()).toEqual(METHODS.map(nameOf).toSorted());
});

describe("F39 what is another's reads as what is not there", () => {
  let before: Readonly<Record<string, string>>;
  beforeAll(async () => {
    before = await seen();
  });

  describe.each(DOORS)("over %s", (door) => {
    test.each(CALLERS)("to %s", async (caller) => {
      const found: string[] = [];
      for (const way of WAYS) found.push(...(await complaints(way, door, caller)));
      expect(found).toEqual([]);
    });
  });

  test("and the owner finds everything as it was", async () => {
    expect(await seen()).toEqual(before);
  });
});

interface Timing {
  readonly name: string;
  /** Medians, in milliseconds, of what is another's and of what is not there. */
  readonly foreign: number;
  readonly missing: number;
}

const SAMPLES = 21;

async function measure(way: Way, caller: Caller): Promise<Timing> {
  const requests = [way.request(scene.things), way.request(scene.nothing)] as const;
  const taken = [[], []] as [number[], number[]];
  for (let sample = 0; sample < SAMPLES * 2; sample++) {
    // Each goes first as often as the other.
    const which = ((sample + (sample >> 1)) & 1) as 0 | 1;
    const began = performance.now();
    await tell(way, "connect", scene.callers[caller], requests[which]);
    taken[which].push(performance.now() - began);
  }
  return { name: `${nameOf(way.method)} to ${caller}`, foreign: median(taken[0]), missing: median(taken[1]) };
}

const gap = ({ foreign, missing }: Timing) => Math.abs(foreign - missing);
/** Generous, for machines that do other things as well. */
const isTelling = (timing: Timing) => gap(timing) > 2 + 0.5 * Math.min(timing.foreign, timing.missing);

test("F39 the times of refusals do not tell it either", { timeout: 180_000 }, async () => {
  const timings: Timing[] = [];
  const askable = ["another principal", "another flow's key", "nobody"] as const;
  const cases = WAYS.filter(named).flatMap((way) =>
    // Whoever has no credential of the server's is refused before anything is looked for, but for flows.
    askable.slice(0, way.row.audience === "asker" ? 3 : 1).map((caller) => ({ way, caller })),
  );
  for (const { way, caller } of cases) {
    const first = await measure(way, caller);
    // What the machine did meanwhile does not come again; what the server does differently does.
    timings.push(isTelling(first) ? await measure(way, caller) : first);
  }
  const widest = timings.toSorted((a, b) => gap(b) - gap(a));
  console.log(
    `medians in ms of ${SAMPLES} refusals, another's and nobody's; the widest five of ${widest.length}`,
    ...widest
      .slice(0, 5)
      .map(({ name, foreign, missing }) => `\n  ${name} ${foreign.toFixed(2)} ${missing.toFixed(2)}`),
  );
  expect(widest.filter(isTelling)).toEqual([]);
});

test("F39 a page's token opens the pages of whoever sends it, and nobody else's", async () => {
  const lists = WAYS.filter(({ method }) => method.input.fields.some(({ name }) => name === "page_token"));
  expect(lists.length).toBeGreaterThan(8);
  let tokens = 0;
  for (const way of lists) {
    const page = { ...way.request(scene.things), pageSize: 1 };
    const { text } = await tell(way, "grpc", OWNER_KEY, page);
    const { nextPageToken: pageToken } = JSON.parse(text) as { nextPageToken?: string };
    if (pageToken === undefined) continue;
    tokens++;
    const request = { ...page, pageSize: 50, pageToken };
    const told = await tell(way, "grpc", OTHER_KEY, request);
    expect([nameOf(way.method), ...leaked(scene.things, JSON.stringify(request), told.text)]).toEqual([
      nameOf(way.method),
    ]);
    expect(["ok", "NotFound"]).toContain(told.code);
  }
  expect(tokens).toBeGreaterThan(3);
});

describe("F39 whoever may", () => {
  test("a flow's key opens that flow, for asking alone", async () => {
    const found: string[] = [];
    for (const way of WAYS.filter(({ row }) => row.audience !== "anybody")) {
      const own = await tell(way, "grpc", scene.flowKey, way.request(scene.things));
      const other = await tell(way, "grpc", scene.flowKey, way.request(scene.nothing));
      const mayAsk = way.row.audience === "asker";
      const right =
        (own.code === "ok") === mayAsk && (other.code === "ok") === (mayAsk && way.row.hides === true);
      const isRefused = other.code === "ok" || other.code === "Unauthenticated";
      if (!right || !isRefused) found.push(`${nameOf(way.method)}: ${own.code} ${own.text}, ${other.code}`);
    }
    expect(found).toEqual([]);
  });

  test("the owner gets through with each of these calls", async () => {
    const REFUSALS = [...MISTAKES, "Unauthenticated", "PermissionDenied", "NotFound", "InvalidArgument"];
    const found: string[] = [];
    const order = Object.keys(RPCS);
    const ways = WAYS.filter(({ row }) => row.audience !== "anybody").toSorted(
      (a, b) =>
        Number(a.row.destroys ?? false) - Number(b.row.destroys ?? false) ||
        order.indexOf(nameOf(a.method)) - order.indexOf(nameOf(b.method)),
    );
    for (const way of ways) {
      const { code, text } = await tell(way, "grpc", OWNER_KEY, way.request(scene.things));
      const asOfNothing = await tell(way, "grpc", OWNER_KEY, way.request(scene.nothing));
      const isTold = !named(way) || asIfOf(scene.things, scene, asOfNothing.text) !== text;
      if (!isTold || REFUSALS.includes(code)) found.push(`${nameOf(way.method)}: ${code} ${text}`);
    }
    expect(found).toEqual([]);
  });
});
