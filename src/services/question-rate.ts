/** How many questions a caller may ask a chatflow in a time. */
import { isIPv6 } from "node:net";
import type { Chatflow, ChatRateLimit } from "../domain/chatflow.ts";
import { AuspexError } from "../domain/error.ts";

export interface QuestionRate {
  /**
   * Takes one question of the caller's, or throws `resource_exhausted` in the flow's words.
   *
   * @param address of the caller; all of whom none is known are one caller
   */
  take(flow: Pick<Chatflow, "id">, limit: ChatRateLimit, address: string | undefined): void;
}

/** From the first question on, until its period is over. */
interface Window {
  readonly endMs: number;
  readonly taken: number;
}

/** Callers that are remembered; some 200 bytes each. Past it the oldest is forgotten, and may begin anew. */
export const CALLERS_MAX = 100_000;

/** @param nowMs a clock in milliseconds */
export function createQuestionRate(nowMs: () => number): QuestionRate {
  /** In the order of their beginning. */
  const windows = new Map<string, Window>();

  const dropOldest = (now: number) => {
    // Two a call: more leave than can come. Periods differ by flow, so one that is over may lie behind another.
    for (let i = 0; i < 2; i += 1) {
      const [oldest] = windows;
      if (!oldest || (oldest[1].endMs > now && windows.size < CALLERS_MAX)) return;
      windows.delete(oldest[0]);
    }
  };

  return {
    take({ id }, { questions, periodMs, refusal }, address) {
      const now = nowMs();
      const caller = `${id} ${callerOf(address)}`;
      const last = windows.get(caller);
      if (last && last.endMs > now) {
        if (last.taken >= questions) {
          const text = refusal || "too many questions; ask again later";
          throw new AuspexError("resource_exhausted", text, { retryAfterMs: Math.ceil(last.endMs - now) });
        }
        windows.set(caller, { ...last, taken: last.taken + 1 });
        return;
      }
      windows.delete(caller);
      dropOldest(now);
      windows.set(caller, { endMs: now + periodMs, taken: 1 });
    },
  };
}

/** Whoever has one IPv6 address has a whole /64 of them. */
function callerOf(address = ""): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined || !isIPv6(address)) return mapped ?? address;
  const [head = "", tail] = address.replace(/%.*$/, "").split("::");
  const groups = head === "" ? [] : head.split(":");
  const rest = tail === undefined || tail === "" ? 0 : tail.split(":").length;
  const zeros = tail === undefined ? 0 : 8 - groups.length - rest;
  const all = [...groups, ...Array<string>(Math.max(0, zeros)).fill("0"), ...(tail?.split(":") ?? [])];
  return `${all
    .slice(0, 4)
    .map((group) => Number.parseInt(group || "0", 16).toString(16))
    .join(":")}::/64`;
}
