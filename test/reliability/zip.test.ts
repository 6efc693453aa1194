/** Row F22, and the pictures of row F23 in zips: hostile uploads through the real server; and imports that it dies in. */
import { readdir, readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { type Dataset, DatasetService, DatasetState, DatasetType } from "../../gen/auspex/v1/dataset_pb.ts";
import { clientOf, startServer, type TestServer, until } from "../harness.ts";
import { drawPicture, zipOf, zipOfShapes } from "../pictures.ts";
import { type RawEntry, rawZip, zip64Claiming } from "../raw-zip.ts";
import { tempFolder } from "../store/temp-store.ts";
import { POISON } from "./poison.ts";

const MIB = 1024 ** 2;
let server: TestServer;

beforeAll(async () => {
  server = await startServer({ settings: { MAX_ZIP_ENTRIES: "2000", MAX_ZIP_UNPACKED: "64MiB" } });
});
afterAll(() => server?.[Symbol.asyncDispose]());

const clientFor = (to: Pick<TestServer, "url" | "grpcUrl">) => clientOf(to, "grpc", DatasetService);

async function upload(data: Uint8Array<ArrayBuffer>): Promise<Dataset> {
  const zip = { source: { case: "data", value: data } } as const;
  const { dataset } = await clientFor(server).uploadDataset({
    type: DatasetType.IMAGE,
    zip,
    waitUntilReady: true,
  });
  if (!dataset) throw new Error("no dataset was answered");
  return dataset;
}

/** Files and folders below a folder, but for the blobs and what SQLite keeps. */
async function filesIn(folder: string): Promise<readonly string[]> {
  const files = await readdir(folder, { recursive: true });
  return files.filter((file) => !/^(?:blobs[/\\][0-9a-f]{2}(?:$|[/\\])|auspex\.db)/.test(file)).toSorted();
}

const picture = await drawPicture("circle", 1);
const GOOD: RawEntry = { name: "circle/a.jpg", data: picture };

const HOSTILE: Readonly<Record<string, readonly [RawEntry[] | Buffer<ArrayBuffer>, string]>> = {
  "a name that leads out": [
    [GOOD, { ...GOOD, name: "../../../../../../tmp/auspex-escaped.jpg" }],
    "relative path",
  ],
  "an absolute name": [[GOOD, { ...GOOD, name: "/tmp/auspex-escaped.jpg" }], "absolute path"],
  backslashes: [[GOOD, { ...GOOD, name: "..\\..\\auspex-escaped.jpg" }], "invalid characters"],
  "a link": [[GOOD, { name: "circle/link", data: Buffer.from("/etc/passwd"), mode: 0o120777 }], "is a link"],
  "a bomb in one file": [[GOOD, { name: "circle/bomb", data: Buffer.alloc(60 * MIB) }], "times its size"],
  "a bomb in many files": [
    Array.from({ length: 80 }, (_, index) => ({ name: `circle/${index}`, data: Buffer.alloc(MIB) })),
    "unpacked it has more than",
  ],
  "a million entries": [zip64Claiming(1_000_000n), "it has 1000000 entries"],
  "one entry too many": [
    Array.from({ length: 2001 }, (_, index) => ({ name: `circle/${index}`, data: picture })),
    "it has 2001 entries",
  ],
  "the same name twice": [[GOOD, GOOD], "in it twice"],
  "an encrypted file": [[{ ...GOOD, flags: 1 }], "is encrypted"],
};

test.each(Object.entries(HOSTILE))(
  "F22 %s is refused, and leaves nothing",
  async (_name, [entries, reason]) => {
    const before = await filesIn(server.dataDir);
    const dataset = await upload(Array.isArray(entries) ? rawZip(entries) : entries);
    expect(dataset).toMatchObject({ state: DatasetState.FAILED, labels: [], exampleCount: 0n });
    expect(dataset.failure).toMatch(/^Invalid zip: /);
    expect(dataset.failure).toContain(reason);
    expect(await filesIn(server.dataDir)).toEqual(before);
    expect(await readdir("/tmp")).not.toContain("auspex-escaped.jpg");
  },
);

test("F22 hostile zips at once cost little memory, and other calls go on", async () => {
  const residentBytes = async () => {
    const [, pages = "0"] = (await readFile(`/proc/${server.process.pid}/statm`, "utf8")).split(" ");
    return Number(pages) * 4096;
  };
  // Each would inflate to 60 MiB, and says that it is a small picture.
  const liar = rawZip([GOOD, { name: "circle/liar", data: Buffer.alloc(60 * MIB), size: 4 * MIB }]);
  const before = await residentBytes();
  let most = before;
  const uploads = Promise.all(Array.from({ length: 12 }, () => upload(liar)));
  let done = false;
  uploads.finally(() => {
    done = true;
  });
  while (!done) {
    await clientFor(server).listDatasets({ pageSize: 1 });
    most = Math.max(most, await residentBytes());
  }
  for (const dataset of await uploads) {
    expect(dataset).toMatchObject({ state: DatasetState.READY, exampleCount: 1n, skippedCount: 1n });
    expect(dataset.skipped).toEqual(["circle/liar: is damaged in the zip"]);
  }
  // Four at once, 4 MiB each and twice while it is put together.
  expect(most - before).toBeLessThan(100 * MIB);
});

test("F23 poison pictures in a zip are skipped by name, and their neighbours are taken", async () => {
  const files: Record<string, Uint8Array> = {};
  const names: string[] = [];
  for (const [name, make] of Object.entries(POISON)) {
    const file = `circle/${name.replaceAll(/\W+/g, " ").slice(0, 40)}`;
    names.push(file);
    files[file] = await make();
    files[`${file} and a neighbour`] = await drawPicture("circle", names.length);
  }
  const dataset = await upload(await zipOf(files));
  expect(dataset.state, dataset.failure).toBe(DatasetState.READY);
  expect(dataset.exampleCount).toBe(BigInt(names.length));
  expect(dataset.skippedCount).toBe(BigInt(names.length));
  expect(dataset.skipped.map((reason) => reason.split(": ")[0])).toEqual(names);
});

test.each(["kill", "terminate"] as const)(
  "a server that ends (%s) in an import begins it again",
  async (end) => {
    const dataDir = tempFolder();
    const data = await zipOfShapes(["circle", "square"], 400, { size: 32 });
    const first = await startServer({ dataDir });
    onTestFinished(() => first[Symbol.asyncDispose]());
    const client = clientFor(first);
    const zip = { source: { case: "data", value: data } } as const;
    const { dataset } = await client.uploadDataset({ type: DatasetType.IMAGE, zip });
    const id = dataset?.id ?? 0n;
    await until(async () => ((await client.getDataset({ id })).dataset?.importedCount ?? 0n) > 520n);
    await first[end]();
    const rows = (sql: string): unknown => {
      const database = new DatabaseSync(join(dataDir, "auspex.db"), { readOnly: true });
      try {
        return Object.values(database.prepare(sql).get() ?? {})[0];
      } finally {
        database.close();
      }
    };
    const hidden = rows("SELECT count(*) FROM example WHERE import_id = (SELECT import_id FROM dataset)");
    expect(hidden).toBeGreaterThanOrEqual(500);
    expect(hidden).toBeLessThan(800);

    await using second = await startServer({ dataDir });
    const ready = await until(async () => {
      const now = (await clientFor(second).getDataset({ id })).dataset;
      if (now?.state === DatasetState.IMPORTING) expect(now).toMatchObject({ labels: [], exampleCount: 0n });
      return now?.state === DatasetState.READY && now;
    });
    expect(ready).toMatchObject({ failure: "", exampleCount: 800n, duplicateCount: 0n, skippedCount: 0n });
    expect(ready.labels.map(({ name, exampleCount }) => [name, exampleCount])).toEqual([
      ["circle", 400n],
      ["square", 400n],
    ]);
    expect(rows("SELECT count(*) FROM example")).toBe(800);
    expect(rows("SELECT count(*) FROM label")).toBe(2);
    expect(rows("SELECT count(*) FROM dataset_import")).toBe(0);
  },
);

test("a server that dies in a download begins it again, and leaves no half of it", async () => {
  const dataDir = tempFolder();
  const data = await zipOfShapes(["circle", "ring"], 5);
  let asked = 0;
  const files = createServer((_request, response) => {
    asked++;
    response.writeHead(200, { "content-length": data.length });
    if (asked === 1) response.write(data.subarray(0, 1000));
    else response.end(data);
  });
  await new Promise<void>((resolve) => files.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void files.close());
  const address = files.address();
  const port = typeof address === "object" ? address?.port : 0;
  const settings = { EGRESS_ALLOW: `127.0.0.1:${port}` };
  const first = await startServer({ dataDir, settings });
  onTestFinished(() => first[Symbol.asyncDispose]());
  const zip = { source: { case: "url", value: `http://127.0.0.1:${port}/my%20shapes.zip` } } as const;
  const { dataset } = await clientFor(first).uploadDataset({ type: DatasetType.IMAGE, zip });
  expect(dataset).toMatchObject({ name: "my shapes", state: DatasetState.IMPORTING, importTotal: 0n });
  const staging = join(dataDir, "blobs", "tmp");
  await until(async () => (await readdir(staging)).length > 0 && asked === 1);
  await first.kill();
  await using second = await startServer({ dataDir, settings });
  const ready = await until(async () => {
    const now = (await clientFor(second).getDataset({ id: dataset?.id ?? 0n })).dataset;
    return now?.state !== DatasetState.IMPORTING && now;
  });
  expect(ready).toMatchObject({ state: DatasetState.READY, exampleCount: 10n });
  expect(asked).toBe(2);
  expect(await readdir(staging)).toEqual([]);
});
