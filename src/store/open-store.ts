/** The embedded store: SQLite and blobs under one data folder, which it has to itself. */
import { join } from "node:path";
import { accountStore } from "./account.ts";
import { aliasStore } from "./alias.ts";
import { openBlobs } from "./blob.ts";
import { chatStore } from "./chat.ts";
import { chatflowStore } from "./chatflow.ts";
import { expireLeases } from "./claim.ts";
import { explainDatabase, holdFolder } from "./data-folder.ts";
import type { Database } from "./database.ts";
import { datasetStore } from "./dataset.ts";
import { importStore } from "./dataset-import.ts";
import { deletionStore } from "./deletion.ts";
import { deliveryStore, releaseDeliveries } from "./delivery.ts";
import { embeddingStore } from "./embedding.ts";
import { exampleStore } from "./example.ts";
import { imageStore } from "./image.ts";
import type { FolderLock } from "./lock.ts";
import { passageStore } from "./passage.ts";
import { predictionStore } from "./prediction.ts";
import { openSqliteDatabase } from "./sqlite-database.ts";
import { type StorageWatch, touch, watchStorage } from "./storage-health.ts";
import type { BlobStore, Store, StoreOptions } from "./store.ts";
import { trainingStore } from "./training.ts";
import { abandonUpserts, upsertStore } from "./upsert.ts";

/**
 * Creates the folder and the database where they are missing and brings an older database up to date.
 *
 * @throws AuspexError `failed_precondition`, saying what to do: another server has the folder, a newer release wrote
 * it, it cannot be written, its database is damaged
 */
export async function openStore({
  dataDir,
  queueMax,
  diskReserve = 0,
  lock: held,
}: StoreOptions): Promise<Store> {
  const lock = held ?? (await holdFolder(dataDir));
  const file = join(dataDir, "auspex.db");
  let database: Database | undefined;
  /** What is told before there is a watch keeps the store from opening. */
  let onFault = (_text: string): void => {};
  try {
    const opened = await openSqliteDatabase(file, (text) => onFault(text));
    database = opened;
    const blobs = await openBlobs(join(dataDir, "blobs"), opened, (text) => onFault(text));
    // With the lock held nobody else is at work, so whatever seems to be under way was lost with an earlier server.
    await Promise.all([
      opened.write(expireLeases, {}),
      opened.write(releaseDeliveries, {}),
      opened.write(abandonUpserts, {}),
    ]);
    const watch = await watchStorage({
      folder: dataDir,
      reserve: diskReserve,
      tryDatabase: () => opened.write(touch, {}),
    });
    onFault = watch.failed;
    return assemble({ database, blobs, queueMax, lock, watch });
  } catch (error) {
    await database?.close();
    lock.release();
    throw explainDatabase(error, file);
  }
}

interface Parts {
  readonly database: Database;
  readonly blobs: BlobStore;
  readonly queueMax: number;
  readonly lock: FolderLock;
  readonly watch: StorageWatch;
}

function assemble({ database, blobs, queueMax, lock, watch }: Parts): Store {
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
    health: watch,
    description: database.description,
    close: async () => {
      await watch.close();
      await database.close();
      lock.release();
    },
  };
}
