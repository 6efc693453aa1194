/** What the operating system knows of a process: its children, and signals to them. Linux; elsewhere nothing. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Process ids whose parent is `pid`: a server's workers. */
export function childrenOf(pid: number): number[] {
  if (!existsSync("/proc/self/stat")) return [];
  return readdirSync("/proc").flatMap((name) => {
    if (!/^[0-9]+$/.test(name)) return [];
    try {
      // The command in field 2 may hold blanks; what follows its closing bracket is: state, parent, …
      const [state, parent] = readFileSync(`/proc/${name}/stat`, "utf8")
        .replace(/^.*\) /s, "")
        .split(" ");
      // One that has ended stays a child until its parent takes notice.
      return Number(parent) === pid && state !== "Z" ? [Number(name)] : [];
    } catch {
      return [];
    }
  });
}

/** Lets processes stand still until they are resumed. Throws when one of them has ended. */
export function suspend(pids: readonly number[]): void {
  for (const pid of pids) process.kill(pid, "SIGSTOP");
}

/**
 * Lets processes that were suspended run on; those that have ended meanwhile are past it (a server puts an end to a
 * worker that stands still when nobody waits for its batch any more).
 */
export function resume(pids: readonly number[]): void {
  for (const pid of pids) if (isAlive(pid)) process.kill(pid, "SIGCONT");
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Resident bytes. */
export function residentBytes(pid: number): number {
  const pages = Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1]);
  return pages * 4096;
}

/** An absolute path as the process sees it, which may have mounts of its own. */
export function seenBy(pid: number, path: string): string {
  const seen = join("/proc", String(pid), "root", path);
  return existsSync(seen) ? seen : path;
}
