/**
 * Takes up zips behind the calls that brought them, a few at a time. What it has written of a zip stays hidden until
 * all of it is there; a server that stops or dies begins it again, from the beginning.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { type DatasetId, LABELS_MAX, type SkippedFiles } from "../domain/dataset.ts";
import { AuspexError } from "../domain/error.ts";
import type { Engine, EngineLog } from "../engine/engine.ts";
import type { DatasetImport, ImportEnd, NewExample } from "../store/dataset-store.ts";
import type { Store } from "../store/store.ts";
import type { Egress } from "./egress.ts";
import type { Hints } from "./hints.ts";
import { type LabelledZip, openLabelledZip, type ZipFile } from "./zip.ts";
import { downloadZip } from "./zip-download.ts";
import { invalidZip } from "./zip-layout.ts";

/** Imports at once: each holds a few pictures in memory, and perhaps a slow download. */
const IMPORTS_MAX = 4;
/** Imports that may wait for their turn; each may keep a zip of the body limit's size on disk. */
const IMPORT_QUEUE_MAX = 200;
/** Pictures of one import that are decoded and written side by side: the disk's waits overlap. */
const PICTURES_MAX = 4;
/** Examples written in one transaction, some 10 ms of the store's time. */
const CHUNK = 500;
/** Pictures without a row are swept after an hour; between two good ones may be thousands of bad ones. */
const WRITE_WITHIN_US = 60_000_000;
/** Skipped files that are named. */
const NAMED_MAX = 10;
/** Before what the store could not write is tried again. */
const RETRY_MS = 1000;

export interface ImportLimits {
  readonly MAX_EXAMPLE_BYTES: number;
  readonly MAX_ZIP_BYTES: number;
  readonly MAX_ZIP_ENTRIES: number;
  readonly MAX_ZIP_UNPACKED: number;
  readonly MAX_ZIP_RATIO: number;
}

export interface ImportOptions {
  readonly store: Store;
  readonly engine: Pick<Engine, "inspect">;
  readonly egress: Egress;
  readonly limits: ImportLimits;
  readonly hints: Hints;
  readonly now: () => number;
  /** Aborted when the server stops; unfinished imports begin again with the next start. */
  readonly stopping: AbortSignal;
  readonly log: EngineLog;
}

export interface ImportProgress {
  readonly done: number;
  /** 0 while the zip is being fetched. */
  readonly total: number;
}

export interface DatasetImports {
  /** @throws AuspexError `resource_exhausted` when too many wait */
  refuseWhenFull(): void;
  /** Takes up what the store has begun; a hint with the dataset's key tells when it has ended. */
  add(begun: DatasetImport): void;
  /** Takes up what an earlier process left behind. */
  resume(): Promise<void>;
  /** Undefined for a dataset that is not being imported into. */
  progress(id: DatasetId): ImportProgress | undefined;
  /** Resolves when nothing is at work any more, once stopping. */
  idle(): Promise<void>;
}

/** The key of a dataset's hints. */
export function datasetKey(id: DatasetId): string {
  return `dataset:${id}`;
}

export function createDatasetImports(options: ImportOptions): DatasetImports {
  const { store, hints, stopping, log } = options;
  const queue: DatasetImport[] = [];
  const progress = new Map<DatasetId, ImportProgress>();
  const working = new Set<Promise<void>>();

  /** What goes wrong with the zip ends the import; what goes wrong with the store is tried again. */
  async function run(begun: DatasetImport): Promise<void> {
    await stored(() => clear(store, begun), options);
    let end: ImportEnd;
    const skipped = new Skipped();
    try {
      end = await withZip(begun, options, (zip) =>
        takeUp(begun, zip, options, skipped, (now) => progress.set(begun.datasetId, now)),
      );
    } catch (error) {
      if (stopping.aborted) return;
      log.warn({ err: error, dataset: begun.datasetId }, "a zip could not be taken up");
      end = { kind: "failed", failure: AuspexError.from(error).message, skipped: skipped.files() };
      await stored(() => clear(store, begun), options);
    }
    await stored(() => store.imports.end({ begun, end, now: options.now() }), options);
  }

  function pump(): void {
    while (working.size < IMPORTS_MAX && !stopping.aborted) {
      const begun = queue.shift();
      if (!begun) return;
      const work = run(begun)
        .catch((error: unknown) => {
          if (!stopping.aborted) log.error({ err: error, dataset: begun.datasetId }, "an import broke down");
        })
        .finally(() => {
          working.delete(work);
          progress.delete(begun.datasetId);
          hints.emit(datasetKey(begun.datasetId));
          pump();
        });
      working.add(work);
    }
  }

  return {
    refuseWhenFull() {
      if (queue.length < IMPORT_QUEUE_MAX) return;
      throw new AuspexError("resource_exhausted", "too many zips wait to be taken up; try again later", {
        retryAfterMs: 1000,
      });
    },
    add(begun) {
      queue.push(begun);
      pump();
    },
    async resume() {
      queue.push(...(await store.imports.unended()));
      pump();
    },
    progress: (id) => progress.get(id),
    idle: async () => {
      await Promise.all(working);
    },
  };
}

/** Until the store works again, or the server stops. */
async function stored(write: () => Promise<void>, { stopping, log }: ImportOptions): Promise<void> {
  for (;;) {
    try {
      return await write();
    } catch (error) {
      if (stopping.aborted || !(error instanceof AuspexError) || error.code !== "unavailable") throw error;
      log.warn({ err: error }, "an import waits for the store");
      await sleep(RETRY_MS, undefined, { signal: stopping });
    }
  }
}

async function clear(store: Store, begun: DatasetImport): Promise<void> {
  while (!(await store.imports.clear(begun, CHUNK)));
}

/** Opens the zip where it is, or fetches it first into a file of its own. */
function withZip<T>(
  { source }: DatasetImport,
  { store, egress, limits, stopping }: ImportOptions,
  use: (zip: LabelledZip) => Promise<T>,
): Promise<T> {
  const opened = async (path: string): Promise<T> => {
    const zip = await openLabelledZip(path, {
      entries: limits.MAX_ZIP_ENTRIES,
      unpackedBytes: limits.MAX_ZIP_UNPACKED,
      ratio: limits.MAX_ZIP_RATIO,
      fileBytes: limits.MAX_EXAMPLE_BYTES,
    });
    try {
      return await use(zip);
    } finally {
      await zip.close();
    }
  };
  if (source.kind === "blob") return opened(store.blobs.path(source.blob));
  return store.blobs.withStaged(async (path) => {
    await downloadZip(egress, { url: source.url, path, maxBytes: limits.MAX_ZIP_BYTES, signal: stopping });
    return opened(path);
  });
}

class Skipped {
  #count = 0;
  readonly #first: string[] = [];

  add(reason: string): void {
    this.#count++;
    if (this.#first.length < NAMED_MAX) this.#first.push(reason);
  }

  files(): SkippedFiles {
    return { count: this.#count, first: this.#first };
  }
}

type LabelledExample = NewExample & { readonly label: string };

async function takeUp(
  begun: DatasetImport,
  zip: LabelledZip,
  options: ImportOptions,
  skipped: Skipped,
  onProgress: (now: ImportProgress) => void,
): Promise<ImportEnd> {
  const { store, stopping, now } = options;
  await refuseTooManyLabels(begun, zip, store);
  let examples: LabelledExample[] = [];
  let good = 0;
  let duplicates = 0;
  const write = async () => {
    duplicates += await store.imports.insert({ begun, examples, now: now() });
    examples = [];
  };
  let done = 0;
  let writtenAt = now();
  onProgress({ done, total: zip.fileCount });
  for await (const files of groups(zip.files(), PICTURES_MAX)) {
    stopping.throwIfAborted();
    for (const result of await Promise.all(files.map((file) => accept(file, options)))) {
      if (typeof result === "string") skipped.add(result);
      else examples.push(result);
      good += typeof result === "string" ? 0 : 1;
    }
    if (examples.length >= CHUNK || (examples.length > 0 && now() - writtenAt > WRITE_WITHIN_US)) {
      await write();
      writtenAt = now();
    }
    done += files.length;
    onProgress({ done, total: zip.fileCount });
  }
  if (good === 0) {
    throw invalidZip(
      `it has no picture that can be read (${skipped.files().first[0] ?? "all were skipped"})`,
    );
  }
  if (examples.length > 0) await write();
  return { kind: "taken_up", duplicates, skipped: skipped.files() };
}

async function refuseTooManyLabels(begun: DatasetImport, zip: LabelledZip, store: Store): Promise<void> {
  const dataset = await store.datasets.get(begun.principal, begun.datasetId);
  const labels = new Set([...(dataset?.labels.map(({ name }) => name) ?? []), ...zip.labels]);
  if (labels.size > LABELS_MAX) {
    throw invalidZip(
      `with it the dataset would have ${labels.size} labels; at most ${LABELS_MAX} are allowed`,
    );
  }
}

async function* groups(files: AsyncIterable<ZipFile>, size: number): AsyncGenerator<readonly ZipFile[]> {
  let group: ZipFile[] = [];
  for await (const file of files) {
    group.push(file);
    if (group.length < size) continue;
    yield group;
    group = [];
  }
  if (group.length > 0) yield group;
}

/** The example, its bytes durable; or why the file is skipped. */
async function accept(
  file: ZipFile,
  { store, engine, stopping }: ImportOptions,
): Promise<LabelledExample | string> {
  if (file.kind === "skipped") return `${file.path}: ${file.reason}`;
  const { path, label, name, bytes } = file;
  try {
    const info = await engine.inspect(bytes, stopping);
    return { label, name, blob: await store.blobs.put(bytes), sizeBytes: bytes.length, ...info };
  } catch (error) {
    const { code, message } = AuspexError.from(error);
    // The picture's own fault: it cannot be read, or it killed the worker that tried.
    const faulty = code === "invalid_argument" || (error instanceof AuspexError && code === "internal");
    if (!faulty) throw error;
    return `${path}: ${message}`;
  }
}
