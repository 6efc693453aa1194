/**
 * npm's `postinstall`, in plain JavaScript because the machine's own Node may be too old for the rest: finds the
 * Node that came from the registry, sees to it that npm's scripts find it too, and runs postinstall.ts with it.
 *
 * The packages that bring Node, one for each platform, all have a command `node`; npm 10 (10.9) removes the command
 * together with the packages of the other platforms, and this puts it back. One process does both, since a shell
 * that found the old `node` once remembers where.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const modules = fileURLToPath(new URL("../node_modules", import.meta.url));
const link = join(modules, ".bin", "node");

const bundled = readdirSync(modules)
  .filter((name) => /^node-(bin-)?(linux|darwin|win)-/.test(name))
  .map((name) => join(name, "bin", name.startsWith("node-win") ? "node.exe" : "node"))
  .find((path) => existsSync(join(modules, path)));

if (bundled !== undefined && !existsSync(link) && process.platform !== "win32") {
  mkdirSync(join(modules, ".bin"), { recursive: true });
  // Something may be there that leads nowhere.
  rmSync(link, { force: true });
  symlinkSync(join("..", bundled), link);
}

// 22.18 is the first that runs TypeScript sources as they are.
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
if (bundled === undefined && (major < 22 || (major === 22 && minor < 18))) {
  console.error(
    `Auspex needs Node 22.18 or later. This machine has ${process.version}, and none came with the install for ` +
      `${process.platform}-${process.arch} (was it run with --omit=optional?). Install Node 24 and try again.`,
  );
  process.exitCode = 1;
} else {
  const node = bundled === undefined ? process.execPath : join(modules, bundled);
  const postinstall = fileURLToPath(new URL("postinstall.ts", import.meta.url));
  process.exitCode = spawnSync(node, [postinstall], { stdio: "inherit" }).status ?? 1;
}
