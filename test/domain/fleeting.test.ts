import { expect, test } from "vitest";
import { FleetingMap, FleetingSet } from "../../src/domain/fleeting.ts";

interface Call {
  readonly id: string;
}
const [a, b]: readonly [Call, Call] = [{ id: "a" }, { id: "b" }];

test("a map holds what was set last, and answers what it lets go", () => {
  const calls = new FleetingMap<string, Call>();
  calls.set("x", a);
  calls.set("x", b);
  calls.set("y", a);
  expect([calls.size, calls.get("x"), calls.get("z")]).toEqual([2, b, undefined]);
  expect(calls.values()).toEqual([b, a]);
  expect([calls.delete("x"), calls.delete("x"), calls.size]).toEqual([b, undefined, 1]);
  calls.clear();
  expect([calls.size, calls.values()]).toEqual([0, []]);
});

test("a set keeps the order of arrival, and a seat is left once", () => {
  const calls = new FleetingSet<Call>();
  const [first, second] = [calls.add(a), calls.add(a)];
  calls.add(b);
  expect(calls.values()).toEqual([a, a, b]);
  calls.leave(first);
  calls.leave(first);
  expect([calls.size, calls.values()]).toEqual([2, [a, b]]);
  // What has left is not held by its seat, wherever that still lies.
  expect([first.value, second.value]).toEqual([undefined, a]);
});

test("what leaves while all are visited was still visited", () => {
  const calls = new FleetingSet<Call>();
  const seats = [a, b].map((call) => calls.add(call));
  const seen: string[] = [];
  for (const { id } of calls.values()) {
    seen.push(id);
    for (const seat of seats) calls.leave(seat);
  }
  expect(seen).toEqual(["a", "b"]);
});
