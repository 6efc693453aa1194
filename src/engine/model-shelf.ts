/**
 * The versions that a registry knows, and the rule which of them are to be in memory. Plain data: no disk, no
 * worker, no time.
 */
import { type ModelVersion, RUNTIMES, type RuntimeName, type VersionState } from "../domain/model.ts";
import type { FolderPlace } from "./model-folder.ts";

/** Versions of one model in memory at once: enough for a rollback and for predictions that still wait. */
export const VERSIONS_SERVED_MAX = 8;

/** `retired` ones are too old to be kept loaded; `gone` ones are on no shelf any more. */
export type Phase = "waiting" | "loading" | "ready" | "failed" | "retired" | "gone";

export interface Entry {
  readonly place: FolderPlace;
  readonly isCatalogue: boolean;
  phase: Phase;
  /** What callers see; replaced whole. */
  view: ModelVersion;
  /** The files' signature when loading was tried last, and when they were looked at last. */
  triedSignature: string;
  seenSignature: string;
  /** What has to be settled before this one is loaded. */
  backbone: Entry | null;
  /** Aborted when the version goes while it loads. */
  readonly leaving: AbortController;
}

/** The versions of one model, newest first; never empty. */
type Row = readonly Entry[];

/** What `owner/name:version` names. */
export function label({ owner, name, version }: Omit<FolderPlace, "folder">): string {
  return `${owner}/${name}:${version}`;
}

export class ModelShelf {
  readonly #rows = new Map<string, Row>();

  find(owner: string, name: string, version: number): Entry | undefined {
    return this.#row(owner, name).find((entry) => entry.place.version === version);
  }

  latest(owner: string, name: string): Entry | undefined {
    return this.#row(owner, name).find((entry) => entry.phase === "ready");
  }

  /** The highest version that there is in any phase; 0 for none. */
  highest(owner: string, name: string): number {
    return this.#row(owner, name)[0]?.place.version ?? 0;
  }

  /** Ordered by owner, name, then version descending. */
  entries(): Entry[] {
    return [...this.#rows.values()]
      .sort(([a], [b]) =>
        a && b ? order(a.place.owner, b.place.owner) || order(a.place.name, b.place.name) : 0,
      )
      .flat();
  }

  /** Versions that have this one for a backbone, or would have. */
  headsOn({ place }: Entry): Entry[] {
    return this.entries().filter(({ view }) => view.manifest?.backbone === label(place));
  }

  add(place: FolderPlace, isCatalogue: boolean): void {
    const { owner, name, version } = place;
    const state: VersionState = { kind: "loading" };
    const entry: Entry = {
      place,
      isCatalogue,
      phase: "waiting",
      view: { owner, name, version, state, manifest: null, createdAt: 0, digest: "" },
      triedSignature: "",
      seenSignature: "",
      backbone: null,
      leaving: new AbortController(),
    };
    const row = [...this.#row(owner, name), entry].sort((a, b) => b.place.version - a.place.version);
    this.#rows.set(`${owner}/${name}`, row);
  }

  remove(entry: Entry): void {
    const { owner, name } = entry.place;
    const others = this.#row(owner, name).filter((other) => other !== entry);
    if (others.length > 0) this.#rows.set(`${owner}/${name}`, others);
    else this.#rows.delete(`${owner}/${name}`);
  }

  move(entry: Entry, phase: Phase, state: VersionState): void {
    // What has gone stays gone, whatever its load was about to say.
    if (entry.phase === "gone") return;
    entry.phase = phase;
    entry.view = { ...entry.view, state };
  }

  /**
   * A version runs on this runtime now, for these reasons. What else was noted of it when it was tried still holds.
   *
   * @returns the runtime that it had before; undefined when that is the same or the version is not ready
   */
  runsOn(entry: Entry, runtime: RuntimeName, reasons: readonly string[]): RuntimeName | undefined {
    const { state } = entry.view;
    if (state.kind !== "ready" || state.runtime === runtime) return undefined;
    const isReason = (note: string): boolean => RUNTIMES.some((name) => note.startsWith(`${name}: `));
    const others = state.notes.filter((note) => !isReason(note) && !reasons.includes(note));
    this.move(entry, entry.phase, { kind: "ready", runtime, notes: [...reasons, ...others] });
    return state.runtime;
  }

  /**
   * What should change in memory: the one version of each model to load next, and those to retire. The newest
   * versions count first, so that a model has its latest soonest; models that serve nothing yet come first.
   */
  plan(): { readonly load: readonly Entry[]; readonly retire: readonly Entry[] } {
    const urgent: Entry[] = [];
    const load: Entry[] = [];
    const retire: Entry[] = [];
    for (const row of this.#rows.values()) {
      // One at a time: how a load ends decides which comes next.
      if (row.some((entry) => entry.phase === "loading")) continue;
      let served = 0;
      for (const entry of row) {
        const isOut = entry.phase === "waiting" || entry.phase === "retired";
        if (served === VERSIONS_SERVED_MAX) {
          if (entry.phase === "ready" || entry.phase === "waiting") retire.push(entry);
        } else if (isOut) {
          if (entry.backbone && !isSettled(entry.backbone)) break;
          (row.some((other) => other.phase === "ready") ? load : urgent).push(entry);
          break;
        } else if (entry.phase === "ready") served++;
      }
    }
    return { load: [...urgent, ...load], retire };
  }

  #row(owner: string, name: string): Row {
    return this.#rows.get(`${owner}/${name}`) ?? [];
  }
}

/** Whether a load has ended, in whichever way, and none is about to begin. */
export function isSettled({ phase }: Entry): boolean {
  return phase !== "waiting" && phase !== "loading";
}

function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
