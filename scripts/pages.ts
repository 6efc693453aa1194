/** The pages of the docs that are made of the code: `npm run generate` writes them, `npm run check` compares. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { coveragePage } from "./coverage.ts";
import { faultsPage } from "./faults.ts";
import { limitsPage } from "./limits.ts";

const DOCS = join(import.meta.dirname, "..", "docs");

const PAGES: Readonly<Record<string, () => string | Promise<string>>> = {
  "coverage.md": coveragePage,
  "faults.md": faultsPage,
  "limits.md": limitsPage,
};

/** "" when all are as the code says. */
export async function stalePages(): Promise<string> {
  const stale: string[] = [];
  for (const [name, render] of Object.entries(PAGES)) {
    const committed = await readFile(join(DOCS, name), "utf8").catch(() => "");
    if (committed !== (await render())) stale.push(`docs/${name} differs: run npm run generate`);
  }
  return stale.join("\n");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [name, render] of Object.entries(PAGES)) await writeFile(join(DOCS, name), await render());
}
