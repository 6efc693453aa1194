/**
 * The catalogue's entries: `catalog/<owner>/<name>.json`, one pretrained model each. An entry is data: where the
 * weights come from, pinned by hash, which files of the archive are the model's, and the `auspex.json` to write.
 * A change to an entry that changes what the model answers takes a higher `version`.
 */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { Ajv2020 } from "ajv/dist/2020.js";
import { NAME_PART } from "../src/domain/model.ts";
import type { JsonObject } from "../src/domain/payload.ts";
import { MODEL_FILE_NAME } from "../src/engine/manifest.ts";

/** A gzipped tar file. */
export interface Archive {
  readonly from: Source;
  /** Subresource Integrity of the archive file: `sha512-` and base64. */
  readonly integrity: string;
  /** Its size. */
  readonly bytes: number;
}

export type Source =
  /** Fetched by the npm client, from whatever registry it is set up for; never installed, no script run. */
  | { readonly kind: "npm"; readonly spec: string }
  | { readonly kind: "https"; readonly url: URL }
  | { readonly kind: "file"; readonly url: URL };

export interface Entry {
  /** `owner/name`. */
  readonly model: string;
  readonly version: number;
  /** Pulled by `npm ci`. */
  readonly isDefault: boolean;
  readonly archive: Archive;
  /** Where in the archive the files lie. */
  readonly folder: string;
  readonly files: readonly ArchiveFile[];
  /** Where `labels` come from when the manifest has none. */
  readonly labels: LabelSource | null;
  /** The `auspex.json` to write, without what is taken from elsewhere. */
  readonly manifest: JsonObject;
}

export interface ArchiveFile {
  /** Path in the entry's folder of the archive. */
  readonly from: string;
  /** Name in the model folder. */
  readonly to: string;
}

export interface LabelSource {
  readonly archive: Archive;
  /** Path in the archive. */
  readonly file: string;
  /** Labels that come before those of the file; "" for a class that is never reported. */
  readonly before: readonly string[];
}

/** Bytes of an archive: what a person would still wait for, and a bound on what a wrong source can cost. */
const ARCHIVE_BYTES_MAX = 2 * 1024 ** 3;

interface ArchiveText {
  readonly from: string;
  readonly integrity: string;
  readonly bytes: number;
}

interface EntryText {
  readonly version: number;
  readonly default?: boolean;
  readonly archive: ArchiveText;
  readonly folder: string;
  /** A name that is the same on both sides, or what a file is renamed from and to. */
  readonly files: readonly (string | ArchiveFile)[];
  readonly labels?: {
    readonly archive: ArchiveText;
    readonly file: string;
    readonly before?: readonly string[];
  };
  readonly manifest: JsonObject;
}

const ajv = new Ajv2020({ allErrors: true });

const archiveSchema = {
  type: "object",
  required: ["from", "integrity", "bytes"],
  properties: {
    from: {
      type: "string",
      pattern: "^(npm:(@[a-z0-9._-]+/)?[a-z0-9._-]+@[0-9][A-Za-z0-9.+-]*|https://.+|file:.+)$",
    },
    integrity: { type: "string", pattern: "^sha512-[A-Za-z0-9+/]{86}==$" },
    bytes: { type: "integer", minimum: 1, maximum: ARCHIVE_BYTES_MAX },
  },
  additionalProperties: false,
};

const fileName = { type: "string", pattern: "^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$" };
const filePath = { type: "string", pattern: MODEL_FILE_NAME.source };

const matches = ajv.compile<EntryText>({
  type: "object",
  required: ["version", "archive", "folder", "files", "manifest"],
  properties: {
    version: { type: "integer", minimum: 1 },
    default: { type: "boolean" },
    archive: archiveSchema,
    folder: { type: "string" },
    files: {
      type: "array",
      minItems: 1,
      maxItems: 1000,
      uniqueItems: true,
      items: {
        anyOf: [
          fileName,
          {
            type: "object",
            required: ["from", "to"],
            properties: { from: filePath, to: fileName },
            additionalProperties: false,
          },
        ],
      },
    },
    labels: {
      type: "object",
      required: ["archive", "file"],
      properties: {
        archive: archiveSchema,
        file: { type: "string" },
        before: { type: "array", items: { type: "string" } },
      },
      additionalProperties: false,
    },
    manifest: { type: "object" },
  },
  additionalProperties: false,
});

/** Every entry of a catalogue folder, ordered by model. Rejects with all that is wrong with the first bad one. */
export async function readCatalogue(folder: string): Promise<Entry[]> {
  const entries: Entry[] = [];
  const owners = await readdir(folder, { withFileTypes: true });
  for (const owner of owners.filter((item) => item.isDirectory() && NAME_PART.test(item.name))) {
    for (const file of await readdir(join(folder, owner.name))) {
      if (file.endsWith(".json")) entries.push(await readEntry(folder, `${owner.name}/${file.slice(0, -5)}`));
    }
  }
  return entries.sort((a, b) => (a.model < b.model ? -1 : 1));
}

async function readEntry(folder: string, model: string): Promise<Entry> {
  const path = join(folder, `${model}.json`);
  const value: unknown = JSON.parse(await readFile(path, "utf8"));
  if (!matches(value)) {
    throw new Error(
      `${model}.json: ${ajv.errorsText(matches.errors, { dataVar: "entry", separator: "; " })}`,
    );
  }
  const archive = ({ from, ...rest }: ArchiveText): Archive => ({ ...rest, from: source(from, path) });
  const { labels } = value;
  return {
    model,
    version: value.version,
    isDefault: value.default ?? false,
    archive: archive(value.archive),
    folder: value.folder,
    files: value.files.map((file) => (typeof file === "string" ? { from: file, to: file } : file)),
    labels: labels ? { before: [], ...labels, archive: archive(labels.archive) } : null,
    manifest: value.manifest,
  };
}

/** A `file:` source is found from the entry's own file. */
function source(from: string, path: string): Source {
  if (from.startsWith("npm:")) return { kind: "npm", spec: from.slice("npm:".length) };
  if (from.startsWith("https:")) return { kind: "https", url: new URL(from) };
  return { kind: "file", url: new URL(from.slice("file:".length), pathToFileURL(path)) };
}

/** The source as it is written in an entry. */
export function sourceText(from: Source): string {
  return from.kind === "npm" ? `npm:${from.spec}` : from.url.href;
}
