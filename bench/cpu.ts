/**
 * CPU time of a process and of all that it started, from Linux's /proc: user and system time, every thread included,
 * and of a child that has ended too, once its parent has waited for it.
 */
import { readdirSync, readFileSync } from "node:fs";

/** Ticks are 1/100 s on every Linux that Node runs on (USER_HZ), whatever the kernel's own tick is. */
const MICROS_PER_TICK = 10_000;

interface Stat {
  readonly parent: number;
  readonly micros: number;
  /** Of its children that have ended, and theirs. */
  readonly endedMicros: number;
}

function readStat(pid: string): Stat | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name, in parentheses, may hold blanks; after it comes field 3 of proc(5).
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    const [user = 0, system = 0, endedUser = 0, endedSystem = 0] = fields.slice(11, 15).map(Number);
    return {
      parent: Number(fields[1]),
      micros: (user + system) * MICROS_PER_TICK,
      endedMicros: (endedUser + endedSystem) * MICROS_PER_TICK,
    };
  } catch {
    // It ended between the listing and the reading.
    return undefined;
  }
}

export interface CpuTime {
  /** The process itself, microseconds. */
  readonly own: number;
  /** Its descendants together. */
  readonly children: number;
}

/** Undefined where there is no /proc. */
export function cpuTime(pid: number): CpuTime | undefined {
  const own = readStat(String(pid));
  if (!own) return undefined;
  const stats = new Map<number, Stat>();
  for (const name of readdirSync("/proc")) {
    const stat = /^\d+$/.test(name) ? readStat(name) : undefined;
    if (stat) stats.set(Number(name), stat);
  }
  let children = own.endedMicros;
  for (const [id, stat] of stats) if (descends(id, pid, stats)) children += stat.micros + stat.endedMicros;
  return { own: own.micros, children };
}

function descends(pid: number, ancestor: number, stats: ReadonlyMap<number, Stat>): boolean {
  for (let at = stats.get(pid)?.parent; at !== undefined && at > 0; at = stats.get(at)?.parent) {
    if (at === ancestor) return true;
  }
  return false;
}
