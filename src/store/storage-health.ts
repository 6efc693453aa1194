/**
 * Whether the storage takes writes. Two things say that it does not: a write that failed, and a disk with less room
 * than is kept for what was accepted already. While one holds, nothing more is to be accepted; reading goes on, and
 * so does the writing of what runs. It is looked at again by itself until both are past.
 */
import { folderProblem } from "../domain/folder-error.ts";
import { operation } from "./database.ts";
import { freeBytes, tryToWrite } from "./disk.ts";

export interface StorageHealth {
  /** Why nothing more should be accepted, for a person; "" while all is well. */
  reason(): string;
  /** Told at every change of the reason. Answers the unsubscribe. */
  onChange(listener: () => void): () => void;
}

export interface StorageWatch extends StorageHealth {
  /** A write failed, with this text. */
  failed(text: string): void;
  close(): Promise<void>;
}

export interface StorageWatchOptions {
  readonly folder: string;
  /** Bytes that stay free on its disk. */
  readonly reserve: number;
  /** Rejects when the database takes no writes. */
  readonly tryDatabase: () => Promise<void>;
  readonly intervalMs?: number;
}

/** Fails where no write can be made durable. */
export const touch = operation("touch", (tx) => tx.touch());

/** A disk fills in seconds, and who waits for it to be well again should not wait much longer. */
const INTERVAL_MS = 1000;

/** Once below the reserve, so much of it has to be free again: the answer must not change with every file. */
const ENOUGH_AGAIN = 1.25;

export async function watchStorage({
  folder,
  reserve,
  tryDatabase,
  intervalMs = INTERVAL_MS,
}: StorageWatchOptions): Promise<StorageWatch> {
  const listeners = new Set<() => void>();
  let failure = "";
  let shortage = "";
  let closed = false;
  let timer: NodeJS.Timeout | undefined;
  let looking = Promise.resolve();

  const reason = () => failure || shortage;
  function change(update: () => void): void {
    const before = reason();
    update();
    if (reason() !== before) for (const listener of listeners) listener();
  }

  async function measure(): Promise<string> {
    const wanted = shortage === "" ? reserve : reserve * ENOUGH_AGAIN;
    const free = reserve === 0 ? Number.POSITIVE_INFINITY : await freeBytes(folder);
    return free < wanted ? `the disk of the data folder has less than ${mebibytes(wanted)} free` : "";
  }

  async function recover(): Promise<string> {
    try {
      await tryToWrite(folder);
      await tryDatabase();
      return "";
    } catch (error) {
      return sentence(folderProblem(error));
    }
  }

  /** Never rejects. */
  async function look(): Promise<void> {
    const room = await measure().catch((error: unknown) => sentence(folderProblem(error)));
    const recovery = failure === "" ? "" : await recover();
    change(() => {
      shortage = room;
      // A failure keeps its text while it lasts: probing finds the same one in other words.
      if (recovery === "") failure = "";
    });
    if (!closed) schedule();
  }

  function schedule(): void {
    timer = setTimeout(() => {
      looking = look();
    }, intervalMs);
    timer.unref();
  }

  shortage = await measure().catch((error: unknown) => sentence(folderProblem(error)));
  schedule();
  return {
    reason,
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    failed: (text) => change(() => (failure ||= sentence(text))),
    async close() {
      closed = true;
      clearTimeout(timer);
      await looking;
    },
  };
}

const sentence = (problem: string) => `the storage takes no writes: ${problem}`;

function mebibytes(bytes: number): string {
  return `${Math.ceil(bytes / 1024 ** 2)} MiB`;
}
