/** Which of the conformance suite's complaints are counted. */
import { expect, it } from "vitest";
import { sortFailures } from "../../bench/conformance/failures.ts";

const OK_IN_WORDS = "\ttrailers include a non-empty 'grpc-message' value with zero/okay 'grpc-status'";
const printed = (...failures: readonly (readonly string[])[]): string =>
  [...failures.flat(), "", "Total cases: 9", `${9 - failures.length} passed, ${failures.length} failed`].join(
    "\n",
  );

it("counts none where none failed", () => {
  expect(sortFailures(printed())).toEqual({ ours: [], known: new Map() });
});

it("leaves out a case whose only complaint is known, and counts it", () => {
  const { ours, known } = sortFailures(
    printed(["FAILED: Basic/a:", OK_IN_WORDS], ["FAILED: Basic/b:", OK_IN_WORDS]),
  );
  expect(ours).toEqual([]);
  expect([...known.values()]).toEqual([2]);
});

it("has a case with another complaint beside it among ours, as it was printed", () => {
  const lines = ["FAILED: Basic/a:", OK_IN_WORDS, "\t; expecting an error but received none"];
  expect(sortFailures(printed(lines, ["FAILED: Basic/b:", OK_IN_WORDS])).ours).toEqual([
    expect.stringMatching(/^FAILED: Basic\/a:\n.*expecting an error but received none/s),
  ]);
});

it("has one without any complaint that it can read among ours", () => {
  expect(sortFailures(printed(["FAILED: Basic/a:"])).ours).toHaveLength(1);
});

it("keeps the traffic of a failure, and does not take it for complaints", () => {
  const traced = ["FAILED: Basic/a:", OK_IN_WORDS, "---- HTTP Trace ----", " request>  POST /x", "----"];
  expect(sortFailures(printed(traced)).known.size).toBe(1);
  const bad = ["FAILED: Basic/a:", "\twrong code", "---- HTTP Trace ----", " request>  POST /x", "----"];
  expect(sortFailures(printed(bad)).ours[0]).toContain("POST /x");
});
