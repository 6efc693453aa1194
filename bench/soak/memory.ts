/**
 * Whether memory stays flat: a model version is published and deleted again and again, then pictures are classified
 * for minutes. Resident bytes, threads and open files of the server and of each of its workers are read while nothing
 * runs, before and after. By itself `node bench/soak/memory.ts --cycles 200 --minutes 10`.
 */
import { readdirSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { create, toBinary } from "@bufbuild/protobuf";
import { ModelService } from "../../gen/auspex/v1/model_pb.ts";
import { CreatePredictionRequestSchema } from "../../gen/auspex/v1/prediction_pb.ts";
import { clientOf, photograph, startServer, type TestServer } from "../../test/harness.ts";
import { childrenOf, residentBytes } from "../../test/processes.ts";
import { type Generator, startGenerator } from "../rounds.ts";
import { CREATE_PATH } from "../rows/mlp-create.ts";

const MODEL = "auspex/mobilenet";
const FOLDER = join(import.meta.dirname, "..", "..", "catalog", ".cache", "auspex", "mobilenet-tiny", "1");
const WORKERS = 2;
const IN_FLIGHT = 16;
const MIB = 1024 ** 2;

/**
 * As many cycles, and as many seconds of pictures, go before the first reading: pools fill up, code is compiled, and the
 * allocators come by the pieces that they keep. A worker alone had 176 MiB after one load and unload, 209 after 50, and
 * 213 to 217 from then to 300.
 */
const WARM_UP = { cycles: 100, seconds: 180 } as const;
/** Nothing is asked of the server for so long before a reading, in which V8 collects garbage as it does when idle. */
const REST_MS = 20_000;
/**
 * The server's own collects all of it before a reading. Pictures wait outside of V8's heap for its next collection, some
 * 60 MiB of them by turns; and V8 keeps pages that it freed, of which one has seen use after the other: 40 MiB more over
 * 85,000 pictures, with nothing alive in them. Neither is growth, and either would be read as such.
 */
const COLLECTING = [
  "--expose-gc",
  "--import",
  join(import.meta.dirname, "..", "..", "test", "collect-garbage.ts"),
];
/** The least of so many counts. */
const READINGS = 10;

/**
 * What a process may grow by. The allocators keep what they once had in pieces, and so the floor moves by some MiB from
 * one rest to the next; a model of 2 MB that stayed behind would be 400 MB after 200 cycles, a picture of 600 KB that
 * did would be gigabytes after ten minutes.
 */
const GROWTH_MAX_BYTES = { cycles: 32 * MIB, pictures: 32 * MIB } as const;
/** Threads and files that come and go by themselves, such as a connection's. */
const COUNT_GROWTH_MAX = 4;

interface Reading {
  readonly pid: number;
  readonly bytes: number;
  readonly threads: number;
  readonly files: number;
}

function read(pid: number): Reading {
  return {
    pid,
    bytes: residentBytes(pid),
    threads: readdirSync(`/proc/${pid}/task`).length,
    files: readdirSync(`/proc/${pid}/fd`).length,
  };
}

/** The server first, then its workers; each at its least while all of them rest. */
async function readings(server: TestServer): Promise<readonly Reading[]> {
  await delay(REST_MS);
  server.process.kill("SIGUSR2");
  await delay(REST_MS / READINGS);
  const pids = [server.process.pid ?? 0, ...childrenOf(server.process.pid ?? 0)];
  let least = pids.map(read);
  for (let i = 1; i < READINGS; i++) {
    await delay(REST_MS / READINGS);
    least = least.map((reading) => {
      const now = read(reading.pid);
      return now.bytes < reading.bytes ? now : reading;
    });
  }
  return least;
}

interface Growth {
  readonly what: string;
  readonly bytes: number;
  readonly isFlat: boolean;
  readonly text: string;
}

/** @throws Error when a worker died in between: then nothing can be compared */
function growths(before: readonly Reading[], after: readonly Reading[], maxBytes: number): readonly Growth[] {
  return before.map((first, i) => {
    const last = after[i];
    if (last?.pid !== first.pid) throw new Error("a worker died during the soak");
    const bytes = last.bytes - first.bytes;
    const threads = last.threads - first.threads;
    const files = last.files - first.files;
    const what = i === 0 ? "main" : `worker ${i}`;
    const mib = (count: number): string => (count / MIB).toFixed(1);
    return {
      what,
      bytes,
      isFlat: bytes <= maxBytes && threads <= COUNT_GROWTH_MAX && files <= COUNT_GROWTH_MAX,
      text:
        `${mib(first.bytes)} → ${mib(last.bytes)} MiB (${mib(bytes)}, at most ${mib(maxBytes)}), ` +
        `threads ${first.threads} → ${last.threads}, files ${first.files} → ${last.files}`,
    };
  });
}

async function cycle(server: TestServer, count: number, progress: (text: string) => void): Promise<void> {
  const models = clientOf(server, "grpc", ModelService);
  const files: Record<string, Uint8Array> = {};
  for (const name of await readdir(FOLDER)) files[name] = await readFile(join(FOLDER, name));
  for (let i = 1; i <= count; i++) {
    progress(`load and unload ${i} of ${count}`);
    const { version } = await models.publishModelVersion({ model: "local/soaked", files });
    if (!version?.runtime) throw new Error(`the version did not load: ${version?.failure}`);
    await models.deleteModelVersion({ model: "local/soaked", version: version.version });
  }
}

async function classify(server: TestServer, generator: Generator, seconds: number): Promise<number> {
  const image = await readFile(photograph("zebra"));
  const request = toBinary(
    CreatePredictionRequestSchema,
    create(CreatePredictionRequestSchema, { model: MODEL, files: { image }, wait: { seconds: 60n } }),
  );
  const address = new URL(server.grpcUrl).host;
  const load = {
    to: { kind: "grpc", address, path: CREATE_PATH },
    request,
    expect: "succeeded prediction",
  } as const;
  return (await generator.run({ ...load, inFlight: IN_FLIGHT, seconds })).requests;
}

export interface SoakOptions {
  /** Loads and unloads. */
  readonly cycles: number;
  /** Of pictures. */
  readonly minutes: number;
  progress(text: string): void;
}

/** Prints what it finds; false when something grew past its bound. */
export async function soakMemory({ cycles, minutes, progress }: SoakOptions): Promise<boolean> {
  // What has ended is forgotten during the warm-up already: otherwise the database grows, and with it what SQLite keeps
  // of it in memory (at most 64 MiB, and 16 for each reader).
  await using server = await startServer({
    settings: { WORKERS: String(WORKERS), RETENTION: "60s" },
    nodeArgs: COLLECTING,
  });
  await using generator = startGenerator();
  let isFlat = true;
  const report = (title: string, found: readonly Growth[]): void => {
    progress("");
    console.log(title);
    for (const { what, text, isFlat: flat } of found) {
      console.log(`  ${flat ? "flat " : "GROWS"}  ${what.padEnd(8)}  ${text}`);
      if (!flat) isFlat = false;
    }
  };
  await cycle(server, Math.min(WARM_UP.cycles, cycles), progress);
  const beforeCycles = await readings(server);
  await cycle(server, cycles, progress);
  report(
    `F33 ${cycles} loads and unloads of a MobileNet of 2 MB:`,
    growths(beforeCycles, await readings(server), GROWTH_MAX_BYTES.cycles),
  );
  progress("pictures: warming up");
  await classify(server, generator, Math.min(WARM_UP.seconds, minutes * 60));
  const beforePictures = await readings(server);
  progress(`pictures: ${minutes} minutes`);
  const count = await classify(server, generator, minutes * 60);
  report(
    `${minutes} minutes of pictures, ${count} of them, ${IN_FLIGHT} in flight:`,
    growths(beforePictures, await readings(server), GROWTH_MAX_BYTES.pictures),
  );
  return isFlat;
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { cycles: { type: "string", default: "200" }, minutes: { type: "string", default: "10" } },
  });
  const options = { cycles: Number(values.cycles), minutes: Number(values.minutes) };
  if (!(await soakMemory({ ...options, progress: () => undefined }))) process.exitCode = 1;
}
