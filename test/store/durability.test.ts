import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { expect, onTestFinished, test } from "vitest";
import type { PredictionId } from "../../src/domain/id.ts";
import { tempFolder, tempStore } from "./temp-store.ts";

const url = (path: string) => JSON.stringify(new URL(path, import.meta.url).href);

/** Inserts without end, 32 at a time, claims and settles some, and says what was acknowledged. */
const WRITER = `
  const { openStore } = await import(${url("../../src/store/open-store.ts")});
  const { createIdMinter } = await import(${url("../../src/domain/id.ts")});
  const mint = createIdMinter((bytes) => crypto.getRandomValues(bytes));
  const store = await openStore({ dataDir: process.argv[1], queueMax: 1e9 });
  const empty = { json: {}, tensors: {} };
  const nothing = { startedAt: null, endedAt: null, setupTime: null, executionTime: null, deadlineAt: null };
  const say = (word, id) => process.stdout.write(word + " " + id + "\\n");
  async function insertOn() {
    for (;;) {
      const id = mint(Date.now());
      const prediction = {
        id, principal: "alice", model: "a/b", version: 1, status: "pending", revision: 1, attempt: 0, deaths: 0,
        input: empty, output: null, error: null, createdAt: 1, updatedAt: 1, ...nothing, requestId: "",
        requestHash: "", webhook: null,
      };
      await store.predictions.insert({ prediction, lease: null, deliveries: [], images: [] });
      say("inserted", id);
    }
  }
  async function settleOn() {
    for (;;) {
      for (const { prediction, lease } of await store.predictions.claim({ limit: 4, now: 1, leaseExpiresAt: 9 })) {
        const next = { ...prediction, status: "succeeded", output: empty, endedAt: 2, revision: 3 };
        await store.predictions.transition({ next, guard: { kind: "lease", token: lease.token }, deliveries: [] });
        say("settled", prediction.id);
      }
    }
  }
  for (let n = 0; n < 32; n++) void insertOn();
  void settleOn();
`;

test("nothing that was acknowledged is lost when the process is killed (I1, I2)", async () => {
  const dataDir = tempFolder();
  const acknowledged = { inserted: [] as string[], settled: [] as string[] };
  for (let round = 1; round <= 3; round++) {
    const child = spawn(process.execPath, ["--input-type=module", "--eval", WRITER, dataDir], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    onTestFinished(() => {
      child.kill("SIGKILL");
    });
    const lines = createInterface({ input: child.stdout });
    const ended = once(lines, "close");
    for await (const line of lines) {
      const [word, id = ""] = line.split(" ");
      acknowledged[word === "inserted" ? "inserted" : "settled"].push(id);
      if (acknowledged.inserted.length >= 400 * round && acknowledged.settled.length >= 20 * round) {
        // In the middle of a commit, as always here; what it said until it died still arrives.
        child.kill("SIGKILL");
      }
    }
    await ended;
  }
  const store = await tempStore({ dataDir });
  for (const id of acknowledged.inserted) {
    expect(await store.predictions.get("alice", id as PredictionId)).toMatchObject({ id });
  }
  for (const id of acknowledged.settled) {
    expect(await store.predictions.get("alice", id as PredictionId)).toMatchObject({ status: "succeeded" });
  }
  expect(acknowledged.settled.length).toBeGreaterThanOrEqual(60);
});
