/**
 * The fuzzer's native part is built for glibc 2.38 and libstdc++ of GCC 13, of which it needs three functions that
 * older systems have by other names. There they are put beside it, and it is told that it can do without the versions.
 */
import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

/** C23's readers of numbers differ from the earlier ones in `0b…` alone; the last one's work is done by the library's own start. */
const SUBSTITUTES = `#include <stdlib.h>
long __isoc23_strtol(const char *t, char **e, int b) { return strtol(t, e, b); }
unsigned long __isoc23_strtoul(const char *t, char **e, int b) { return strtoul(t, e, b); }
void _ZSt21ios_base_library_initv(void) {}
`;
const NEWER = /^(?:GLIBC_2\.38|GLIBCXX_3\.4\.32)$/;
/** ELF: the section of needed versions, and the flag of one that may be missing (`man 5 elf`, LSB 10.7). */
const SHT_GNU_VERNEED = 0x6ffffffe;
const VER_FLG_WEAK = 2;

const exec = promisify(execFile);

/** @returns what to start Node with: nothing where the native part loads as it is */
export async function bridgeOldGlibc(
  packageFolder: string,
  workFolder: string,
): Promise<Readonly<Record<string, string>>> {
  if (process.platform !== "linux") return {};
  const binary = join(packageFolder, "prebuilds", `fuzzer-linux-${process.arch}.node`);
  // All symbols at once: bound when they are first called, a missing one would end the process then.
  const now = "require('node:os').constants.dlopen.RTLD_NOW";
  const load = ["-e", `process.dlopen({ exports: {} }, ${JSON.stringify(binary)}, ${now})`];
  const loads = (env: object): Promise<boolean> =>
    exec(process.execPath, load, { env: { ...process.env, ...env } }).then(
      () => true,
      (error: Error) => {
        if (/version `GLIBC|undefined symbol: (?:__isoc23|_ZSt21)/.test(error.message)) return false;
        throw error;
      },
    );
  if (await loads({})) return {};
  const source = join(workFolder, "substitutes.c");
  const library = join(workFolder, "substitutes.so");
  await writeFile(source, SUBSTITUTES);
  await exec(process.env.CC ?? "cc", ["-shared", "-fPIC", "-o", library, source]);
  const elf = await readFile(binary);
  weaken(elf);
  await writeFile(binary, elf);
  const env = { LD_PRELOAD: library };
  if (!(await loads(env))) throw new Error(`${binary} does not load on this system`);
  return env;
}

/** Marks the needed versions that are newer as such that may be missing. */
function weaken(elf: Buffer): void {
  const [sections, size, count] = [
    Number(elf.readBigUInt64LE(40)),
    elf.readUInt16LE(58),
    elf.readUInt16LE(60),
  ];
  const section = (index: number) => sections + index * size;
  const offsetOf = (at: number) => Number(elf.readBigUInt64LE(at + 24));
  for (let i = 0; i < count; i++) {
    const at = section(i);
    if (elf.readUInt32LE(at + 4) !== SHT_GNU_VERNEED) continue;
    const names = offsetOf(section(elf.readUInt32LE(at + 40)));
    for (let need = offsetOf(at), next = -1; next !== 0; need += next) {
      let version = need + elf.readUInt32LE(need + 8);
      for (let left = elf.readUInt16LE(need + 2); left > 0; left--) {
        const name = names + elf.readUInt32LE(version + 8);
        if (NEWER.test(elf.toString("latin1", name, elf.indexOf(0, name))))
          elf.writeUInt16LE(VER_FLG_WEAK, version + 4);
        version += elf.readUInt32LE(version + 12);
      }
      next = elf.readUInt32LE(need + 12);
    }
  }
}
