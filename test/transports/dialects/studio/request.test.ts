/** Lists that come in pages, as this dialect's lists, which come whole or by page and limit. */
import { expect, it } from "vitest";
import { collect, ITEMS_MAX } from "../../../../src/transports/dialects/studio/request.ts";

/** A list of the numbers below `count`, in pages of `size`. */
function listOf(count: number, size: number) {
  let reads = 0;
  const read = async (token: string) => {
    reads++;
    const start = Number(token);
    const items = Array.from({ length: Math.min(size, count - start) }, (_, i) => start + i);
    return { items, nextPageToken: start + size < count ? String(start + size) : "" };
  };
  return { read, reads: () => reads };
}

const numbers = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

it("is whole without a page and a limit", async () => {
  expect(await collect(new URLSearchParams(), listOf(25, 10).read)).toEqual(numbers(0, 25));
  expect(await collect(new URLSearchParams("page=2"), listOf(25, 10).read)).toEqual(numbers(0, 25));
  expect(await collect(new URLSearchParams("page=-1&limit=-1"), listOf(0, 10).read)).toEqual([]);
});

it("is a page of it, and reads no further", async () => {
  const list = listOf(100, 10);
  expect(await collect(new URLSearchParams("page=3&limit=7"), list.read)).toEqual(numbers(14, 21));
  expect(list.reads()).toBe(3);
  expect(await collect(new URLSearchParams("page=15&limit=7"), listOf(100, 10).read)).toEqual(
    numbers(98, 100),
  );
  expect(await collect(new URLSearchParams("page=16&limit=7"), listOf(100, 10).read)).toEqual([]);
});

it("is refused where it is too long, whole or by its limit", async () => {
  expect(await collect(new URLSearchParams(), listOf(ITEMS_MAX, 100).read)).toHaveLength(ITEMS_MAX);
  const tooLong = expect.objectContaining({ status: 400 });
  await expect(collect(new URLSearchParams(), listOf(ITEMS_MAX + 1, 100).read)).rejects.toEqual(tooLong);
  const [most, more] = [ITEMS_MAX, ITEMS_MAX + 1].map(
    (limit) => new URLSearchParams(`page=1&limit=${limit}`),
  );
  expect(await collect(most ?? new URLSearchParams(), listOf(ITEMS_MAX + 1, 100).read)).toHaveLength(
    ITEMS_MAX,
  );
  await expect(collect(more ?? new URLSearchParams(), listOf(1, 100).read)).rejects.toEqual(tooLong);
});
