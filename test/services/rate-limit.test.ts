import { describe, expect, test } from "vitest";
import { createRateLimiter } from "../../src/services/rate-limit.ts";

/** A limiter whose clock the test sets, in milliseconds from a whole second on. */
function limiterOf(perSecond: number | undefined) {
  const clock = { ms: 0 };
  const limiter = createRateLimiter({ perSecond, now: () => 1_700_000_000_000 + clock.ms });
  return { clock, ...limiter };
}

describe("the rate limit", () => {
  test("lets one second's worth through at once and refuses the next", () => {
    const { take } = limiterOf(5);
    for (const remaining of [4, 3, 2, 1, 0]) expect(take("a")).toMatchObject({ limit: 5, remaining });
    expect(() => take("a")).toThrowError(
      expect.objectContaining({ code: "resource_exhausted", retryAfterMs: 200 }),
    );
  });

  test("gives one back exactly when it said, not a millisecond earlier", () => {
    const { clock, take } = limiterOf(5);
    for (let i = 0; i < 5; i += 1) take("a");
    clock.ms = 199;
    expect(() => take("a")).toThrowError(expect.objectContaining({ retryAfterMs: 1 }));
    clock.ms = 200;
    expect(take("a")).toMatchObject({ remaining: 0 });
    expect(() => take("a")).toThrowError(expect.objectContaining({ retryAfterMs: 200 }));
  });

  test("a refusal costs nothing, and saving up ends at one second's worth", () => {
    const { clock, take } = limiterOf(2);
    take("a");
    take("a");
    for (let i = 0; i < 50; i += 1) expect(() => take("a")).toThrow();
    clock.ms = 60_000;
    expect(take("a")).toMatchObject({ remaining: 1 });
    expect(take("a")).toMatchObject({ remaining: 0 });
    expect(() => take("a")).toThrow();
  });

  test("principals do not share it", () => {
    const { take, state } = limiterOf(1);
    take("a");
    expect(() => take("a")).toThrow();
    expect(take("b")).toMatchObject({ remaining: 0 });
    expect(state("c")).toMatchObject({ remaining: 1 });
  });

  test("says when it is whole again, and looking costs nothing", () => {
    const { clock, take, state } = limiterOf(10);
    expect(state("a")).toEqual({ limit: 10, remaining: 10, resetAt: 1_700_000_000 });
    take("a");
    expect(state("a")).toEqual({ limit: 10, remaining: 9, resetAt: 1_700_000_001 });
    clock.ms = 950;
    for (let i = 0; i < 10; i += 1) take("a");
    expect(state("a")).toEqual({ limit: 10, remaining: 0, resetAt: 1_700_000_002 });
  });

  test("a clock that is set back takes nothing away", () => {
    const { clock, take } = limiterOf(2);
    clock.ms = 10_000;
    take("a");
    clock.ms = 0;
    expect(take("a")).toMatchObject({ remaining: 0 });
    expect(() => take("a")).toThrow();
    clock.ms = 500;
    expect(take("a")).toMatchObject({ remaining: 0 });
  });

  test("forgets principals that are at rest, and remembers the ones that are not", () => {
    const { clock, take } = limiterOf(1);
    for (let i = 0; i < 1000; i += 1) take(`early ${i}`);
    clock.ms = 999;
    expect(() => take("early 0")).toThrow();
    clock.ms = 1000;
    // Each call drops two buckets; were a full one dropped too early, one of these would be let through twice.
    for (let i = 0; i < 1000; i += 1) take(`early ${i}`);
    for (let i = 0; i < 1000; i += 1) expect(() => take(`early ${i}`)).toThrow();
  });

  test("off: no limit and no state", () => {
    const { take, state } = limiterOf(undefined);
    for (let i = 0; i < 1000; i += 1) expect(take("a")).toBeUndefined();
    expect(state("a")).toBeUndefined();
  });
});
