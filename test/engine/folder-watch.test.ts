import { mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { EngineLog } from "../../src/engine/engine.ts";
import { watchFolder } from "../../src/engine/folder-watch.ts";

const SILENT: EngineLog = { info: () => {}, warn: () => {}, error: () => {} };
const HOUR_MS = 3_600_000;

let folder: string;
let stop: (() => void) | undefined;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "auspex-watch-"));
});

afterEach(async () => {
  stop?.();
  await rm(folder, { recursive: true, force: true });
});

describe("watchFolder", () => {
  it("tells of a file that another one has replaced, in a flat folder", async () => {
    await writeFile(join(folder, "a"), "old");
    let looks = 0;
    stop = watchFolder(folder, async () => void looks++, SILENT, { pollMs: HOUR_MS, recursive: false });
    await writeFile(join(tmpdir(), "auspex-aside"), "new");
    await rename(join(tmpdir(), "auspex-aside"), join(folder, "a"));
    await vi.waitFor(() => expect(looks).toBeGreaterThan(0), { timeout: 10_000 });
  });

  it("tells of a file deep below that is written, and of a folder that is moved, without waiting for the poll", async () => {
    await mkdir(join(folder, "bob/a/1"), { recursive: true });
    let looks = 0;
    const look = async () => void looks++;
    stop = watchFolder(folder, look, SILENT, { pollMs: HOUR_MS });
    await writeFile(join(folder, "bob/a/1/auspex.json"), "{}");
    await vi.waitFor(() => expect(looks).toBeGreaterThan(0), { timeout: 10_000 });
    const before = looks;
    await rename(join(folder, "bob/a/1"), join(folder, "bob/a/2"));
    await vi.waitFor(() => expect(looks).toBeGreaterThan(before), { timeout: 10_000 });
  });

  it("polls a folder that cannot be watched", async () => {
    let looks = 0;
    stop = watchFolder(join(folder, "missing"), async () => void looks++, SILENT, { pollMs: 5 });
    await vi.waitFor(() => expect(looks).toBeGreaterThan(2), { timeout: 10_000 });
  });

  it("looks once at a time, and again for what changed during a look", async () => {
    let running = 0;
    let most = 0;
    let looks = 0;
    const gate = Promise.withResolvers<void>();
    const look = async () => {
      most = Math.max(most, ++running);
      if (++looks === 1) await gate.promise;
      running--;
    };
    stop = watchFolder(folder, look, SILENT, { pollMs: HOUR_MS });
    await writeFile(join(folder, "a"), "");
    await vi.waitFor(() => expect(looks).toBe(1), { timeout: 10_000 });
    await writeFile(join(folder, "b"), "");
    gate.resolve();
    await vi.waitFor(() => expect(looks).toBeGreaterThan(1), { timeout: 10_000 });
    expect(most).toBe(1);
  });
});
