import { describe, expect, test } from "vitest";
import { CALLERS_MAX, createQuestionRate } from "../../src/services/question-rate.ts";

const LIMIT = { questions: 2, periodMs: 1000, refusal: "" };

/** A limit whose clock the test sets, in milliseconds. */
function rateOf() {
  const clock = { ms: 0 };
  const { take } = createQuestionRate(() => clock.ms);
  return { clock, take };
}

describe("a flow's rate limit", () => {
  test("lets its questions through and says when the next may come", () => {
    const { clock, take } = rateOf();
    take({ id: "a" }, LIMIT, "1.2.3.4");
    clock.ms = 400;
    take({ id: "a" }, LIMIT, "1.2.3.4");
    expect(() => take({ id: "a" }, LIMIT, "1.2.3.4")).toThrowError(
      expect.objectContaining({ code: "resource_exhausted", retryAfterMs: 600 }),
    );
    clock.ms = 999;
    expect(() => take({ id: "a" }, LIMIT, "1.2.3.4")).toThrowError(
      expect.objectContaining({ retryAfterMs: 1 }),
    );
    clock.ms = 1000;
    take({ id: "a" }, LIMIT, "1.2.3.4");
  });

  test("is each flow's and each address's own, and speaks in the flow's words", () => {
    const { take } = rateOf();
    const one = { ...LIMIT, questions: 1, refusal: "Please wait." };
    take({ id: "a" }, one, "1.2.3.4");
    take({ id: "a" }, one, "1.2.3.5");
    take({ id: "b" }, one, "1.2.3.4");
    expect(() => take({ id: "a" }, one, "1.2.3.4")).toThrowError("Please wait.");
  });

  test.each([
    ["1.2.3.4", "::ffff:1.2.3.4"],
    ["2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"],
    ["2001:db8::1", "2001:0DB8:0:0:1::"],
    ["::1", "::2"],
    [undefined, undefined],
  ])("takes %s and %s for one caller", (first, second) => {
    const { take } = rateOf();
    take({ id: "a" }, { ...LIMIT, questions: 1 }, first);
    expect(() => take({ id: "a" }, { ...LIMIT, questions: 1 }, second)).toThrow();
  });

  test.each([
    ["2001:db8:1:2::1", "2001:db8:1:3::1"],
    ["1.2.3.4", "::1"],
    ["fe80::1", "fe80:0:0:1::1"],
  ])("takes %s and %s for two", (first, second) => {
    const { take } = rateOf();
    take({ id: "a" }, { ...LIMIT, questions: 1 }, first);
    take({ id: "a" }, { ...LIMIT, questions: 1 }, second);
  });

  test(`remembers ${CALLERS_MAX} callers and forgets the oldest of more`, () => {
    const { take } = rateOf();
    const one = { ...LIMIT, questions: 1 };
    for (let i = 0; i < CALLERS_MAX; i += 1) take({ id: "a" }, one, `host ${i}`);
    expect(() => take({ id: "a" }, one, "host 0")).toThrow();
    take({ id: "a" }, one, "one more");
    take({ id: "a" }, one, "host 0");
    expect(() => take({ id: "a" }, one, `host ${CALLERS_MAX - 1}`)).toThrow();
  });
});
