/** The checker can fail: it finds what is planted into the database of a real run, and into histories by hand. */
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, test } from "vitest";
import { check, type Expected } from "./checker.ts";
import type { FinalState } from "./final-state.ts";
import type { Event, Seen, Told } from "./history.ts";
import { type Run, run, type Verdict } from "./run.ts";

const found = ({ violations }: Pick<Verdict, "violations">) =>
  [...new Set(violations.map(({ invariant }) => invariant))].sort();

/** Kills the server, does something to the row of a prediction that somebody was told has succeeded, starts it again. */
async function plant(r: Run, sql: string): Promise<string> {
  await r.toldMore(120);
  const settled = () =>
    r.history.events.find((event) => event.kind === "told" && event.seen.status === "succeeded");
  const event = settled();
  if (event?.kind !== "told") throw new Error("nobody was told of a success");
  await r.server.kill();
  const database = new DatabaseSync(join(r.server.dataDir, "auspex.db"));
  expect(database.prepare(sql).run(event.seen.id).changes).toBe(1);
  database.close();
  await r.restart();
  return event.seen.id;
}

describe("in a real run's database", () => {
  const planted = async (sql: string) => {
    let id = "";
    const verdict = await run({
      fault: async (r) => {
        id = await plant(r, sql);
      },
    });
    expect(verdict.violations.every(({ message }) => message.startsWith(id))).toBe(true);
    return found(verdict);
  };

  test("a loss", async () => {
    expect(await planted("delete from prediction where id = ?")).toEqual(["I1"]);
  }, 300_000);

  test("a second settle", async () => {
    const error = `'{"source":"internal","code":"internal","message":"planted"}'`;
    const sql = `update prediction set status = 'failed', output = null, error = ${error} where id = ?`;
    expect(await planted(sql)).toContain("I2");
  }, 300_000);

  test("a skipped revision", async () => {
    const sql = "update prediction set revision = revision + 1 where id = ?";
    expect(await planted(sql)).toContain("I5");
  }, 300_000);
});

const ID = "0190a000-0000-7000-8000-000000000000";
const END: Seen = {
  id: ID,
  status: "succeeded",
  revision: 3,
  attempt: 1,
  values: new Float32Array([1]),
  failure: "",
};
const EXPECTED: Expected = {
  values: [new Float32Array([1]), new Float32Array([2])],
  words: { picture: ["cat"], question: [] },
  memoryMax: 100,
};

function told(began: number, seen: Partial<Seen>, more: Partial<Told> = {}): Told {
  return {
    kind: "told",
    client: "a",
    door: "grpc",
    operation: "get",
    began,
    ended: began + 1,
    seen: { ...END, ...seen },
    input: 0,
    requestId: "",
    stream: undefined,
    afterRevision: undefined,
    ...more,
  };
}

const PENDING = { status: "pending", revision: 1, attempt: 0, values: undefined } as const;
const STARTED = { status: "started", revision: 2, values: undefined } as const;

type Case = [invariant: string, what: string, events: readonly Event[], state?: Partial<FinalState>];

const CASES: readonly Case[] = [
  ["I1", "one that never ends", [told(0, PENDING)], { predictions: new Map([[ID, { ...END, ...STARTED }]]) }],
  ["I2", "two outputs", [told(0, {}), told(2, { values: new Float32Array([1.5]) })]],
  ["I3", "a step back", [told(0, STARTED), told(5, PENDING)]],
  ["I3", "an attempt fewer", [told(0, { ...STARTED, revision: 3, attempt: 2 }), told(5, STARTED)]],
  [
    "I4",
    "one request, two predictions",
    ["1", "2"].map((id) => told(0, { id }, { operation: "create", requestId: "r" })),
  ],
  ["I6", "an end that nobody will be told of", [told(0, {})], { deliveries: new Map([[ID, []]]) }],
  ["I6", "two ids of one event", ["m1", "m2"].map((webhookId) => delivered(webhookId, "succeeded"))],
  ["I6", "an event that is not true", [told(0, {}), delivered("m", "failed")]],
  ["I7", "a revision twice in a stream", [3, 3].map(() => told(0, {}, { operation: "watch", stream: 1 }))],
  [
    "I7",
    "one that was asked to be left out",
    [told(0, {}, { operation: "watch", stream: 1, afterRevision: 3 })],
  ],
  [
    "I7",
    "a stream that ends before its end",
    [told(0, STARTED, { operation: "watch", stream: 1 }), streamEnded()],
  ],
  ["I8", "another's output", [told(0, {}, { input: 1 })]],
  ["I8", "another's label", [{ ...told(0, {}), kind: "answered", about: "picture", input: 0, said: "dog" }]],
  ["I9", "serving without a worker", [probed(0, 0)]],
  ["I9", "refused while serving", [probed(0, 1), refused(20), probed(40, 1)]],
  ["I10", "more memory than there may be", [{ kind: "measured", at: 0, bytes: 101 }]],
];

function delivered(webhookId: string, status: Seen["status"]): Event {
  return { kind: "delivered", at: 0, webhookId, predictionId: ID, status, revision: 3 };
}
function streamEnded(): Event {
  return {
    kind: "stream_ended",
    client: "a",
    door: "grpc",
    began: 0,
    ended: 1,
    id: ID,
    stream: 1,
    afterRevision: undefined,
  };
}
function probed(began: number, workers: number): Event {
  return { kind: "probed", began, ended: began + 1, health: "serving", workers };
}
function refused(began: number): Event {
  return {
    kind: "refused",
    client: "a",
    door: "grpc",
    operation: "create",
    began,
    ended: began + 1,
    code: "unavailable",
    requestId: "",
  };
}

describe("in a history", () => {
  test.each<Case>(CASES)("%s %s", (invariant, _what, events, state = {}) => {
    const final: FinalState = { predictions: knownOf(events), deliveries: new Map(), ...state };
    expect(found({ violations: check(events, final, EXPECTED) })).toContain(invariant);
  });

  test("nothing where nothing is wrong", () => {
    const events = [
      told(0, PENDING, { operation: "create", requestId: "r" }),
      told(2, PENDING, { operation: "create", requestId: "r" }),
      told(4, STARTED, { operation: "watch", stream: 1 }),
      // Answers that overlap may come in either order.
      told(4, PENDING),
      told(6, {}, { operation: "watch", stream: 1 }),
      streamEnded(),
      delivered("m", "succeeded"),
      probed(0, 1),
      refused(20),
      { ...probed(30, 0), health: "not_serving" } as Event,
      { kind: "measured", at: 0, bytes: 100 } as Event,
    ];
    const deliveries = new Map([
      [ID, [{ webhookId: "m", revision: 3, terminal: true, state: "due" as const }]],
    ]);
    expect(check(events, { predictions: new Map([[ID, END]]), deliveries }, EXPECTED)).toEqual([]);
  });
});

function knownOf(events: readonly Event[]): Map<string, Seen> {
  const ids = events.flatMap((event) => (event.kind === "told" ? [event.seen.id] : [ID]));
  return new Map(ids.map((id) => [id, { ...END, id }]));
}
