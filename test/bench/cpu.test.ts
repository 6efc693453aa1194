/** Whose CPU time is counted as whose. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import { cpuTime } from "../../bench/cpu.ts";

const BUSY = "const until = performance.now() + 300; while (performance.now() < until);";

test.runIf(existsSync("/proc/self/stat"))("a child that has ended counts among the children", () => {
  const before = cpuTime(process.pid);
  spawnSync(process.execPath, ["-e", BUSY]);
  const after = cpuTime(process.pid);
  // Beside other work it gets less than the whole of a core.
  expect((after?.children ?? 0) - (before?.children ?? 0)).toBeGreaterThan(20_000);
});

test("a process that is not there has no time", () => {
  expect(cpuTime(2 ** 30)).toBeUndefined();
});
