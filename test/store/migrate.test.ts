import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect, onTestFinished, test } from "vitest";
import { MIGRATIONS, migrate } from "../../src/store/migrate.ts";
import { openStore } from "../../src/store/open-store.ts";
import { insertPrediction, predictionRow } from "../../src/store/prediction.ts";
import { SqliteConnection } from "../../src/store/sqlite.ts";
import { addPassages, aPassage, createFlow, vectorOf } from "./chatflow-records.ts";
import { aPrediction, insert, tempFolder, tempStore } from "./temp-store.ts";

function connect(): SqliteConnection {
  const connection = new SqliteConnection(join(tempFolder(), "test.db"), "write");
  onTestFinished(() => connection.close());
  return connection;
}

const [first] = MIGRATIONS;
if (!first) throw new Error("there is no migration");
const second = { version: 2, name: "second", sql: "create table second (x integer) strict" };

test("migrations are numbered from one without a gap", () => {
  expect(MIGRATIONS.map(({ version }) => version)).toEqual(MIGRATIONS.map((_, index) => index + 1));
});

test("each migration runs once, and later ones are added to what is there", async () => {
  const connection = connect();
  await migrate(connection, [first]);
  await migrate(connection, [first]);
  await migrate(connection, [first, second]);
  await migrate(connection, [first, second]);
  connection.exec("insert into second values (1)");
});

test("a migration that fails leaves nothing behind", async () => {
  const connection = connect();
  const broken = { ...second, sql: `${second.sql}; create table second (x integer)` };
  await expect(migrate(connection, [first, broken])).rejects.toThrow("already exists");
  expect(() => connection.exec("insert into second values (1)")).toThrow("no such table");
  await migrate(connection, [first, second]);
});

test("an older program refuses a newer schema and says so", async () => {
  const dataDir = tempFolder();
  const written = await openStore({ dataDir, queueMax: 10 });
  const prediction = aPrediction();
  await insert(written, prediction);
  await written.close();
  const newest = MIGRATIONS.length;
  const native = new DatabaseSync(join(dataDir, "auspex.db"));
  onTestFinished(() => native.close());
  native.exec(`insert into migration values (${newest + 1}, 'from the future')`);

  await expect(openStore({ dataDir, queueMax: 10 })).rejects.toMatchObject({
    code: "failed_precondition",
    message: expect.stringContaining(`schema version ${newest + 1} and this program knows ${newest}`),
  });
  // The refusal changed nothing and let the folder go.
  native.exec(`delete from migration where version = ${newest + 1}`);
  const store = await tempStore({ dataDir });
  expect(await store.predictions.get("alice", prediction.id)).toEqual(prediction);
});

test("a database of the schema before gets what is new, and keeps what it has", async () => {
  const dataDir = tempFolder();
  const file = join(dataDir, "auspex.db");
  const old = new SqliteConnection(file, "write");
  await migrate(old, MIGRATIONS.slice(0, -1));
  const prediction = aPrediction();
  const lease = null;
  const args = { row: predictionRow(prediction, lease), deliveries: [], images: [], queueMax: 9 };
  await insertPrediction.run(old, { ...args, turn: undefined });
  old.close();
  const store = await tempStore({ dataDir });
  expect(await store.predictions.get("alice", prediction.id)).toEqual(prediction);
  const flow = await createFlow(store);
  await addPassages(store, flow, [aPassage("a cat", vectorOf(1))]);
  const query = { chatflowId: flow.id, chatId: "", mode: "hybrid", text: "cat", limit: 9 } as const;
  expect(await store.passages.search({ ...query, vector: vectorOf(1), minScore: 0 })).toHaveLength(1);
});
