import { existsSync } from "node:fs";
import { expect, it, vi } from "vitest";
import { childrenOf, residentBytes } from "../processes.ts";
import { startEngine } from "./harness.ts";

const MIB = 1024 ** 2;

it.skipIf(!existsSync("/proc/self/statm"))("an idle worker gives back what it refused", async () => {
  const fixture = await startEngine({ workers: 1 });
  try {
    const resident = () => childrenOf(process.pid).reduce((sum, pid) => sum + residentBytes(pid), 0);
    const refuse = async (bytes: number) => {
      const junk = new Uint8Array(bytes);
      const inspected = fixture.engine.inspect(junk, new AbortController().signal);
      await expect(inspected).rejects.toMatchObject({ code: "invalid_argument" });
    };
    for (let i = 0; i < 4; i++) await refuse(30 * MIB);
    const left = resident();
    // Each came in pieces, which were then joined: 60 MiB. The allocator keeps some of it, for what comes next.
    await vi.waitFor(() => expect(left - resident()).toBeGreaterThan(16 * MIB), {
      timeout: 10_000,
      interval: 200,
    });
  } finally {
    await fixture.stop();
  }
});
