/**
 * F39 for the dialects: every route at every place where it is mounted, called well by everybody who may not, about
 * what is another's and about what nobody has. The two are answered alike, by status, headers and body, and nothing
 * has happened afterwards.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  asIfOf,
  CALLERS,
  type Caller,
  leaked,
  OWNER_KEY,
  openScene,
  type Scene,
  STRANGERS,
} from "./attack.ts";
import { ROUTE_ROWS, type RouteRow, type Sent } from "./route-rows.ts";
import { allRoutes, type MountedRoute } from "./routes.ts";
import type { Things } from "./things.ts";

const MOUNTED = await allRoutes();

/** Studio answers a path whose id is missing with 412, whoever asks: a route of its own, which names nothing. */
const isIncomplete = ({ name }: MountedRoute): boolean =>
  name.startsWith("studio ") &&
  !(name in ROUTE_ROWS) &&
  Object.keys(ROUTE_ROWS).some((other) => other.startsWith(`${name}/:`));

interface Way {
  readonly route: MountedRoute;
  readonly row: RouteRow;
  readonly sent: (of: Things) => Sent;
}

const WAYS: readonly Way[] = MOUNTED.flatMap((route) => {
  const row = ROUTE_ROWS[route.name];
  return row ? row.calls.map((sent) => ({ route, row, sent })) : [];
});

interface Told {
  readonly status: number;
  /** Headers and body. */
  readonly text: string;
}

let scene: Scene;
beforeAll(async () => {
  scene = await openScene();
}, 180_000);
afterAll(() => scene?.[Symbol.asyncDispose]());

/** Headers that differ from one answer to the next, whatever is asked. */
const PASSING = new Set([
  ...["date", "content-length", "x-request-id", "x-runtime", "x-prediction-id"],
  ...["x-ratelimit-remaining", "x-ratelimit-reset"],
]);

function bodyOf({ json, form }: Sent): string | FormData | undefined {
  if (!form) return json === undefined ? undefined : JSON.stringify(json);
  const data = new FormData();
  for (const [name, value] of Object.entries(form)) {
    if (typeof value === "string") data.append(name, value);
    else data.append(name, new Blob([value]), name === "files" ? "more.txt" : "a.png");
  }
  return data;
}

const pathOf = ({ path }: Pick<MountedRoute, "path">, { params = {}, query = {} }: Sent): string => {
  const filled = path
    .replaceAll(/:(\w+)/g, (_, name: string) => encodeURIComponent(params[name] ?? ""))
    .replace("*", "anything");
  const search = new URLSearchParams(query).toString();
  return search === "" ? filled : `${filled}?${search}`;
};

async function tell(route: MountedRoute, key: string | undefined, sent: Sent): Promise<Told> {
  const body = bodyOf(sent);
  const response = await fetch(`${scene.server.url}${pathOf(route, sent)}`, {
    method: route.method,
    redirect: "manual",
    headers: {
      ...(key !== undefined && { authorization: `Bearer ${key}` }),
      ...(sent.json !== undefined && { "content-type": "application/json" }),
    },
    ...(body !== undefined && { body }),
  });
  const headers = [...response.headers].filter(([name]) => !PASSING.has(name));
  return { status: response.status, text: `${JSON.stringify(headers)} ${await response.text()}` };
}

const described = (sent: Sent) =>
  JSON.stringify({ ...sent.params, ...sent.query, ...{ json: sent.json, form: sent.form } });
const named = ({ sent }: Way) => described(sent(scene.things)) !== described(sent(scene.nothing));

/** Ids and times of what the call itself has made, and ids that are made of the words that it was sent (version 8). */
const ownOf = (text: string): string =>
  text
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+(?:Z|\+\d+)/g, "TIME")
    .replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-([78])[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}/g, "ID of version $1");

/** undefined where it depends on what is asked for. */
function statusFor({ row }: Way, caller: Caller): number | undefined {
  if (row.audience === "anybody" || caller === "another principal") return undefined;
  return row.hides && !STRANGERS.has(caller) ? 200 : 401;
}

async function complaints(way: Way, caller: Caller): Promise<readonly string[]> {
  const { things, nothing, callers } = scene;
  const asked = way.sent(things);
  const foreign = await tell(way.route, callers[caller], asked);
  const found: string[] = [];
  if (named(way)) {
    const missing = await tell(way.route, callers[caller], way.sent(nothing));
    const same = ownOf(asIfOf(things, scene, missing.text)) === ownOf(foreign.text);
    if (!same || missing.status !== foreign.status) {
      found.push(`told apart:\n  ${foreign.status} ${foreign.text}\n  ${missing.status} ${missing.text}`);
    }
  }
  const expected = statusFor(way, caller);
  if (expected !== undefined && foreign.status !== expected) found.push(`${foreign.status}, not ${expected}`);
  if (foreign.status >= 500 && foreign.status !== 501) found.push(`${foreign.status} ${foreign.text}`);
  const ids = leaked(things, pathOf(way.route, asked) + described(asked), foreign.text);
  if (ids.length > 0) found.push(`tells of ${ids.join(", ")}`);
  return found.map((complaint) => `${way.route.method} ${pathOf(way.route, asked)} ${complaint}`);
}

/** Everything that the owner can see. */
async function seen(): Promise<Readonly<Record<string, string>>> {
  const views: Record<string, string> = {};
  for (const { route, sent } of WAYS.filter((way) => way.route.method === "GET")) {
    const { status, text } = await tell(route, OWNER_KEY, sent(scene.things));
    // Links to pictures are good from now on.
    views[pathOf(route, sent(scene.things))] = `${status} ${text.replaceAll(/exp=\d+&sig=[\w-]+/g, "")}`;
  }
  return views;
}

test("F39 every route has a row", () => {
  const names = new Set(MOUNTED.filter((route) => !isIncomplete(route)).map(({ name }) => name));
  expect([...names].toSorted()).toEqual(Object.keys(ROUTE_ROWS).toSorted());
});

describe("F39 what is another's is answered as what is not there", () => {
  let before: Readonly<Record<string, string>>;
  beforeAll(async () => {
    before = await seen();
  });

  test.each(CALLERS)("to %s", async (caller) => {
    const found: string[] = [];
    for (const way of WAYS) found.push(...(await complaints(way, caller)));
    expect(found).toEqual([]);
  });

  test("and the owner finds everything as it was", async () => {
    expect(await seen()).toEqual(before);
  });
});

test("F39 a path without its id says so, whoever asks", async () => {
  const incomplete = MOUNTED.filter(isIncomplete);
  expect(incomplete.length).toBeGreaterThan(20);
  for (const route of incomplete) {
    for (const caller of CALLERS) {
      const { status } = await tell(route, scene.callers[caller], {});
      expect([route.path, caller, status]).toEqual([route.path, caller, 412]);
    }
  }
});

describe("F39 whoever may", () => {
  test("a flow's key opens that flow, for asking alone", async () => {
    const found: string[] = [];
    for (const way of WAYS.filter(({ row }) => row.audience !== "anybody")) {
      const own = await tell(way.route, scene.flowKey, way.sent(scene.things));
      const other = await tell(way.route, scene.flowKey, way.sent(scene.nothing));
      const statuses = [own.status === 401, other.status === 401];
      const mayAsk = way.row.audience === "asker";
      if (statuses.join() !== [!mayAsk, !(mayAsk && way.row.hides)].join())
        found.push(`${way.route.method} ${way.route.path} ${own.status} ${own.text} ${other.status}`);
    }
    expect(found).toEqual([]);
  });

  test("the owner gets through with each of these calls", async () => {
    const found: string[] = [];
    const order = Object.keys(ROUTE_ROWS);
    const ways = WAYS.filter(({ row, route }) => {
      // What is gone is gone at every place.
      const isFirst = MOUNTED.find(({ name }) => name === route.name) === route;
      return row.audience !== "anybody" && (isFirst || !row.destroys);
    }).toSorted(
      (a, b) =>
        Number(a.row.destroys ?? false) - Number(b.row.destroys ?? false) ||
        order.indexOf(a.route.name) - order.indexOf(b.route.name),
    );
    for (const way of ways) {
      const { status, text } = await tell(way.route, OWNER_KEY, way.sent(scene.things));
      const asOfNothing = await tell(way.route, OWNER_KEY, way.sent(scene.nothing));
      const isTold = !named(way) || ownOf(asIfOf(scene.things, scene, asOfNothing.text)) !== ownOf(text);
      if (!isTold || [401, 403, 404, 405, 412, 422, 500].includes(status))
        found.push(`${way.route.method} ${way.route.path} ${status} ${text}`);
    }
    expect(found).toEqual([]);
  });
});
