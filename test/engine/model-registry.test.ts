import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { EngineLog } from "../../src/engine/engine.ts";
import {
  createModelRegistry,
  type FoundVersion,
  type LoadedVersion,
  type RunningModelRegistry,
} from "../../src/engine/model-registry.ts";
import { VERSIONS_SERVED_MAX } from "../../src/engine/model-shelf.ts";
import { loadWeights, modelFiles, writeModel } from "./model-files.ts";

const SILENT: EngineLog = { info: () => {}, warn: () => {}, error: () => {} };
const forever = new AbortController().signal;

let base: string;
let modelsDir: string;
let catalogueDir: string;
let registry: RunningModelRegistry | undefined;
let unloaded: string[];

beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), "auspex-registry-"));
  modelsDir = join(base, "models");
  catalogueDir = join(base, "catalogue");
  unloaded = [];
});

afterEach(async () => {
  await registry?.close();
  registry = undefined;
  await rm(base, { recursive: true, force: true });
});

interface Choices {
  readonly load?: (found: FoundVersion, signal: AbortSignal) => Promise<LoadedVersion>;
  readonly unload?: () => Promise<void>;
  readonly loadTimeoutMs?: number;
  readonly catalogueModels?: ReadonlySet<string>;
  readonly log?: EngineLog;
}

async function start(choices: Choices = {}): Promise<RunningModelRegistry> {
  registry = await createModelRegistry({
    modelsDir,
    catalogueDirs: [catalogueDir],
    load: loadWeights,
    unload: async (owner, name, version) => void unloaded.push(`${owner}/${name}:${version}`),
    loadTimeoutMs: 10_000,
    log: SILENT,
    ...choices,
  });
  return registry;
}

/** `name:version state` of everything listed. */
function states(): string[] {
  return (registry?.list() ?? []).map((v) => `${v.owner}/${v.name}:${v.version} ${v.state.kind}`);
}

function reason(owner: string, name: string, version: number): string {
  const state = registry?.get(owner, name, version)?.state;
  return state?.kind === "failed" ? state.reason : `(${state?.kind})`;
}

/** Something that happens within the registry's poll. */
const eventually = <T>(check: () => T) => vi.waitFor(check, { timeout: 15_000, interval: 20 });

describe("finding", () => {
  it("has every version ready or failed when it resolves, in order", async () => {
    await writeModel(modelsDir, "bob/b", 1, modelFiles(1));
    await writeModel(modelsDir, "bob/b", 10, modelFiles(2));
    await writeModel(modelsDir, "bob/b", 2, { ...modelFiles(3), "auspex.json": Buffer.from("{") });
    await writeModel(modelsDir, "bob/a", 1, modelFiles(4));
    await writeModel(catalogueDir, "auspex/c", 1, modelFiles(5));
    const found = await start();
    expect(states()).toEqual([
      "auspex/c:1 ready",
      "bob/a:1 ready",
      "bob/b:10 ready",
      "bob/b:2 failed",
      "bob/b:1 ready",
    ]);
    expect(found.latest("bob", "b")?.version).toBe(10);
    expect(found.latest("bob", "none")).toBeUndefined();
    expect(found.get("bob", "b", 3)).toBeUndefined();
    expect(reason("bob", "b", 2)).toMatch(/^auspex\.json: is not JSON/);
    expect(found.get("bob", "b", 2)?.manifest).toBeNull();
  });

  it("gives the digest that sha256sum gives, and the time of publishing", async () => {
    const files = modelFiles(1);
    const before = Date.now();
    await writeModel(modelsDir, "bob/a", 1, files);
    const found = (await start()).get("bob", "a", 1);
    const lines = Object.entries(files)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, bytes]) => `${createHash("sha256").update(bytes).digest("hex")}  ${name}\n`);
    expect(found?.digest).toBe(createHash("sha256").update(lines.join("")).digest("hex"));
    expect(Math.abs((found?.createdAt ?? 0) / 1000 - before)).toBeLessThan(5000);
  });

  it("leaves alone what is no version", async () => {
    await writeModel(modelsDir, "bob/a", 1, modelFiles(1));
    for (const path of ["bob/a/v2", "bob/a/02", "bob/a/0", "Bob/a/1", ".hidden/a/1", "bob/a b/1"]) {
      await mkdir(join(modelsDir, path), { recursive: true });
      await writeFile(join(modelsDir, path, "auspex.json"), '{"task":"tensor"}');
    }
    const { "auspex.json": _, ...unfinished } = modelFiles(2);
    await writeModel(modelsDir, "bob/a", 3, unfinished);
    await writeFile(join(modelsDir, "stray"), "");
    await start();
    expect(states()).toEqual(["bob/a:1 ready"]);
  });

  it("starts without any folder, and makes its own", async () => {
    await start();
    expect(states()).toEqual([]);
    expect(await readdir(modelsDir)).toEqual([]);
  });

  it("serves those of the catalogue that are chosen, and no others", async () => {
    for (const name of ["auspex/a", "auspex/b"]) await writeModel(catalogueDir, name, 1, modelFiles(1));
    await writeModel(modelsDir, "local/c", 1, modelFiles(1));
    await start({ catalogueModels: new Set(["auspex/b", "auspex/none"]) });
    expect(states()).toEqual(["auspex/b:1 ready", "local/c:1 ready"]);
  });

  it("lets the models folder win over the catalogue", async () => {
    await writeModel(catalogueDir, "auspex/a", 1, modelFiles(1, { task: "tensor", description: "theirs" }));
    await writeModel(modelsDir, "auspex/a", 1, modelFiles(2, { task: "tensor", description: "ours" }));
    const found = await start();
    expect(states()).toEqual(["auspex/a:1 ready"]);
    expect(found.get("auspex", "a", 1)?.manifest?.description).toBe("ours");
  });

  it("serves a version that is moved into place while it runs", async () => {
    await writeModel(modelsDir, "bob/a", 1, modelFiles(1));
    const found = await start();
    const aside = await writeModel(base, "aside", 1, modelFiles(2));
    await rename(aside, join(modelsDir, "bob/a/2"));
    await eventually(() => expect(found.latest("bob", "a")?.version).toBe(2));
    expect(states()).toEqual(["bob/a:2 ready", "bob/a:1 ready"]);
  });

  it("serves a catalogue version that is pulled while it runs", async () => {
    const found = await start();
    await writeModel(catalogueDir, "auspex/a", 1, modelFiles(1));
    await eventually(() => expect(found.latest("auspex", "a")?.version).toBe(1));
  });

  it("drops a version whose folder vanishes", async () => {
    await writeModel(modelsDir, "bob/a", 1, modelFiles(1));
    const folder = await writeModel(modelsDir, "bob/a", 2, modelFiles(2));
    const found = await start();
    await rm(folder, { recursive: true });
    await eventually(() => expect(states()).toEqual(["bob/a:1 ready"]));
    expect(found.latest("bob", "a")?.version).toBe(1);
    await eventually(() => expect(unloaded).toEqual(["bob/a:2"]));
  });

  it("keeps serving when the whole models folder is away", async () => {
    await writeModel(modelsDir, "bob/a", 1, modelFiles(1));
    await start();
    await rename(modelsDir, join(base, "unmounted"));
    // A version that shows up elsewhere proves that the folders were looked at meanwhile.
    await writeModel(catalogueDir, "auspex/a", 1, modelFiles(2));
    await eventually(() => expect(states()).toEqual(["auspex/a:1 ready", "bob/a:1 ready"]));
    expect(unloaded).toEqual([]);
  });
});

describe("loading", () => {
  it("makes a version latest only after it is loaded", async () => {
    await writeModel(modelsDir, "bob/a", 1, modelFiles(1));
    const gate = Promise.withResolvers<void>();
    const found = await start({
      load: async (version) => {
        if (version.version === 2) await gate.promise;
        return loadWeights(version);
      },
    });
    await writeModel(modelsDir, "bob/a", 2, modelFiles(2));
    await eventually(() => expect(states()).toEqual(["bob/a:2 loading", "bob/a:1 ready"]));
    expect(found.latest("bob", "a")?.version).toBe(1);
    gate.resolve();
    await eventually(() => expect(found.latest("bob", "a")?.version).toBe(2));
  });

  it("marks a version failed that takes too long, frees it, and goes on", async () => {
    await writeModel(modelsDir, "bob/a", 1, modelFiles(1));
    await writeModel(modelsDir, "bob/a", 2, modelFiles(2));
    let signalOfStuck: AbortSignal | undefined;
    await start({
      loadTimeoutMs: 1000,
      load: (version, signal) => {
        if (version.version === 1) return loadWeights(version);
        signalOfStuck = signal;
        return new Promise(() => {});
      },
    });
    expect(states()).toEqual(["bob/a:2 failed", "bob/a:1 ready"]);
    expect(reason("bob", "a", 2)).toBe("took longer than 1000 ms to load");
    expect(signalOfStuck?.aborted).toBe(true);
    expect(unloaded).toEqual(["bob/a:2"]);
  });

  it("loads the newest first, and of each model the newest before any second one", async () => {
    for (const version of [1, 2, 3]) {
      await writeModel(modelsDir, "bob/a", version, modelFiles(version));
      await writeModel(modelsDir, "bob/b", version, modelFiles(version));
    }
    const order: string[] = [];
    await start({
      load: async (version) => {
        order.push(`${version.name}${version.version}`);
        return loadWeights(version);
      },
    });
    expect(order.slice(0, 2).sort()).toEqual(["a3", "b3"]);
    expect(order.toSorted()).toEqual(["a1", "a2", "a3", "b1", "b2", "b3"]);
  });

  it("keeps the newest versions that load in service, and not one more", async () => {
    const count = VERSIONS_SERVED_MAX + 2;
    for (let version = 1; version <= count; version++) {
      const files = modelFiles(version);
      // The newest one is broken, and takes nobody's place.
      if (version === count) files["model.json"] = Buffer.from("{");
      await writeModel(modelsDir, "bob/a", version, files);
    }
    const found = await start();
    const ready = found.list().filter((v) => v.state.kind === "ready");
    expect(ready.map((v) => v.version)).toEqual(
      Array.from({ length: VERSIONS_SERVED_MAX }, (_, i) => count - 1 - i),
    );
    expect(reason("bob", "a", 1)).toMatch(/^not loaded: only the newest 8 versions/);

    const published = await found.publish({
      owner: "bob",
      name: "a",
      files: modelFiles(99),
      signal: forever,
    });
    expect(published.state.kind).toBe("ready");
    await eventually(() => expect(reason("bob", "a", 2)).toMatch(/^not loaded/));
    expect(unloaded).toContain("bob/a:2");

    await found.remove("bob", "a", published.version);
    await eventually(() => expect(found.get("bob", "a", 2)?.state.kind).toBe("ready"));
    expect(found.get("bob", "a", 1)?.state.kind).toBe("failed");
  });

  it("ends a load that runs when it closes", async () => {
    const found = await start({ load: () => new Promise(() => {}) });
    await writeModel(modelsDir, "bob/a", 1, modelFiles(1));
    await eventually(() => expect(states()).toEqual(["bob/a:1 loading"]));
    await found.close();
  });

  it("tells a waiting publisher that it closes", async () => {
    const found = await start({ load: () => new Promise(() => {}) });
    const publishing = found.publish({ owner: "bob", name: "a", files: modelFiles(1), signal: forever });
    const refused = expect(publishing).rejects.toMatchObject({ code: "unavailable" });
    await eventually(() => expect(states()).toEqual(["bob/a:1 loading"]));
    await found.close();
    await refused;
  });
});

describe("F29 a broken new version fails with its reason, and the old one keeps serving", () => {
  /** Breaks a folder of valid files; the good version 1 serves beside it. */
  async function publishBroken(breakIt: (files: Record<string, Buffer>) => void, choices: Choices = {}) {
    await writeModel(modelsDir, "bob/a", 1, modelFiles(1));
    const found = await start(choices);
    const files = modelFiles(2);
    const aside = await writeModel(base, "aside", 1, withChecksums(files));
    breakIt(files);
    for (const name of await readdir(aside)) {
      const bytes = files[name];
      if (!bytes) await rm(join(aside, name));
      else if (name !== "auspex.json") await writeFile(join(aside, name), bytes);
    }
    await rename(aside, join(modelsDir, "bob/a/2"));
    const seen = new Set<string>();
    await eventually(() => {
      const version = found.get("bob", "a", 2);
      if (version) seen.add(version.state.kind);
      expect(found.latest("bob", "a")?.version).toBe(1);
      expect(version?.state.kind).toBe("failed");
    });
    expect(seen).not.toContain("ready");
    expect(found.get("bob", "a", 1)?.state.kind).toBe("ready");
    return reason("bob", "a", 2);
  }

  function withChecksums(files: Record<string, Buffer>): Record<string, Buffer> {
    const checksums = Object.entries(files)
      .filter(([name]) => name !== "auspex.json")
      .map(([name, bytes]) => [name, createHash("sha256").update(bytes).digest("hex")]);
    const manifest = { task: "tensor", files: Object.fromEntries(checksums) };
    return { ...files, "auspex.json": Buffer.from(JSON.stringify(manifest)) };
  }

  it("F29 truncated shard, checksum given", async () => {
    const why = await publishBroken((files) => {
      files["group2-shard1of1.bin"] = Buffer.from(files["group2-shard1of1.bin"]?.subarray(0, 63) ?? []);
    });
    expect(why).toMatch(
      /^group2-shard1of1\.bin has checksum [0-9a-f]{64}, where auspex\.json says [0-9a-f]{64}$/,
    );
  });

  it("F29 one flipped bit", async () => {
    const why = await publishBroken((files) => {
      const shard = files["group1-shard1of1.bin"];
      if (shard) shard[40] = (shard[40] ?? 0) ^ 1;
    });
    expect(why).toMatch(/^group1-shard1of1\.bin has checksum/);
  });

  it("F29 missing shard", async () => {
    const why = await publishBroken((files) => {
      delete files["group1-shard1of1.bin"];
    });
    expect(why).toBe("group1-shard1of1.bin is missing");
  });

  it("F29 truncated shard, no checksum given", async () => {
    await writeModel(modelsDir, "bob/a", 1, modelFiles(1));
    await writeModel(modelsDir, "bob/a", 2, { ...modelFiles(2), "group2-shard1of1.bin": Buffer.alloc(63) });
    await start();
    expect(reason("bob", "a", 2)).toBe("group2-shard1of1.bin has 63 bytes, where its weights need 64");
    expect(registry?.latest("bob", "a")?.version).toBe(1);
  });

  it("F29 wrong dtype", async () => {
    await writeModel(modelsDir, "bob/a", 1, modelFiles(1));
    const files = modelFiles(2);
    files["model.json"] = Buffer.from(String(files["model.json"]).replace('"float32"', '"float13"'));
    await writeModel(modelsDir, "bob/a", 2, files);
    await start();
    expect(reason("bob", "a", 2)).toBe("weight w1 has dtype float13, which is not supported");
    expect(registry?.latest("bob", "a")?.version).toBe(1);
  });

  it("F29 file replaced while loading: fails, then is tried again with the files that stay", async () => {
    await writeModel(modelsDir, "bob/a", 1, modelFiles(1));
    let attempts = 0;
    const found = await start({
      load: async (version) => {
        const loaded = await loadWeights(version);
        if (version.version === 2 && ++attempts === 1) {
          await writeFile(join(version.folder, "group1-shard1of1.bin"), Buffer.alloc(64, 7));
        }
        return loaded;
      },
    });
    const aside = await writeModel(base, "aside", 1, modelFiles(2));
    await rename(aside, join(modelsDir, "bob/a/2"));
    await eventually(() => expect(reason("bob", "a", 2)).toBe("its files changed while it was being loaded"));
    expect(found.latest("bob", "a")?.version).toBe(1);
    expect(unloaded).toEqual(["bob/a:2"]);
    await eventually(() => expect(found.latest("bob", "a")?.version).toBe(2));
    expect(attempts).toBe(2);
  });

  it("F29 a file replaced under a ready version changes nothing", async () => {
    const folder = await writeModel(modelsDir, "bob/a", 1, modelFiles(1));
    const found = await start();
    const digest = found.get("bob", "a", 1)?.digest;
    await writeFile(join(folder, "group1-shard1of1.bin"), "garbage");
    // Another version that shows up proves that the folder was looked at meanwhile.
    await writeModel(modelsDir, "bob/b", 1, modelFiles(2));
    await eventually(() => expect(states()).toEqual(["bob/a:1 ready", "bob/b:1 ready"]));
    expect(found.get("bob", "a", 1)?.digest).toBe(digest);
    expect(unloaded).toEqual([]);
  });

  it("F29 a failed version is not tried in a loop, and is once it is mended", async () => {
    const files = modelFiles(2);
    const folder = await writeModel(modelsDir, "bob/a", 1, {
      ...files,
      "group1-shard1of1.bin": Buffer.alloc(3),
    });
    let attempts = 0;
    const found = await start({
      load: (version) => {
        if (version.name === "a") attempts++;
        return loadWeights(version);
      },
    });
    expect(attempts).toBe(1);
    await writeModel(modelsDir, "bob/b", 1, modelFiles(3));
    await eventually(() => expect(found.latest("bob", "b")).toBeDefined());
    expect(attempts).toBe(1);
    await writeFile(join(folder, "group1-shard1of1.bin"), files["group1-shard1of1.bin"] ?? "");
    await eventually(() => expect(found.latest("bob", "a")?.version).toBe(1));
    expect(attempts).toBe(2);
  });

  it("F29 a reason names no place on our disk", async () => {
    await writeModel(modelsDir, "bob/a", 1, { "auspex.json": Buffer.from('{"task":"tensor"}') });
    await start();
    expect(reason("bob", "a", 1)).toContain("model.json");
    expect(reason("bob", "a", 1)).not.toContain(base);
  });
});

describe("publish", () => {
  const publish = (files: Record<string, Uint8Array>, signal = forever) =>
    (registry as RunningModelRegistry).publish({ owner: "bob", name: "a", files, signal });

  it("writes the next version with checksums and resolves when it serves", async () => {
    const found = await start();
    const first = await publish(modelFiles(1));
    expect(first).toMatchObject({ owner: "bob", name: "a", version: 1, state: { kind: "ready" } });
    expect((await publish(modelFiles(2))).version).toBe(2);
    expect(found.latest("bob", "a")?.version).toBe(2);
    const manifest = JSON.parse(await readFile(join(modelsDir, "bob/a/1/auspex.json"), "utf8"));
    expect(Object.keys(manifest.files)).toEqual([
      "model.json",
      "group1-shard1of1.bin",
      "group2-shard1of1.bin",
    ]);
    expect(await readdir(join(modelsDir, ".staging"))).toEqual([]);
  });

  it("resolves failed, with the reason, when the version cannot serve", async () => {
    await start();
    const { "group1-shard1of1.bin": _, ...files } = modelFiles(1);
    const version = await publish(files);
    expect(version.state.kind).toBe("failed");
    expect(reason("bob", "a", 1)).toContain("group1-shard1of1.bin");
  });

  it("gives versions published at once different numbers", async () => {
    await start();
    const versions = await Promise.all([1, 2, 3, 4, 5].map((seed) => publish(modelFiles(seed))));
    expect(versions.map((v) => v.version).sort()).toEqual([1, 2, 3, 4, 5]);
    expect(new Set(versions.map((v) => v.digest)).size).toBe(5);
    expect(versions.every((v) => v.state.kind === "ready")).toBe(true);
  });

  it("names everything that is wrong, and writes nothing", async () => {
    await start();
    const good = modelFiles(1);
    const refused = publish({
      ...good,
      "../../evil": Buffer.from("x"),
      "a/b": Buffer.from("x"),
      ".x": Buffer.from("x"),
    });
    await expect(refused).rejects.toMatchObject({
      code: "invalid_argument",
      violations: [{ field: 'files["../../evil"]' }, { field: 'files["a/b"]' }, { field: 'files[".x"]' }],
    });
    await expect(publish({ "model.json": Buffer.from("{}") })).rejects.toMatchObject({
      violations: [{ field: 'files["auspex.json"]', reason: "required" }],
    });
    await expect(
      publish({ ...good, "auspex.json": Buffer.from('{"task":"x","y":1}') }),
    ).rejects.toMatchObject({
      violations: [
        { description: expect.stringContaining("y: is not") },
        { description: expect.stringContaining("task: ") },
      ],
    });
    const checksums = { task: "tensor", files: { "model.json": "0".repeat(64), "gone.bin": "0".repeat(64) } };
    await expect(publish(modelFiles(1, checksums))).rejects.toMatchObject({
      violations: [{ field: 'files["model.json"]' }, { field: 'files["gone.bin"]' }],
    });
    expect(await readdir(modelsDir)).toEqual([]);
  });

  it("takes 256 files, and no more", async () => {
    await start();
    const files: Record<string, Uint8Array> = modelFiles(1);
    for (let i = Object.keys(files).length; i < 256; i++) files[`extra${i}`] = Buffer.from("x");
    expect((await publish(files)).state.kind).toBe("ready");
    await expect(publish({ ...files, oneMore: Buffer.from("x") })).rejects.toMatchObject({
      code: "invalid_argument",
      violations: [{ field: "files", description: "has 257 entries; at most 256 are allowed" }],
    });
  });

  it("writes nothing for a caller that has gone", async () => {
    await start();
    await expect(publish(modelFiles(1), AbortSignal.abort())).rejects.toMatchObject({ code: "canceled" });
    expect(states()).toEqual([]);
  });

  it("sweeps what a stopped server left half written", async () => {
    await writeModel(modelsDir, ".staging", 1, modelFiles(1));
    await start();
    expect(await readdir(modelsDir)).toEqual([]);
  });
});

describe("remove", () => {
  it("takes a version out of service, deletes its files, and never gives its number again", async () => {
    await writeModel(modelsDir, "bob/a", 1, modelFiles(1));
    await writeModel(modelsDir, "bob/a", 2, modelFiles(2));
    const found = await start();
    expect(await found.remove("bob", "a", 2)).toBe(true);
    expect(states()).toEqual(["bob/a:1 ready"]);
    expect(unloaded).toEqual(["bob/a:2"]);
    expect(await readdir(join(modelsDir, "bob/a/2"))).toEqual([]);
    expect(await found.remove("bob", "a", 2)).toBe(false);
    const next = await found.publish({ owner: "bob", name: "a", files: modelFiles(3), signal: forever });
    expect(next.version).toBe(3);
  });

  it("unloads before it deletes", async () => {
    const folder = await writeModel(modelsDir, "bob/a", 1, modelFiles(1));
    let atUnload: string[] = [];
    const found = await start({
      unload: async () => {
        atUnload = await readdir(folder);
      },
    });
    await found.remove("bob", "a", 1);
    expect(atUnload).toContain("auspex.json");
  });

  it("does not find a removed version again while its folder is still there", async () => {
    await writeModel(modelsDir, "bob/a", 1, modelFiles(1));
    let during: string[] = [];
    const found: RunningModelRegistry = await start({
      // Publishing another version looks at the folders.
      unload: async () => {
        await found.publish({ owner: "bob", name: "b", files: modelFiles(2), signal: forever });
        during = states();
      },
    });
    expect(await found.remove("bob", "a", 1)).toBe(true);
    expect(during).toEqual(["bob/b:1 ready"]);
  });

  it("leaves the catalogue's versions alone", async () => {
    await writeModel(catalogueDir, "auspex/a", 1, modelFiles(1));
    const found = await start();
    await expect(found.remove("auspex", "a", 1)).rejects.toMatchObject({ code: "permission_denied" });
    expect(states()).toEqual(["auspex/a:1 ready"]);
  });

  it("shows the catalogue's version again that a removed one hid", async () => {
    await writeModel(catalogueDir, "auspex/a", 1, modelFiles(1, { task: "tensor", description: "theirs" }));
    await writeModel(modelsDir, "auspex/a", 1, modelFiles(2, { task: "tensor", description: "ours" }));
    const found = await start();
    await found.remove("auspex", "a", 1);
    await eventually(() => expect(found.latest("auspex", "a")?.manifest?.description).toBe("theirs"));
  });
});
