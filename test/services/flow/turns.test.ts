import { expect, test } from "vitest";
import { Turns } from "../../../src/services/flow/turns.ts";

const never = new AbortController().signal;

/** Work that ends when it is told to. */
function held() {
  const { promise, resolve } = Promise.withResolvers<void>();
  const began = Promise.withResolvers<void>();
  return {
    work: () => {
      began.resolve();
      return promise;
    },
    end: resolve,
    began: began.promise,
  };
}

test("so many at once, in the order of arrival, and one that fails makes room as well", async () => {
  const turns = new Turns({ atOnce: 2, waiting: 10, what: "things" });
  const [a, b] = [held(), held()];
  const order: string[] = [];
  const first = turns.take(undefined, never, a.work);
  const second = turns.take(undefined, never, b.work);
  const third = turns.take(undefined, never, async () => order.push("third"));
  const fourth = turns.take(undefined, never, async () => order.push("fourth"));
  await Promise.all([a.began, b.began]);
  expect(order).toEqual([]);
  a.end();
  await Promise.all([first, third, fourth]);
  expect(order).toEqual(["third", "fourth"]);
  await expect(turns.take(undefined, never, () => Promise.reject(new Error("failed")))).rejects.toThrow(
    "failed",
  );
  b.end();
  await second;
  expect(await turns.take(undefined, never, async () => "again")).toBe("again");
});

test("what belongs together goes one at a time, and does not hold up the rest", async () => {
  const turns = new Turns({ atOnce: 2, waiting: 10, what: "things" });
  const a = held();
  const first = turns.take("x", never, a.work);
  const order: string[] = [];
  const second = turns.take("x", never, async () => order.push("x"));
  await turns.take("y", never, async () => order.push("y"));
  expect(order).toEqual(["y"]);
  a.end();
  await Promise.all([first, second]);
  expect(order).toEqual(["y", "x"]);
});

test("more than may wait are refused, and who goes away makes room", async () => {
  const turns = new Turns({ atOnce: 1, waiting: 1, what: "things" });
  const a = held();
  const first = turns.take(undefined, never, a.work);
  const leaving = new AbortController();
  const second = turns.take(undefined, leaving.signal, async () => "never");
  await expect(turns.take(undefined, never, async () => "refused")).rejects.toMatchObject({
    code: "resource_exhausted",
    message: "too many things are waiting; try again later",
  });
  leaving.abort();
  await expect(second).rejects.toMatchObject({ code: "canceled" });
  const third = turns.take(undefined, never, async () => "third");
  a.end();
  await first;
  expect(await third).toBe("third");
  await expect(turns.take(undefined, AbortSignal.abort(), async () => "never")).rejects.toMatchObject({
    code: "canceled",
  });
});

test("of what belongs together fewer may wait, and others still may", async () => {
  const turns = new Turns({ atOnce: 1, waiting: 10, waitingTogether: 2, what: "things" });
  const a = held();
  const all = [turns.take("x", never, a.work)];
  all.push(
    turns.take("x", never, async () => undefined),
    turns.take("x", never, async () => undefined),
  );
  await expect(turns.take("x", never, async () => undefined)).rejects.toMatchObject({
    code: "resource_exhausted",
  });
  all.push(turns.take("y", never, async () => undefined));
  a.end();
  await Promise.all(all);
});
