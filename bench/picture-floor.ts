/**
 * The floor for pictures: the engine's own decoding and inference in a loop, with nothing around them: no wire, no
 * queue, no database. As many processes as a server has workers, and this one above them, which only counts.
 *
 * It speaks only over its IPC channel (fork with `serialization: "advanced"`) and ends with it.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { MANIFEST_FILE, readManifest } from "../src/engine/manifest.ts";
import { createRuntimes } from "../src/engine/worker/runtimes.ts";
import { openVersion } from "../src/engine/worker/version.ts";
import type { LoadReply, LoadResult } from "./load.ts";
import { percentile } from "./statistics.ts";

/** One round. */
export interface PictureOrder {
  readonly folder: string;
  readonly image: Uint8Array;
  /** Pictures decoded side by side and then run as one batch. */
  readonly batch: number;
  readonly seconds: number;
}

const MAX_PIXELS = 50_000_000;
const LOOP = "loop";

interface Loop {
  run(order: PictureOrder): Promise<readonly number[]>;
}

/** Answers the time of each batch, microseconds, until the time is up. */
function createLoop(): Loop {
  let loading: ReturnType<typeof load> | undefined;
  return {
    async run({ folder, image, batch, seconds }) {
      loading ??= load(folder);
      const version = await loading;
      const items = Array.from({ length: batch }, () => ({ image, topK: 5, minScore: 0 }));
      const times: number[] = [];
      const until = performance.now() + seconds * 1000;
      for (let began = performance.now(); began < until; ) {
        const outcomes = await version.runPictures(items);
        if (!outcomes.every(({ ok }) => ok)) throw new Error("a picture of the floor failed");
        const ended = performance.now();
        times.push((ended - began) * 1000);
        began = ended;
      }
      return times;
    },
  };
}

async function load(folder: string) {
  const manifest = readManifest(await readFile(join(folder, MANIFEST_FILE), "utf8"));
  const choice = await createRuntimes(1).load(folder, manifest, null);
  return openVersion(choice, { folder, manifest, known: null }, MAX_PIXELS);
}

function startLoops(count: number): (order: PictureOrder) => Promise<LoadResult> {
  const children = Array.from({ length: count }, () =>
    fork(import.meta.filename, [LOOP], { serialization: "advanced" }),
  );
  return async (order) => {
    const began = performance.now();
    const times = (await Promise.all(children.map((child) => timesOf(child, order)))).flat();
    const ascending = times.toSorted((a, b) => a - b);
    return {
      requests: times.length * order.batch,
      seconds: (performance.now() - began) / 1000,
      p50: percentile(ascending, 0.5),
      p95: percentile(ascending, 0.95),
      p99: percentile(ascending, 0.99),
      cpuMicros: 0,
      checked: times.length * order.batch,
      response: new Uint8Array(),
    };
  };
}

async function timesOf(child: ChildProcess, order: PictureOrder): Promise<readonly number[]> {
  child.send(order);
  const [times] = (await once(child, "message")) as [readonly number[]];
  return times;
}

process.on("disconnect", () => process.exit(0));
if (process.argv[2] === LOOP) {
  const loop = createLoop();
  process.on("message", async (order: PictureOrder) => void process.send?.(await loop.run(order)));
} else {
  const run = startLoops(Number(process.argv[2]));
  process.on("message", (order: PictureOrder) => {
    const reply = (message: LoadReply): void => void process.send?.(message);
    run(order).then(
      (result) => reply({ kind: "result", result }),
      (error: unknown) => reply({ kind: "error", message: String(error) }),
    );
  });
}
