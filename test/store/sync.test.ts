/**
 * F10: a crash that takes with it whatever was not synced. A disk that loses its cache cannot be had here, so its two
 * halves are shown apart: everything that is acknowledged was synced before (the system calls, as strace sees them),
 * and of a log that is cut off or garbled at any place behind that, all that lies before the place is there.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect, test } from "vitest";
import type { PredictionId } from "../../src/domain/id.ts";
import { openStore } from "../../src/store/open-store.ts";
import { seeded } from "../history/actor.ts";
import { aPrediction, insert, tempFolder } from "./temp-store.ts";

const ROWS = 60;
const CUTS = 40;

test("F10 a log that is cut off or garbled anywhere loses what came after the place, and nothing before it", async () => {
  const dataDir = tempFolder();
  const store = await openStore({ dataDir, queueMax: 1000 });
  const file = join(dataDir, "auspex.db");
  /** In the order of their acknowledgement, each with the length that the log then had. */
  const acknowledged: { readonly id: PredictionId; readonly length: number }[] = [];
  for (let i = 0; i < ROWS; i++) {
    const prediction = aPrediction();
    await insert(store, prediction);
    acknowledged.push({ id: prediction.id, length: statSync(`${file}-wal`).size });
  }
  const log = readFileSync(`${file}-wal`);
  // As it stands in the middle of its life: nothing of the log has been moved into the file, as closing would.
  const crashed = tempFolder();
  copyFileSync(file, join(crashed, "auspex.db"));
  await store.close();
  const random = seeded(10);
  for (let i = 0; i < CUTS; i++) {
    const at = Math.floor(random() * log.length);
    const dir = tempFolder();
    copyFileSync(join(crashed, "auspex.db"), join(dir, "auspex.db"));
    const copy = join(dir, "auspex.db-wal");
    writeFileSync(copy, log);
    if (i % 2 === 0) truncateSync(copy, at);
    else writeFileSync(copy, Buffer.concat([log.subarray(0, at), Buffer.from(log.subarray(at)).fill(0xa5)]));
    const found = new DatabaseSync(join(dir, "auspex.db"));
    expect(found.prepare("pragma integrity_check").get()).toEqual({ integrity_check: "ok" });
    const rows = found.prepare("select id from prediction").all();
    const ids = new Set(rows.map(({ id }) => id));
    found.close();
    const safe = acknowledged.filter(({ length }) => length <= at);
    for (const { id } of safe) expect(ids).toContain(id);
    // One commit more may lie whole before the place than was acknowledged when the log was measured.
    expect(ids.size).toBeLessThanOrEqual(safe.length + 1);
  }
});

const url = (path: string) => JSON.stringify(new URL(path, import.meta.url).href);

/** Stores one thing after the other in a new folder and says so each time. */
const WRITER = `
  import { writeSync } from "node:fs";
  const { openStore } = await import(${url("../../src/store/open-store.ts")});
  const { createIdMinter } = await import(${url("../../src/domain/id.ts")});
  const mint = createIdMinter((bytes) => crypto.getRandomValues(bytes));
  const store = await openStore({ dataDir: process.argv[1], queueMax: 1e9 });
  const payload = { json: {}, tensors: {} };
  for (let i = 0; i < 8; i++) {
    const prediction = {
      id: mint(Date.now()), principal: "alice", model: "a/b", version: 1, status: "pending", revision: 1, attempt: 0,
      deaths: 0, input: payload, output: null, error: null, createdAt: 1, updatedAt: 1, startedAt: null,
      endedAt: null, setupTime: null, executionTime: null, deadlineAt: null, requestId: "", requestHash: "",
      webhook: null,
    };
    await store.blobs.put(new Uint8Array(1000).fill(i));
    writeSync(1, "acknowledged\\n");
    await store.predictions.insert({ prediction, lease: null, deliveries: [], images: [] });
    writeSync(1, "acknowledged\\n");
    const [claim] = await store.predictions.claim({ limit: 1, now: 1, leaseExpiresAt: 9 });
    writeSync(1, "acknowledged\\n");
    const next = { ...claim.prediction, status: "succeeded", output: payload, endedAt: 2, revision: 3 };
    await store.predictions.transition({ next, guard: { kind: "lease", token: claim.lease.token }, deliveries: [] });
    writeSync(1, "acknowledged\\n");
  }
  await store.close();
`;

const HAS_STRACE = spawnSync("strace", ["-V"]).status === 0;

test.runIf(HAS_STRACE)(
  "F10 whatever is acknowledged was synced before: files, their names, and the folders they are in",
  () => {
    // A folder that is not there yet, two deep: its own names have to be durable as well.
    const above = tempFolder();
    const dataDir = join(above, "deep", "data");
    const trace = join(above, "trace");
    const calls = "openat,mkdir,mkdirat,write,pwrite64,writev,ftruncate,rename,renameat,fsync,fdatasync";
    const strace = ["-f", "-qq", "-y", "-s", "16", "-e", `trace=${calls}`, "-o", trace];
    const node = [process.execPath, "--input-type=module", "--eval", WRITER, dataDir];
    execFileSync("strace", [...strace, ...node], { stdio: ["ignore", "ignore", "inherit"] });
    const { acknowledged, unsynced } = replay(readFileSync(trace, "utf8"), dataDir);
    expect(acknowledged).toBe(32);
    expect(unsynced).toEqual([]);
  },
);

/** Not needed after a crash: the index of the log, which is made anew, and a name for a message. */
const EXPENDABLE = /-shm$|lock\.pid$|lock\.db|\/probe$|\/tmp$/;

/** Follows what is on disk and what is in the system's cache alone; answers what was, whenever something was acknowledged. */
function replay(trace: string, dataDir: string): { acknowledged: number; unsynced: string[] } {
  const dirty = new Set<string>();
  const known = new Set<string>();
  const begun = new Map<string, string>();
  const unsynced: string[] = [];
  let acknowledged = 0;
  const soil = (path: string) => {
    if (path.startsWith(dirname(dirname(dataDir))) && !EXPENDABLE.test(path)) dirty.add(path);
  };
  const create = (path: string) => {
    if (!EXPENDABLE.test(path) && !known.has(path)) soil(dirname(path));
    known.add(path);
  };
  for (const line of trace.split("\n")) {
    const [thread = ""] = line.split(" ", 1);
    const call = line.slice(thread.length).trim();
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(call);
    const unfinished = call.endsWith("<unfinished ...>");
    if (unfinished) begun.set(thread, call);
    // What is written counts from its beginning, what is synced from its end.
    const whole = resumed ? `${begun.get(thread)}${resumed[1]}` : call;
    const [, name = "", rest = ""] = /^(\w+)\((.*)$/.exec(whole) ?? [];
    const [, ofFile = ""] = /^\d+<([^>]*)>/.exec(rest) ?? [];
    const quoted = [...rest.matchAll(/"([^"]*)"/g)].map(([, path = ""]) => path);
    const failed = /= -1 /.test(whole);
    if (name === "write" && quoted[0]?.startsWith("acknowledged")) {
      if (resumed) continue;
      acknowledged++;
      if (dirty.size > 0) unsynced.push([...dirty].join(" "));
    } else if (/^(?:write|pwrite64|writev|ftruncate)$/.test(name)) soil(ofFile);
    else if (/^f(?:data)?sync$/.test(name)) {
      if (!unfinished && !failed) dirty.delete(ofFile);
    } else if (unfinished || failed) continue;
    else if (name === "openat" && rest.includes("O_CREAT")) create(quoted[0] ?? "");
    else if (name.startsWith("mkdir")) create(quoted[0] ?? "");
    else if (name.startsWith("rename")) {
      const [from = "", to = ""] = quoted;
      if (dirty.delete(from)) soil(to);
      create(to);
    }
  }
  return { acknowledged, unsynced };
}
