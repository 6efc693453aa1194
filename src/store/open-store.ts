/** The embedded store: SQLite and blobs under one data folder, which it has to itself. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { accountStore } from "./account.ts";
import { aliasStore } from "./alias.ts";
import { openBlobs } from "./blob.ts";
import { chatStore } from "./chat.ts";
import { chatflowStore } from "./chatflow.ts";
import { expireLeases } from "./claim.ts";
import type { Database } from "./database.ts";
import { datasetStore } from "./dataset.ts";
import { importStore } from "./dataset-import.ts";
import { deletionStore } from "./deletion.ts";
import { deliveryStore, releaseDeliveries } from "./delivery.ts";
import { embeddingStore } from "./embedding.ts";
import { exampleStore } from "./example.ts";
import { imageStore } from "./image.ts";
import { type FolderLock, lockFolder } from "./lock.ts";
import { passageStore } from "./passage.ts";
import { predictionStore } from "./prediction.ts";
import { openSqliteDatabase } from "./sqlite-database.ts";
import type { BlobStore, Store, StoreOptions } from "./store.ts";
import { trainingStore } from "./training.ts";
import { abandonUpserts, upsertStore } from "./upsert.ts";

/**
 * Creates the folder and the database where they are missing and brings an older database up to date.
 *
 * @throws AuspexError `failed_precondition` when another server has the folder, or a newer release wrote it
 */
export async function openStore({ dataDir, queueMax }: StoreOptions): Promise<Store> {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const lock = lockFolder(dataDir);
  let database: Database | undefined;
  try {
    database = await openSqliteDatabase(join(dataDir, "auspex.db"));
    const blobs = await openBlobs(join(dataDir, "blobs"), database);
    // With the lock held nobody else is at work, so whatever seems to be under way was lost with an earlier server.
    await Promise.all([
      database.write(expireLeases, {}),
      database.write(releaseDeliveries, {}),
      database.write(abandonUpserts, {}),
    ]);
    return assemble({ database, blobs, queueMax, lock });
  } catch (error) {
    await database?.close();
    lock.release();
    throw error;
  }
}

interface Parts {
  readonly database: Database;
  readonly blobs: BlobStore;
  readonly queueMax: number;
  readonly lock: FolderLock;
}

function assemble({ database, blobs, queueMax, lock }: Parts): Store {
  return {
    predictions: predictionStore(database, queueMax),
    deliveries: deliveryStore(database),
    images: imageStore(database),
    aliases: aliasStore(database),
    accounts: accountStore(database),
    datasets: datasetStore(database),
    examples: exampleStore(database),
    imports: importStore(database),
    deletions: deletionStore(database),
    trainings: trainingStore(database),
    embeddings: embeddingStore(database),
    chatflows: chatflowStore(database),
    passages: passageStore(database),
    upserts: upsertStore(database),
    chats: chatStore(database),
    blobs,
    description: database.description,
    close: async () => {
      await database.close();
      lock.release();
    },
  };
}
