import { join } from "node:path";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** The faults take longest, and wait much: begun last, they would be what all else is waiting for at the end. */
class FaultsFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const isFault = ({ moduleId }: TestSpecification) => /\/test\/(?:reliability|history)\//.test(moduleId);
    const sorted = await super.sort(files);
    return [...sorted.filter(isFault), ...sorted.filter((file) => !isFault(file))];
  }
}

// Test processes and all that they start load the same sources hundreds of times: compiled ones are kept, as `src/main.ts`
// keeps them for servers. A third of the time of tests that open a store is saved by that.
process.env.NODE_COMPILE_CACHE ??= join(import.meta.dirname, "node_modules", ".cache", "vitest");

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // Tests start real servers with worker processes, and wait for them much of the time: two cores carry three such
    // files side by side.
    pool: "forks",
    maxWorkers: 3,
    sequence: { sequencer: FaultsFirst },
    // Some tests call ONNX Runtime by themselves, and nobody is to be told of that.
    env: { ORT_DISABLE_TELEMETRY: "1" },
    // Only for what hangs. The longest ones take 20 s on an idle machine, and more than 50 s where others take a core.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // A condition that a poll waits for is bounded by its test, as all else is: a second, which is the default, passes on
    // a loaded machine without anything being wrong.
    expect: { poll: { timeout: 30_000 } },
  },
});
