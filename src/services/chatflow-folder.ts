/**
 * Chatflows that are files: `<data>/chatflows/<id>.json`, read at the start and again whenever one changes. A new file
 * makes a flow, a changed one its next version, a removed one deletes it. A file that is wrong is told in the log, and
 * the flow stays as it was.
 */
import { mkdir, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { Chatflow } from "../domain/chatflow.ts";
import { AuspexError } from "../domain/error.ts";
import { NAME_PART } from "../domain/model.ts";
import type { EngineLog } from "../engine/engine.ts";
import { watchFolder } from "../engine/folder-watch.ts";
import type { ChatflowStore, PassageStore } from "../store/chatflow-store.ts";
import { refuseOtherEmbeddings } from "./chatflow.ts";
import {
  type ChatflowFile,
  type ChatflowFileContext,
  ChatflowFileError,
  readChatflowFile,
} from "./chatflow-file.ts";

export interface ChatflowFolder {
  /** The first look. */
  load(): Promise<void>;
  /** Looks again whenever something changes. */
  start(): void;
  /** Resolves when no look runs any more. */
  close(): Promise<void>;
}

export interface ChatflowFolderOptions {
  readonly folder: string;
  readonly flows: ChatflowStore;
  readonly passages: Pick<PassageStore, "count">;
  readonly context: ChatflowFileContext;
  /** Microseconds since the epoch. */
  readonly now: () => number;
  readonly log: EngineLog;
}

const SUFFIX = ".json";
/** Microseconds that a file must be gone: its flow's documents and messages go with it, and editors write files anew. */
const GONE_FOR = 1_000_000;

/** What a look has found. */
interface Seen {
  /** Changes with the file's contents. */
  readonly stamp: string;
  /** As it was logged; "" for a file that is right. */
  readonly complaint: string;
}

export function createChatflowFolder(options: ChatflowFolderOptions): ChatflowFolder {
  const { folder, flows, passages, context, now, log } = options;
  const seen = new Map<string, Seen>();
  /** Ids of flows that are files', and since when their file is missing (undefined: it is there). */
  let known: Map<string, number | undefined> | undefined;
  let looking: Promise<void> = Promise.resolve();
  /** What was logged of the last look, "" after one that went well. */
  let trouble = "";
  let stopWatching = () => {};

  async function create(id: string, { name, principal, definition }: ChatflowFile): Promise<Chatflow> {
    const createdAt = now();
    const times = { createdAt, updatedAt: createdAt };
    const flow: Chatflow = {
      id,
      principal,
      name,
      version: 1,
      definition,
      keys: [],
      fromFile: true,
      ...times,
    };
    if (!(await flows.create(flow))) throw new Error("somebody else has made it");
    return flow;
  }

  async function update(flow: Chatflow, { name, principal, definition }: ChatflowFile): Promise<Chatflow> {
    if (!flow.fromFile)
      throw new ChatflowFileError([`chatflow ${flow.id} is there already, and not from a file`]);
    if (flow.principal !== principal) {
      const complaint = `principal: the flow is ${flow.principal}'s; remove the file before it becomes another's`;
      throw new ChatflowFileError([complaint]);
    }
    if (flow.name === name && isDeepStrictEqual(flow.definition, definition)) return flow;
    await refuseOtherEmbeddings(flow, definition, passages);
    const updated = await flows.update({ id: flow.id, name, definition, ifVersion: 0, updatedAt: now() });
    if (!updated) throw new Error("it was deleted meanwhile");
    return updated;
  }

  /** Takes one file up; answers the complaint, "" for none. */
  async function take(id: string, path: string): Promise<string> {
    try {
      const file = await readChatflowFile(path, context);
      const before = await flows.get(id);
      const flow = before ? await update(before, file) : await create(id, file);
      known?.set(id, undefined);
      if (flow !== before) log.info({ chatflow: id, version: flow.version }, "chatflow loaded from its file");
      return "";
    } catch (error) {
      const expected = error instanceof ChatflowFileError || error instanceof AuspexError;
      const complaint = error instanceof Error ? error.message : String(error);
      if (seen.get(id)?.complaint !== complaint) {
        const complaints = error instanceof ChatflowFileError ? error.complaints : [complaint];
        const fields = { file: path, complaints, ...(!expected && { err: error }) };
        log.error(fields, "a chatflow's file is wrong; the flow stays as it was");
      }
      return complaint;
    }
  }

  async function stampOf(path: string): Promise<string | undefined> {
    try {
      const { mtimeMs, ctimeMs, size, ino } = await stat(path);
      return [mtimeMs, ctimeMs, size, ino].join(" ");
    } catch {
      // Gone between the listing and here.
      return undefined;
    }
  }

  /** Flows whose file has been missing for a while. */
  async function deleteGone(there: ReadonlySet<string>): Promise<void> {
    for (const [id, since] of known ?? []) {
      if (there.has(id)) known?.set(id, undefined);
      else if (since === undefined) known?.set(id, now());
      else if (now() - since >= GONE_FOR) {
        await flows.delete(id);
        known?.delete(id);
        log.info({ chatflow: id }, "chatflow deleted: its file is gone");
      }
    }
  }

  async function look(): Promise<void> {
    known ??= new Map((await flows.fromFiles()).map(({ id }) => [id, undefined]));
    const there = new Set<string>();
    for (const entry of await readdir(folder)) {
      const id = entry.slice(0, -SUFFIX.length);
      // Editors leave files of other names beside it.
      if (!entry.endsWith(SUFFIX) || entry.startsWith(".")) continue;
      const path = join(folder, entry);
      const stamp = await stampOf(path);
      if (stamp === undefined) continue;
      there.add(id);
      const last = seen.get(id);
      // What was wrong may be right now without a change of the file: its model has come.
      if (last?.stamp === stamp && last.complaint === "") continue;
      if (NAME_PART.test(id)) seen.set(id, { stamp, complaint: await take(id, path) });
      else if (!last) {
        seen.set(id, { stamp, complaint: "" });
        log.error(
          { file: path },
          `a chatflow's file must be named <id>${SUFFIX}, of a-z, 0-9, '-', '_' and '.'`,
        );
      }
    }
    for (const id of seen.keys()) if (!there.has(id)) seen.delete(id);
    await deleteGone(there);
  }

  /** Never rejects: a folder that cannot be read now may be next time. */
  function lookSafely(): Promise<void> {
    looking = look().then(
      () => {
        trouble = "";
      },
      (error: unknown) => {
        const message = error instanceof Error ? error.message : String(error);
        if (message !== trouble)
          log.error({ err: error, folder }, "the folder of chatflows could not be read");
        trouble = message;
      },
    );
    return looking;
  }

  return {
    async load() {
      try {
        await mkdir(folder, { recursive: true });
      } catch (error) {
        log.error({ err: error, folder }, "the folder of chatflows could not be made");
      }
      await lookSafely();
    },
    start() {
      stopWatching = watchFolder(folder, lookSafely, log, { recursive: false });
    },
    async close() {
      stopWatching();
      await looking;
    },
  };
}
