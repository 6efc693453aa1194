import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import type { Operation } from "../../src/store/database.ts";
import { commitGroup } from "../../src/store/group-commit.ts";
import { imageRow, insertImageRow } from "../../src/store/image.ts";
import { migrate } from "../../src/store/migrate.ts";
import { countUnfinished, insertPrediction, predictionRow } from "../../src/store/prediction.ts";
import { SqliteConnection } from "../../src/store/sqlite.ts";
import type { Call } from "../../src/store/thread-protocol.ts";
import { anImage, aPrediction, tempFolder } from "./temp-store.ts";

async function migrated(): Promise<SqliteConnection> {
  const connection = new SqliteConnection(join(tempFolder(), "test.db"), "write");
  onTestFinished(() => connection.close());
  await migrate(connection);
  return connection;
}

function call<A>(operation: Operation<A, unknown>, args: A): Call {
  return { operation: operation.name, args };
}

/** An insert; of `bytes` of input, and also of an image. */
function insertion({ bytes = 0, image = anImage() } = {}): Call {
  const data = new Uint8Array(bytes);
  const prediction = aPrediction({
    input: { json: {}, tensors: { x: { dtype: "uint8", shape: [bytes], data } } },
  });
  return call(insertPrediction, {
    row: predictionRow(prediction, null),
    deliveries: [],
    images: [imageRow(image)],
    turn: undefined,
    queueMax: 100_000,
  });
}

test("a group is one transaction, and each call gets its own end, in order", async () => {
  const connection = await migrated();
  const outcomes = await commitGroup(connection, [insertion(), insertion(), insertion()]);
  expect(outcomes).toEqual(Array(3).fill({ ok: true, value: { kind: "inserted" } }));
  expect(connection.unfinished).toBe(3);
  expect(connection.inTransaction).toBe(false);
});

test("what arrives while a group runs is of its transaction, and ends in order", async () => {
  const connection = await migrated();
  const taken = anImage();
  const arriving = [[insertion({ image: taken }), insertion()], [insertion()], []];
  const inTransaction: boolean[] = [];
  const arrived = () => {
    inTransaction.push(connection.inTransaction);
    return arriving.shift() ?? [];
  };
  const outcomes = await commitGroup(connection, [insertion()], arrived);
  expect(outcomes).toEqual(Array(4).fill({ ok: true, value: { kind: "inserted" } }));
  expect(inTransaction).toEqual([true, true, true]);
  expect(connection.unfinished).toBe(4);
  expect(await countUnfinished(connection)).toBe(4);

  // One of them that fails fails alone.
  const later = [[insertion({ image: taken }), insertion()]];
  const ends = await commitGroup(connection, [insertion()], () => later.shift() ?? []);
  expect(ends.map(({ ok }) => ok)).toEqual([true, false, true]);
  expect(await countUnfinished(connection)).toBe(6);
});

test("a group ends although calls go on arriving, and has all that had joined it", async () => {
  const connection = await migrated();
  let joined = 0;
  const outcomes = await commitGroup(connection, [insertion()], () => {
    joined++;
    return [insertion()];
  });
  expect(joined).toBeGreaterThan(0);
  expect(outcomes).toEqual(Array(1 + joined).fill({ ok: true, value: { kind: "inserted" } }));
  expect(await countUnfinished(connection)).toBe(1 + joined);

  // One that takes longer than that is joined by nothing.
  const blob = insertion({ bytes: 30_000_000 });
  expect(await commitGroup(connection, [blob], () => [insertion()])).toHaveLength(1);
});

test("a call that fails half-way is undone whole, and its neighbours stay", async () => {
  const connection = await migrated();
  const taken = anImage();
  await commitGroup(connection, [call(insertImageRow, imageRow(taken))]);
  // Fails at its image, after its row went in and was counted.
  const outcomes = await commitGroup(connection, [insertion(), insertion({ image: taken }), insertion()]);
  expect(outcomes.map(({ ok }) => ok)).toEqual([true, false, true]);
  expect(outcomes[1]).toMatchObject({ failure: { storage: false, text: expect.stringContaining("UNIQUE") } });
  expect(connection.unfinished).toBe(2);
  expect(await countUnfinished(connection)).toBe(2);
});

test("an unknown operation fails alone", async () => {
  const connection = await migrated();
  const outcomes = await commitGroup(connection, [{ operation: "no such", args: {} }, insertion()]);
  expect(outcomes.map(({ ok }) => ok)).toEqual([false, true]);
});

test("F9: a full disk fails the group and keeps nothing of it; with room again, the next one is written", async () => {
  const connection = await migrated();
  await commitGroup(connection, [insertion()]);
  connection.exec("pragma max_page_count = 40");
  const outcomes = await commitGroup(connection, [insertion(), insertion({ bytes: 400_000 }), insertion()]);
  expect(outcomes[1]).toMatchObject({ ok: false, failure: { storage: true } });
  // SQLite may give up the whole transaction or the one statement; what was answered and what is there agree.
  const written = 1 + outcomes.filter(({ ok }) => ok).length;
  expect(connection.unfinished).toBe(written);
  expect(await countUnfinished(connection)).toBe(written);
  expect(connection.inTransaction).toBe(false);

  connection.exec("pragma max_page_count = 100000");
  expect((await commitGroup(connection, [insertion({ bytes: 400_000 })])).map(({ ok }) => ok)).toEqual([
    true,
  ]);
  expect(await countUnfinished(connection)).toBe(written + 1);
});

test("F9: a database that nobody may write to refuses, and is read as before", async () => {
  const connection = await migrated();
  await commitGroup(connection, [insertion()]);
  connection.exec("pragma query_only = on");
  const outcomes = await commitGroup(connection, [insertion(), insertion()]);
  expect(outcomes).toMatchObject(Array(2).fill({ ok: false, failure: { storage: true } }));
  expect(await countUnfinished(connection)).toBe(1);
  expect(connection.unfinished).toBe(1);
  connection.exec("pragma query_only = off");
  expect((await commitGroup(connection, [insertion()])).map(({ ok }) => ok)).toEqual([true]);
});
