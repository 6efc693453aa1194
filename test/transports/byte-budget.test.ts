/** The budget of I10, at its edges. */
import { expect, test } from "vitest";
import { AuspexError } from "../../src/domain/error.ts";
import { createByteBudget, PIECE_BYTES, SMALL_BODY_BYTES } from "../../src/transports/byte-budget.ts";

const MAX = 16 * SMALL_BODY_BYTES;
const FOR_LARGE = 14 * SMALL_BODY_BYTES;

function refusalOf(work: () => void): AuspexError {
  try {
    work();
  } catch (thrown) {
    if (thrown instanceof AuspexError) return thrown;
  }
  throw new Error("nothing was refused");
}

test("large bodies get seven eighths to the byte, and are told when to come back", () => {
  const budget = createByteBudget(MAX);
  const share = budget.open();
  share.take(FOR_LARGE);
  const refused = refusalOf(() => share.take(1));
  expect(refused).toMatchObject({ code: "resource_exhausted", retryAfterMs: 1000 });
  expect(budget.taken).toBe(FOR_LARGE);
});

test("the rest is for small ones, up to the last byte", () => {
  const budget = createByteBudget(MAX);
  budget.open().take(FOR_LARGE);
  const small = budget.open();
  small.take(SMALL_BODY_BYTES);
  // One byte more, and it is a large one.
  expect(refusalOf(() => small.take(1)).code).toBe("resource_exhausted");
  budget.open().take(SMALL_BODY_BYTES);
  expect(budget.taken).toBe(MAX);
  expect(refusalOf(() => budget.open().take(1)).code).toBe("resource_exhausted");
});

test("a short piece is counted as what it costs, a longer one as it is", () => {
  const budget = createByteBudget(MAX);
  const share = budget.open();
  for (const [bytes, taken] of [
    [1, PIECE_BYTES],
    [PIECE_BYTES - 1, PIECE_BYTES],
    [PIECE_BYTES, PIECE_BYTES],
    [PIECE_BYTES + 1, PIECE_BYTES + 1],
  ] as const) {
    const before = budget.taken;
    share.take(bytes);
    share.takePiece(bytes);
    expect(budget.taken - before).toBe(taken);
  }
  share.close();
  expect(budget.taken).toBe(0);
});

test("what is given back can be taken again, once", () => {
  const budget = createByteBudget(MAX);
  const share = budget.open();
  share.take(1000);
  share.take(500);
  share.close();
  share.close();
  expect(budget.taken).toBe(0);
  // A body that still arrives after its request was answered is thrown away, not kept.
  share.take(1000);
  expect(budget.taken).toBe(0);
});
