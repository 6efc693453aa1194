/**
 * Which model versions there are, and which can serve. The registry finds version folders, checks them, has them
 * loaded aside, and only then lets them become a model's latest; a bad one is marked failed with its reason while
 * the older ones keep serving.
 *
 * **What is loaded.** Of each model the newest `VERSIONS_SERVED_MAX` versions that load, the newest first; the
 * newest of every model before the second newest of any. Older ones are shown as failed and say so, and come back
 * when a newer one is removed. So any recent version may be asked for by its number, and a model that is
 * retrained every hour does not fill the memory.
 *
 * **What changes on disk.** The models folder is watched, and polled where watching misses something (network
 * file systems); the catalogue's folders are polled. A version's folder that vanishes takes the version out of
 * service. Versions are immutable: a file that is replaced under a ready one changes nothing. A failed version is
 * tried again when its files changed and have come to rest. Where the same version lies in two roots, the models
 * folder wins.
 */
import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { AuspexError } from "../domain/error.ts";
import { folderProblem } from "../domain/folder-error.ts";
import { type Manifest, type ModelVersion, parseModelRef, type RuntimeName } from "../domain/model.ts";
import { findBackbone } from "./backbone.ts";
import type { EngineLog, ModelRegistry } from "./engine.ts";
import { watchFolder } from "./folder-watch.ts";
import { checkFolder, type FolderPlace, findVersions, folderSignature, publishedAt } from "./model-folder.ts";
import { clearStaging, deleteVersion, type ModelFiles, writeVersion } from "./model-publish.ts";
import { type Entry, isSettled, label, ModelShelf, VERSIONS_SERVED_MAX } from "./model-shelf.ts";
import { orAbort } from "./or-abort.ts";

/** Loads at once: reading and checking one overlaps with warming up another, and memory peaks stay low. */
export const LOADS_AT_ONCE = 2;

export interface FoundFiles extends FolderPlace {
  readonly manifest: Manifest;
  /** As in `ModelVersion`. */
  readonly digest: string;
}

export interface FoundVersion extends FoundFiles {
  /** The version whose embedding this one takes. */
  readonly backbone: FoundFiles | null;
}

export interface LoadedVersion {
  readonly runtime: RuntimeName;
  /** Why the runtimes that come first in the order of choice were passed over. */
  readonly notes: readonly string[];
}

export interface ModelRegistryOptions {
  /** Created when missing. */
  readonly modelsDir: string;
  /** Read-only roots beside it; one that is missing may appear later. */
  readonly catalogueDirs: readonly string[];
  /** `owner/name` of the models in these that are served; undefined: all. */
  readonly catalogueModels?: ReadonlySet<string> | undefined;
  /** Loads and warms up a version aside; rejects with the reason why it cannot serve. */
  readonly load: (found: FoundVersion, signal: AbortSignal) => Promise<LoadedVersion>;
  /** Frees a version. Also called after a load that failed or ran out of time: it may know nothing of it. */
  readonly unload: (owner: string, name: string, version: number) => Promise<void>;
  readonly loadTimeoutMs: number;
  readonly log: EngineLog;
}

export interface RunningModelRegistry extends ModelRegistry {
  /** A worker loaded a version that was ready before, perhaps on another runtime: a GPU may have gone since, or come. */
  reloaded(key: string, loaded: LoadedVersion): void;
  /** Stops looking, and ends loads that run. What is loaded stays loaded. */
  close(): Promise<void>;
}

/** Resolves when every version that is found at start is ready or failed. */
export async function createModelRegistry(options: ModelRegistryOptions): Promise<RunningModelRegistry> {
  const registry = new Registry(options);
  await registry.start();
  return registry;
}

// Implementation follows.

interface Root {
  readonly folder: string;
  readonly isCatalogue: boolean;
}

interface Found {
  readonly place: FolderPlace;
  readonly isCatalogue: boolean;
}

class Registry implements RunningModelRegistry {
  readonly #options: ModelRegistryOptions;
  /** In order of preference. */
  readonly #roots: readonly Root[];
  readonly #shelf = new ModelShelf();
  readonly #loads = new Set<Promise<void>>();
  /** Unloads under way, by version: the same number is loaded again only after. */
  readonly #unloads = new Map<string, Promise<void>>();
  /** Folders that are to be deleted: versions no more, though they are still there. */
  readonly #deleting = new Set<string>();
  /** The last look at the folders or deletion in them; the next one waits for it. */
  #disk: Promise<void> = Promise.resolve();
  /** The last complaint about each root, so that a lasting one is logged once. */
  readonly #complaints = new Map<string, string>();
  /** Resolved, and replaced, whenever a version may have changed its phase. */
  #change = Promise.withResolvers<void>();
  readonly #closing = new AbortController();
  #stopWatching: () => void = () => {};

  constructor(options: ModelRegistryOptions) {
    this.#options = options;
    this.#roots = [
      { folder: options.modelsDir, isCatalogue: false },
      ...options.catalogueDirs.map((folder) => ({ folder, isCatalogue: true })),
    ];
  }

  async start(): Promise<void> {
    const { modelsDir, log } = this.#options;
    try {
      await mkdir(modelsDir, { recursive: true });
      await readdir(modelsDir);
      await clearStaging(modelsDir);
    } catch (error) {
      throw new AuspexError(
        "failed_precondition",
        `the models folder ${modelsDir} cannot be used: ${folderProblem(error)}; mend that or choose another folder (AUSPEX_MODELS_DIR)`,
        { cause: error },
      );
    }
    this.#stopWatching = watchFolder(modelsDir, () => this.#scan(), log);
    await this.#scan();
    await this.#until(() => this.#loads.size === 0);
  }

  reloaded(key: string, { runtime, notes }: LoadedVersion): void {
    const ref = parseModelRef(key);
    const entry = ref?.version && this.#shelf.find(ref.owner, ref.name, ref.version);
    const was = entry && this.#shelf.runsOn(entry, runtime, notes);
    const fields = { model: key, was, runtime, notes };
    if (was) this.#options.log.warn(fields, "a worker runs a version on another runtime");
  }

  list(): readonly ModelVersion[] {
    return this.#shelf.entries().map((entry) => entry.view);
  }

  get(owner: string, name: string, version: number): ModelVersion | undefined {
    return this.#shelf.find(owner, name, version)?.view;
  }

  latest(owner: string, name: string): ModelVersion | undefined {
    return this.#shelf.latest(owner, name)?.view;
  }

  async publish(args: {
    readonly owner: string;
    readonly name: string;
    readonly files: ModelFiles;
    readonly signal: AbortSignal;
  }): Promise<ModelVersion> {
    const { owner, name, files, signal } = args;
    const knownHighest = this.#shelf.highest(owner, name);
    const { modelsDir } = this.#options;
    try {
      const place = await writeVersion({ modelsDir, owner, name, knownHighest, files, signal });
      await this.#scan();
      const entry = this.#shelf.find(owner, name, place.version);
      if (!entry) throw new AuspexError("unavailable", `${label(place)} was written, and vanished again`);
      await this.#until(() => entry.phase !== "waiting" && entry.phase !== "loading", signal);
      return entry.view;
    } catch (error) {
      if (signal.aborted) throw new AuspexError("canceled", "the caller went away", { cause: error });
      throw error;
    }
  }

  async remove(owner: string, name: string, version: number): Promise<boolean> {
    const entry = this.#shelf.find(owner, name, version);
    if (!entry) return false;
    if (entry.isCatalogue) {
      throw new AuspexError("permission_denied", `${label(entry.place)} belongs to the catalogue`);
    }
    const [head] = this.#shelf.headsOn(entry).filter(({ phase }) => phase !== "failed");
    if (head) {
      const names = `${label(entry.place)} is the backbone of ${label(head.place)}`;
      throw new AuspexError("failed_precondition", `${names}, which has to be deleted first`);
    }
    const { folder } = entry.place;
    this.#deleting.add(folder);
    await this.#drop(entry, "removed");
    try {
      await this.#afterOthers(() => deleteVersion(folder).finally(() => this.#deleting.delete(folder)));
    } finally {
      // A deletion that failed leaves a version, which is found again; one that did not makes room for another.
      await this.#scan();
    }
    return true;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#stopWatching();
    await this.#disk;
    this.#pump();
    await Promise.all([...this.#loads, ...this.#unloads.values()]);
  }

  /** Looks at the folders, after a look that is under way: the caller sees what was there when it called. */
  #scan(): Promise<void> {
    return this.#afterOthers(async () => {
      if (!this.#closing.signal.aborted) await this.#look();
      this.#pump();
    });
  }

  /** One at a time: no look at the folders sees half a deletion, or outlives one. */
  #afterOthers(work: () => Promise<void>): Promise<void> {
    const done = this.#disk.then(work);
    this.#disk = done.catch(() => {});
    return done;
  }

  async #look(): Promise<void> {
    const found = new Map<string, Found>();
    const unknown: string[] = [];
    const { catalogueModels } = this.#options;
    for (const { folder, isCatalogue } of this.#roots) {
      const places = await this.#list(folder);
      if (!places) unknown.push(join(folder, "/"));
      for (const place of places ?? []) {
        if (isCatalogue && catalogueModels?.has(`${place.owner}/${place.name}`) === false) continue;
        if (!found.has(label(place))) found.set(label(place), { place, isCatalogue });
      }
    }
    for (const entry of this.#shelf.entries()) {
      const { folder } = entry.place;
      // Nothing is concluded from a root that cannot be listed; what is loaded keeps serving.
      if (unknown.some((root) => folder.startsWith(root))) continue;
      if (found.get(label(entry.place))?.place.folder !== folder)
        void this.#drop(entry, "its folder is gone");
      else if (entry.phase === "failed") await this.#reconsider(entry);
    }
    for (const { place, isCatalogue } of found.values()) {
      const isKnown = this.#shelf.find(place.owner, place.name, place.version) !== undefined;
      if (!isKnown && !this.#deleting.has(place.folder)) this.#shelf.add(place, isCatalogue);
    }
  }

  /** Undefined when the root is missing or cannot be read now. */
  async #list(root: string): Promise<FolderPlace[] | undefined> {
    try {
      const places = await findVersions(root);
      this.#complaints.delete(root);
      return places;
    } catch (error) {
      if (this.#complaints.get(root) !== String(error)) {
        this.#options.log.warn(
          { err: error },
          "a models folder cannot be read; what is loaded keeps serving",
        );
      }
      this.#complaints.set(root, String(error));
      return undefined;
    }
  }

  /** A failed version waits for another try once its files differ from those tried, and stand still. */
  async #reconsider(entry: Entry): Promise<void> {
    const signature = await signatureOrError(entry.place.folder);
    if (signature !== entry.triedSignature && signature === entry.seenSignature) {
      this.#shelf.move(entry, "waiting", { kind: "loading" });
    }
    entry.seenSignature = signature;
  }

  /** Out of the lists at once; resolves when it is unloaded. */
  async #drop(entry: Entry, why: string): Promise<void> {
    const wasReady = entry.phase === "ready";
    this.#shelf.remove(entry);
    this.#shelf.move(entry, "gone", entry.view.state);
    entry.leaving.abort();
    this.#options.log.info({ model: label(entry.place) }, `model version out of service: ${why}`);
    if (wasReady) await this.#unload(entry.place);
  }

  /** Retires what is too old, and begins loads while there is room. */
  #pump(): void {
    if (!this.#closing.signal.aborted) {
      const { load, retire } = this.#shelf.plan();
      for (const entry of retire) this.#retire(entry);
      for (const entry of load.slice(0, LOADS_AT_ONCE - this.#loads.size)) {
        const loading = this.#load(entry).finally(() => {
          this.#loads.delete(loading);
          this.#pump();
        });
        this.#loads.add(loading);
      }
    }
    this.#change.resolve();
    this.#change = Promise.withResolvers();
  }

  #retire(entry: Entry): void {
    if (entry.phase === "ready") void this.#unload(entry.place);
    const reason = `not loaded: only the newest ${VERSIONS_SERVED_MAX} versions of a model are kept in service`;
    this.#shelf.move(entry, "retired", { kind: "failed", reason });
  }

  async #load(entry: Entry): Promise<void> {
    const { place } = entry;
    const { log, loadTimeoutMs } = this.#options;
    this.#shelf.move(entry, "loading", { kind: "loading" });
    const timeout = AbortSignal.timeout(loadTimeoutMs);
    const signal = AbortSignal.any([timeout, entry.leaving.signal, this.#closing.signal]);
    const startedAt = performance.now();
    try {
      await this.#unloads.get(label(place));
      const loaded = await orAbort(this.#checkAndLoad(entry, signal), signal);
      if (loaded === "later") {
        this.#shelf.move(entry, "waiting", { kind: "loading" });
        return;
      }
      const { runtime, notes } = loaded;
      this.#shelf.move(entry, "ready", { kind: "ready", runtime, notes });
      for (const head of this.#shelf.headsOn(entry)) {
        if (head.phase === "failed") this.#shelf.move(head, "waiting", { kind: "loading" });
      }
      const ms = Math.round(performance.now() - startedAt);
      log.info({ model: label(place), runtime, ms }, "model version ready");
    } catch (error) {
      await this.#unload(place);
      if (entry.leaving.signal.aborted || this.#closing.signal.aborted) return;
      const reason = timeout.aborted
        ? `took longer than ${loadTimeoutMs} ms to load`
        : reasonOf(error, place.folder);
      this.#shelf.move(entry, "failed", { kind: "failed", reason });
      log.warn({ model: label(place), reason }, "model version failed");
    }
  }

  /** `later` when its backbone has to be loaded first. */
  async #checkAndLoad(entry: Entry, signal: AbortSignal): Promise<LoadedVersion | "later"> {
    const { place } = entry;
    const signature = await signatureOrError(place.folder);
    entry.triedSignature = signature;
    entry.seenSignature = signature;
    entry.view = { ...entry.view, createdAt: await publishedAt(place.folder), manifest: null, digest: "" };
    const { manifest, digest } = await checkFolder(place.folder, signal);
    entry.view = { ...entry.view, manifest, digest };
    entry.backbone = findBackbone(this.#shelf, entry);
    if (entry.backbone && !isSettled(entry.backbone)) return "later";
    const backbone = entry.backbone && filesOf(entry.backbone);
    const loaded = await this.#options.load({ ...place, manifest, digest, backbone }, signal);
    // The bytes that were checked may not be those that were loaded.
    if ((await signatureOrError(place.folder)) !== signature) {
      throw new Error("its files changed while it was being loaded");
    }
    return loaded;
  }

  #unload({ owner, name, version }: Omit<FolderPlace, "folder">): Promise<void> {
    const key = label({ owner, name, version });
    const unload = this.#options
      .unload(owner, name, version)
      .catch((error: unknown) => this.#options.log.error({ model: key, err: error }, "unloading failed"))
      .finally(() => this.#unloads.delete(key));
    this.#unloads.set(key, unload);
    return unload;
  }

  async #until(isTrue: () => boolean, signal?: AbortSignal): Promise<void> {
    const closing = this.#closing.signal;
    while (!isTrue()) {
      if (closing.aborted) throw new AuspexError("unavailable", "the server is stopping");
      await orAbort(this.#change.promise, signal ?? closing);
    }
  }
}

function filesOf({ place, view: { manifest, digest } }: Entry): FoundFiles {
  if (!manifest) throw new Error(`the manifest of ${label(place)} is not known`);
  return { ...place, manifest, digest };
}

/** A folder that cannot be looked at has its error for a signature: when that changes, another try is worth it. */
async function signatureOrError(folder: string): Promise<string> {
  try {
    return await folderSignature(folder);
  } catch (error) {
    return String(error);
  }
}

/** A reason is told to callers, who are not to learn where on our disk the model lies. */
function reasonOf(error: unknown, folder: string): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.replaceAll(join(folder, "/"), "").replaceAll(folder, "the model folder");
}
