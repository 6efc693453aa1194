/** Who makes a history: sequential callers, each of one door, that go on through whatever befalls the server. */
import { setTimeout as sleep } from "node:timers/promises";
import type { TestServer } from "../harness.ts";
import type { Event, History, Operation, Refused } from "./history.ts";

/** Where the server is now; while it is down, the last place where it was. */
export interface Target {
  readonly server: TestServer;
}

export interface Scene {
  readonly target: Target;
  readonly history: History;
  /** 0 ≤ x < 1, from the run's seed. */
  readonly random: () => number;
  /** Inputs of the run, by number; see `Expected`. */
  readonly inputs: readonly Float32Array[];
  readonly pictures: readonly Uint8Array[];
  /** `owner/name` of the model of the inputs, and of that of the pictures. */
  readonly model: string;
  readonly pictureModel: string;
  /** A chatflow's id, and what it is asked. */
  readonly chatflow: string;
  readonly questions: readonly string[];
  /** Where webhooks go; undefined for none. */
  readonly webhook: string | undefined;
}

export interface Actor {
  readonly client: string;
  readonly door: string;
  /** One thing that a caller of this door does from beginning to end. Never rejects for what the server does. */
  act(): Promise<void>;
}

/** A number below `count`. */
export function pick(random: () => number, count: number): number {
  return Math.floor(random() * count);
}

/** mulberry32: small, and the same everywhere. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

interface Attempt<T> {
  readonly operation: Operation;
  readonly requestId?: string;
  /** What was refused, as gRPC names it. */
  readonly codeOf: (error: unknown) => string;
  readonly call: () => Promise<T>;
}

/**
 * Before a caller tries again where nobody answered. Fourteen of them that try at once, over and over, take more of the
 * processor than the server's start, which they wait for.
 */
const AWAY_MS = 50;

/** What an answer shows besides whom it was given and when. */
export type Telling<T> = (answer: T, times: Pick<Refused, "began" | "ended">) => Event | undefined;

/** Makes one call and records what came of it; undefined when it was refused. */
export async function recorded<T>(
  { history }: Pick<Scene, "history">,
  { client, door }: Pick<Actor, "client" | "door">,
  { operation, requestId = "", codeOf, call }: Attempt<T>,
  tell: Telling<T>,
): Promise<T | undefined> {
  const began = history.now();
  try {
    const answer = await call();
    const event = tell(answer, { began, ended: history.now() });
    if (event) history.record(event);
    return answer;
  } catch (error) {
    const ended = history.now();
    const code = codeOf(error);
    history.record({ kind: "refused", client, door, operation, began, ended, code, requestId });
    if (code === "unreachable") await sleep(AWAY_MS);
    return undefined;
  }
}

/** Lets every actor act, one thing after another, until it is over. */
export async function play(actors: readonly Actor[], over: AbortSignal): Promise<void> {
  await Promise.all(
    actors.map(async (actor) => {
      while (!over.aborted) {
        await actor.act();
        // A server that refuses does so at once: others want to run as well.
        await sleep(1);
      }
    }),
  );
}
