/** `npm run models`: the catalogue of pretrained models. */
import { join } from "node:path";
import { runCommand } from "../catalog/command.ts";
import { npmClient } from "./npm-client.ts";

process.exitCode = await runCommand(process.argv.slice(2), {
  catalogueDir: join(import.meta.dirname, "..", "catalog"),
  npm: npmClient(process.env),
  out: process.stdout,
  signal: new AbortController().signal,
});
