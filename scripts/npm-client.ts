/** The npm client that runs us, as it tells its scripts; `npm` on the PATH otherwise. */
import type { NpmClient } from "../catalog/archive.ts";

export function npmClient(env: Readonly<Record<string, string | undefined>>): NpmClient {
  const cli = env.npm_execpath;
  return { cli: cli?.endsWith("npm-cli.js") ? cli : undefined, cacheDir: env.npm_config_cache };
}
