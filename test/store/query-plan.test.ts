/** Every statement finds its rows by an index: a table that is walked from end to end is slow only once it is large. */
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { load as loadVectorFunctions } from "sqlite-vec";
import { expect, onTestFinished, test } from "vitest";
import { migrate } from "../../src/store/migrate.ts";
import { OPERATIONS } from "../../src/store/operations.ts";
import { type Role, SqliteConnection } from "../../src/store/sqlite.ts";
import type { ListQuery } from "../../src/store/store.ts";
import { tempFolder } from "./temp-store.ts";

const LIST: ListQuery = {
  principal: "alice",
  model: undefined,
  status: undefined,
  before: undefined,
  after: undefined,
  limit: 10,
};

const TRAINING = { principal: "alice", id: "x" };

const MESSAGES = {
  chatflow_id: "f",
  chat_id: "",
  session_id: "",
  message_id: "",
  memory_type: "",
  since: 0,
  until: 1,
  any_rating: 1,
  up: 0,
  down: 0,
};
const MESSAGE_PAGE = { ...MESSAGES, after: 0, limit: 1, descending: false };
const RECORDS = { chatflow_id: "f", chat_id: "", since: 0, until: 1, after: "", limit: 1 };

const CALLS: readonly (readonly [string, unknown])[] = [
  ["prediction.claim", { limit: 1, now: 1, lease_expires_at: 2, nonce: "n" }],
  ["prediction.renew", { leases: [{ id: "x", token: "t" }], expiresAt: 1 }],
  ["prediction.nextClaimAt", {}],
  ["prediction.expireLeases", {}],
  ["prediction.get", { principal: "alice", id: "x" }],
  ["prediction.countByModel", { principal: "alice" }],
  ["prediction.deleteEnded", { ended_before: 1, limit: 1 }],
  ["prediction.list", LIST],
  ["prediction.list", { ...LIST, before: "x" }],
  ["prediction.list", { ...LIST, model: "a/b", after: "x" }],
  ["prediction.list", { ...LIST, status: "succeeded", before: "x" }],
  ["prediction.list", { ...LIST, status: "failed", before: "x" }],
  ["delivery.takeDue", { now: 1, limit: 1 }],
  ["delivery.nextDueAt", {}],
  ["delivery.releaseAll", {}],
  ["delivery.list", { principal: "alice", prediction_id: "x" }],
  ["image.get", { principal: "alice", id: "x" }],
  ["image.importing", {}],
  ["blob.unreferenced", ["x"]],
  ["dataset.get", { principal: "alice", id: 1 }],
  ["dataset.list", { principal: "alice", after: 0, skip: 0, limit: 1 }],
  ["dataset.getLabel", { principal: "alice", id: 1 }],
  ["dataset.createLabel", { principal: "alice", datasetId: 1, name: "x", now: 1 }],
  ["dataset.examplesOf", { principal: "alice", id: 1, feedback: true }],
  ["dataset.examplesOf", { principal: "alice", id: 1, feedback: false }],
  ["example.get", { principal: "alice", id: 1 }],
  ["import.unended", {}],
  ["deletion.get", { principal: "alice", id: "x" }],
  ["deletion.unfinished", { limit: 1 }],
  ["deletion.countExamples", { dataset_id: 1 }],
  ["deletion.purgeDataset", { dataset_id: 1, limit: 1 }],
  ["deletion.deleteEnded", { before: "x", limit: 1 }],
  ["embedding.unused", { after: "", limit: 1 }],
  ["embedding.delete", ["x"]],
  ["alias.get", { principal: "alice", alias: "x" }],
  ["alias.list", { principal: "alice" }],
  ["training.get", TRAINING],
  ["training.model", { principal: "alice", name: "alice/m-1" }],
  ["training.latest", { principal: "alice", model: "alice/m-1", succeeded: false }],
  ["training.latest", { principal: "alice", model: "alice/m-1", succeeded: true }],
  ["training.list", { principal: "alice", dataset_id: 0, after: "", skip: 0, limit: 1 }],
  ["training.list", { principal: "alice", dataset_id: 7, after: "", skip: 0, limit: 1 }],
  ["training.epochs", { training_id: "x", after: 0, skip: 0, limit: 1 }],
  ["training.claim", { now: 1 }],
  ["training.takeUp", { now: 1, attemptsMax: 3, failure: "" }],
  ["training.cancel", { ...TRAINING, now: 1 }],
  ["training.purgeModel", { model: "alice/m-1" }],
  ["training.isAbandoned", { model: "alice/m-1", training_id: "x" }],
  ["embedding.missing", { extractor: "x/y:1", blobs: ["x"] }],
  ["embedding.get", { extractor: "x/y:1", blobs: ["x"] }],
  ["account.insertRefreshToken", { row: { hash: "x", principal: "alice", created_at: 1 }, max: 1 }],
  ["account.refreshTokenOwner", { hash: "x" }],
  ["account.deleteRefreshToken", { hash: "x", principal: "alice" }],
  ["account.usage", { principal: "alice", month: 1 }],
  ["account.addUsage", [{ principal: "alice", month: 1, predictions: 1 }]],
  ["chatflow.get", { id: "f" }],
  ["chatflow.definition", { id: "f", version: 1 }],
  ["chatflow.list", { principal: "alice", before: "x", limit: 1 }],
  ["chatflow.fromFiles", {}],
  ["chatflow.delete", { id: "f" }],
  ["chatflow.deleteKey", { chatflow_id: "f", id: "x" }],
  ["chatflow.keyHolder", { hash: "x" }],
  ["upsert.abandon", { id: "x" }],
  ["upsert.abandonAll", {}],
  ["upsert.list", { ...RECORDS, descending: false }],
  ["upsert.list", { ...RECORDS, descending: true }],
  ["upsert.delete", { principal: "alice", ids: ["x"], state: "abandoned" }],
  ["passage.known", { chatflow_id: "f", chat_id: "", source: "x", hashes: ["00"] }],
  ["passage.count", { chatflow_id: "f" }],
  ["chat.window", { chatflow_id: "f", session_id: "s", limit: 1 }],
  ["chat.get", { id: "x" }],
  ["chat.list", MESSAGE_PAGE],
  ["chat.list", { ...MESSAGE_PAGE, descending: true }],
  ["chat.list", { ...MESSAGE_PAGE, chat_id: "c" }],
  ["chat.list", { ...MESSAGE_PAGE, session_id: "s" }],
  ["chat.list", { ...MESSAGE_PAGE, message_id: "x" }],
  ["chat.delete", { ...MESSAGES, limit: 1 }],
  ["chat.delete", { ...MESSAGES, message_id: "x", limit: 1 }],
  ["chat.rating", { chatflow_id: "f", id: "x" }],
  ["chat.listRatings", { ...RECORDS, descending: true }],
  ["chat.listRatings", { ...RECORDS, chat_id: "c", descending: false }],
  ["chat.listLeads", { chatflow_id: "f", after: "", limit: 1 }],
  ["chat.getFile", { chatflow_id: "f", chat_id: "c", name: "x" }],
];

type Run = (name: string, args: unknown) => Promise<unknown>;

/**
 * Runs the calls on a new database, each with what the one before answered, and looks at all that they asked. What is
 * looked at in a search is written beside it.
 */
async function expectIndexed(calls: (run: Run, write: Run) => Promise<void>, role: Role = "write") {
  const file = join(tempFolder(), "test.db");
  const writer = new SqliteConnection(file, "write");
  await migrate(writer);
  const connection = role === "write" ? writer : new SqliteConnection(file, role);
  const native = new DatabaseSync(file, { allowExtension: true });
  loadVectorFunctions(native);
  onTestFinished(() => {
    for (const each of new Set([connection, writer, native])) each.close();
  });
  const on =
    (which: SqliteConnection): Run =>
    async (name, args) =>
      OPERATIONS.get(name)?.run(which, args as never);
  await calls(on(connection), on(writer));
  const statements = connection.statements();
  for (const sql of statements.filter((each) => !each.includes(`"migration"`))) {
    for (const { detail } of native.prepare(`explain query plan ${sql}`).all() as { detail: string }[]) {
      // A subquery's few rows may be walked, and an index from an end that the limit or the filter cuts off.
      const walked = /^SCAN (\w+)$/.exec(detail)?.[1];
      expect(
        walked === undefined ||
          ["pending", "expired", "claimable", "candidate", "best", "matches"].includes(walked),
        `${detail} for ${sql}`,
      ).toBe(true);
      expect(detail).not.toMatch(/SCAN (?:prediction|deletion) USING INDEX sqlite_autoindex/);
    }
  }
}

test.each(CALLS)("%s %j", async (name, args) => {
  await expectIndexed(async (run) => {
    await run(name, args);
  });
});

test("what is asked in the life of a dataset", async () => {
  const principal = "alice";
  const picture = { name: "x", blob: "b", media_type: "", width: 1, height: 1, size_bytes: 1 };
  await expectIndexed(async (run) => {
    const labels = ["circle", "square"];
    const created = await run("dataset.create", {
      principal,
      name: "x",
      type: "image",
      labels,
      createdAt: 1,
    });
    const [{ id, label_id }] = created as [{ id: number; label_id: number }];
    const example = { ...picture, principal, dataset_id: id, label_id, source: "feedback", created_at: 1 };
    const added = (await run("example.insert", example)) as { row: { id: number } };
    const source = { blob: "z", url: null };
    const begun = (await run("import.begin", { principal, dataset_id: id, source, now: 1 })) as {
      row: { id: number };
    };
    const rows = [{ ...picture, blob: "c", label: "ring" }];
    await run("import.insert", { principal, id: begun.row.id, dataset_id: id, rows, now: 1 });
    for (const of of [null, label_id]) {
      const page = { principal, source: "", after: 0, skip: 0, limit: 1 };
      await run("example.list", { ...page, dataset_id: id, label_id: of });
    }
    await run("example.get", { principal, id: added.row.id });
    await run("import.clear", { id: begun.row.id, limit: 5 });
    const end = { kind: "failed", failure: "", skipped: { count: 0, first: [] } };
    await run("import.end", { id: begun.row.id, end, now: 1 });
    await run("dataset.createLabel", { principal, datasetId: id, name: "cross", now: 1 });
    await run("example.delete", { principal, id: added.row.id, now: 1 });
    const progress = { state: "queued", progress: 0, failure: "" };
    const deletion = {
      id: "x",
      principal,
      kind: "dataset",
      deleted: String(id),
      model_id: "",
      created_at: 1,
    };
    expect(await run("dataset.delete", { ...deletion, ...progress })).toBe("deleted");
    await run("deletion.record", { id: "x", ...progress });
    await run("deletion.purgeDataset", { dataset_id: id, limit: 10 });
  });
});

test("what is asked in the life of a chatflow", async () => {
  const times = { created_at: 1, updated_at: 1 };
  const of = { chatflow_id: "f", chat_id: "c" };
  await expectIndexed(async (run) => {
    await run("chatflow.create", {
      id: "f",
      principal: "alice",
      name: "x",
      version: 1,
      definition: "{}",
      from_file: 0,
      ...times,
    });
    await run("chatflow.update", { id: "f", name: "y", definition: "{}", if_version: 0, updated_at: 1 });
    await run("chatflow.addKey", { id: "k", chatflow_id: "f", name: "x", hash: "h", created_at: 1, max: 5 });
    const message = {
      ...of,
      role: "user",
      content: "",
      session_id: "s",
      prediction_id: "p",
      failure: "",
      lead_email: "",
      memory_type: "",
      details: "{}",
      created_at: 1,
    };
    await run("chat.insertTurn", [
      { ...message, id: "q" },
      { ...message, id: "a" },
    ]);
    const rating = { id: "r", message_id: "a", value: "up", comment: "", created_at: 1 };
    await run("chat.rate", { ...of, ...rating });
    await run("chat.insertLead", { ...of, id: "l", name: "", email: "x", phone: "", created_at: 1 });
    const file = { name: "x", media_type: "", blob: "b", size_bytes: 1, created_at: 1 };
    expect(await run("chat.putFiles", [{ ...of, ...file }])).toBe(true);
    const passage = { text: "a cat", metadata: { source: "x" }, vector: Float32Array.of(1, 0) };
    for (const id of ["u", "v"]) {
      await run("upsert.begin", { id, chatflow_id: "f", principal: "alice", created_at: 1 });
      await run("passage.add", { ...of, upsert_id: id, passages: [passage] });
    }
    const counts = { added: 1, skipped: 0, added_passages: "[]", chat_id: "c" };
    await run("upsert.end", { id: "u", ...counts, replaced: [] });
    await run("upsert.end", { id: "v", ...counts, replaced: [{ source: "x", hashes: [] }] });
    await run("upsert.delete", { principal: "alice", ids: ["v"], state: "abandoned" });
    expect(await run("passage.purge", { limit: 10 })).toBe(0);
    await run("chatflow.delete", { id: "f" });
  });
});

test("what a search asks", async () => {
  const vector = Float32Array.of(1, 0);
  await expectIndexed(async (run, write) => {
    await write("chatflow.create", {
      id: "f",
      principal: "alice",
      name: "x",
      version: 1,
      definition: "{}",
      from_file: 0,
      created_at: 1,
      updated_at: 1,
    });
    await write("upsert.begin", { id: "u", chatflow_id: "f", principal: "alice", created_at: 1 });
    const passages = [{ text: "a cat", metadata: { source: "x" }, vector }];
    await write("passage.add", { chatflow_id: "f", chat_id: "", upsert_id: "u", passages });
    const query = { chatflowId: "f", chatId: "c", text: "a cat", limit: 5, minScore: 0 };
    for (const mode of ["hybrid", "vector", "keyword"]) {
      expect(await run("passage.search", { ...query, mode, vector })).toHaveLength(1);
    }
  }, "search");
});
