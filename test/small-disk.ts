/** A disk that a test can fill: a file system in memory, seen by the server alone. Linux, where users may mount. */
import { spawnSync } from "node:child_process";
import { statfsSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { seenBy } from "./processes.ts";

const NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"] as const;

/** Whether this machine lets a process have mounts of its own. */
export const CAN_MOUNT =
  spawnSync(NAMESPACE[0], [...NAMESPACE.slice(1), "mount", "-t", "tmpfs", "none", "/mnt"]).status === 0;

/** A launcher (see ServerOptions) under which the folder is a disk of so many bytes. */
export function onSmallDisk(folder: string, bytes: number, options = ""): readonly string[] {
  const mount = `mount -t tmpfs -o size=${bytes}${options} none "$0" && exec "$@"`;
  return [...NAMESPACE, "sh", "-c", mount, folder];
}

const FILLER = "filler";

/** Takes what is left of the disk, but for so many bytes. */
export function fillDisk(pid: number, folder: string, leave: number): void {
  const { bavail, bsize } = statfsSync(seenBy(pid, folder));
  try {
    writeFileSync(join(seenBy(pid, folder), FILLER), Buffer.alloc(Math.max(0, bavail * bsize - leave)), {
      flag: "a",
    });
  } catch (error) {
    // It filled up on the way, which is what was wanted.
    if (!(error instanceof Error && "code" in error && error.code === "ENOSPC")) throw error;
  }
}

export async function emptyDisk(pid: number, folder: string): Promise<void> {
  await rm(join(seenBy(pid, folder), FILLER), { force: true });
}
