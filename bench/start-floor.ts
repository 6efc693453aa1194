/**
 * The floor for a start: a bare process that loads models on the runtimes that the server takes for them, says so and
 * ends. No server around it, no check of what it loaded.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { MANIFEST_FILE, readManifest } from "../src/engine/manifest.ts";
import { createRuntimes } from "../src/engine/worker/runtimes.ts";

const runtimes = createRuntimes(1);
for (const folder of process.argv.slice(2)) {
  const manifest = readManifest(await readFile(join(folder, MANIFEST_FILE), "utf8"));
  await runtimes.load(folder, manifest, null);
}
// Some runtimes keep a process alive.
process.exit(0);
