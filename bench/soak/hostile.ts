/**
 * Ten minutes at full load beside hostile requests, callers that vanish and watchers that never read, one in a hundred
 * of each: does every process's memory stay flat, and do the others get their answers as fast as without? By itself
 * `node bench/soak/hostile.ts --minutes 10`.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { startServer, type TestServer } from "../../test/harness.ts";
import { writeMlp } from "../../test/models/mlp.ts";
import { childrenOf, residentBytes } from "../../test/processes.ts";
import type { LoadOrder, LoadResult } from "../load.ts";
import { startGenerator } from "../rounds.ts";
import { CREATE_PATH, mlpRequest } from "../rows/mlp-create.ts";

const MIB = 1024 ** 2;
const IN_FLIGHT = 64;
const ROUND_SECONDS = 10;
/** Memory is compared with what it was after so long. */
const WARM_UP_ROUNDS = 6;
/** Of the rate of the others. */
const SHARE = 0.01;
/** Streams that are open at once and never read; the oldest goes when another comes. */
const WATCHERS_MAX = 400;
/** Workers tell their counts with their answers, and at rest within a second. */
const TENSORS_REST_MS = 3000;
/** Of a prediction that is watched: 33 KB of JSON. */
const WATCHED_ROWS = 128;

/** Pinned to wasm: what is left behind in TF.js can be counted. */
const COUNTED = "bench/counted";

const GOALS = { memoryGrowth: 0.1, p99: 2 } as const;

const HTTP = (method: string, path: string, headers: string, body: string): string =>
  `${method} ${path} HTTP/1.1\r\nhost: localhost\r\n${headers}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
const JSON_TYPE = "content-type: application/json\r\n";

/** Each is refused, or its connection is closed; none costs more than what it sends. */
const HOSTILE: readonly string[] = [
  HTTP("POST", "/v1/predictions", JSON_TYPE, `${"[".repeat(100_000)}`),
  HTTP(
    "POST",
    "/v1/predictions",
    JSON_TYPE,
    `{"model":"bench/mlp","input":{"inputs":{"x":{"dtype":"float32","shape":[1,64],"data":[${"9e999,".repeat(63)}0]}}}}`,
  ),
  HTTP("POST", "/v1/predictions", JSON_TYPE, `{"model":"bench/mlp","input":{"__proto__":{"x":1}}}`),
  HTTP(
    "POST",
    "/v2/vision/predict",
    "content-type: multipart/form-data; boundary=x\r\n",
    "--x\r\n".repeat(2000),
  ),
  HTTP(
    "POST",
    "/auspex.v1.PredictionService/CreatePrediction",
    "content-type: application/proto\r\n",
    "\u0012\u007f".repeat(500),
  ),
  HTTP("POST", "/auspex.v1.PredictionService/CreatePrediction", JSON_TYPE, '{"model":"../../etc/passwd"}'),
  "POST /v1/predictions HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
  `GET /v1/predictions/${"%00".repeat(500)} HTTP/1.1\r\nhost: a\r\n\r\n`,
  `GET / HTTP/1.1\r\nhost: a\r\nx: ${"a".repeat(100_000)}\r\n\r\n`,
  "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\u0000\u0000\u0000",
];

/** A create by REST, of so many rows. */
function creation(rows: number): string {
  const x = { dtype: "float32", shape: [rows, 64], data: Array(rows * 64).fill(0.5) };
  return JSON.stringify({ model: COUNTED, input: { inputs: { x } } });
}

/** Made once: what this process spends, it takes from the server's cores. */
const VANISHING = HTTP("POST", "/v1/predictions", `${JSON_TYPE}prefer: wait=10\r\n`, creation(1));
const WATCHED = creation(WATCHED_ROWS);

interface Hostility {
  /** Of each kind, so far. */
  readonly counts: { hostile: number; vanished: number; watchers: number };
  stop(): Promise<void>;
}

/** @param perSecond of each kind */
function beHostile({ url }: TestServer, perSecond: number): Hostility {
  const counts = { hostile: 0, vanished: 0, watchers: 0 };
  const watchers: Socket[] = [];
  const { port } = new URL(url);
  const open = () => connect(Number(port), "127.0.0.1").on("error", () => {});
  let over = false;

  function attack(): void {
    const socket = open();
    socket.on("data", () => {}).setTimeout(2000, () => socket.destroy());
    socket.end(HOSTILE[counts.hostile++ % HOSTILE.length] ?? "");
  }

  function vanish(): void {
    const socket = open();
    socket.write(VANISHING);
    // Before, while and after it runs.
    setTimeout(() => socket.destroy(), counts.vanished++ % 20);
  }

  /** Each event carries input and output, so that three of them are more than a socket takes unread. */
  async function watch(): Promise<void> {
    counts.watchers++;
    const headers = { "content-type": "application/json" };
    const created = fetch(`${url}/v1/predictions`, { method: "POST", headers, body: WATCHED });
    const { id } = (await (await created).json()) as { readonly id: string };
    const socket = open().pause();
    socket.write(`GET /v1/predictions/${id}/events HTTP/1.1\r\nhost: localhost\r\n\r\n`);
    watchers.push(socket);
    if (watchers.length > WATCHERS_MAX) watchers.shift()?.destroy();
  }

  const running = (async () => {
    const began = performance.now();
    while (!over) {
      const due = ((performance.now() - began) / 1000) * perSecond;
      while (counts.hostile < due) {
        attack();
        vanish();
        // One that is refused is not missed.
        watch().catch(() => {});
      }
      await delay(20);
    }
  })();
  return {
    counts,
    async stop() {
      over = true;
      await running;
      for (const socket of watchers) socket.destroy();
    },
  };
}

const residents = (server: TestServer): readonly number[] => {
  const pid = server.process.pid ?? 0;
  return [pid, ...childrenOf(pid)].map(residentBytes);
};

/** That TF.js holds in the workers, while nothing runs. */
async function tensorsOf({ url }: TestServer): Promise<number> {
  await delay(TENSORS_REST_MS);
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(/^auspex_worker_tensors (\d+)$/m.exec(text)?.[1]);
}

/** Whether all goals are met. */
export async function soakHostile(minutes: number, progress: (text: string) => void): Promise<boolean> {
  const models = await mkdtemp(join(tmpdir(), "auspex-models-"));
  await writeMlp(join(models, "bench/mlp", "1"));
  await writeMlp(join(models, COUNTED, "1"), { manifest: { runtime: "tfjs-wasm" } });
  await using generator = startGenerator();
  await using server = await startServer({
    settings: { MODELS_DIR: models, CATALOGUE: "0", WORKERS: "2", RATE_LIMIT: "off", RETENTION: "60s" },
  });
  try {
    const order: LoadOrder = {
      to: { kind: "grpc", address: new URL(server.grpcUrl).host, path: CREATE_PATH },
      request: mlpRequest(),
      expect: "succeeded prediction",
      inFlight: IN_FLIGHT,
      seconds: ROUND_SECONDS,
    };
    const quiet: LoadResult[] = [];
    for (let round = 1; round <= WARM_UP_ROUNDS; round++) {
      progress(`quiet, round ${round} of ${WARM_UP_ROUNDS}`);
      quiet.push(await generator.run(order));
    }
    const rate = median(quiet.map(({ requests, seconds }) => requests / seconds));
    const tensorsBefore = await tensorsOf(server);
    const hostility = beHostile(server, rate * SHARE);
    const loud: LoadResult[] = [];
    let before: readonly number[] = [];
    let most: number[] = [];
    const rounds = (minutes * 60) / ROUND_SECONDS;
    for (let round = 1; round <= rounds; round++) {
      progress(`round ${round} of ${rounds}`);
      loud.push(await generator.run(order));
      const now = residents(server);
      if (round <= WARM_UP_ROUNDS) before = now;
      most = now.map((bytes, i) => Math.max(bytes, most[i] ?? 0));
    }
    await hostility.stop();
    const after = residents(server);
    const tensors = [tensorsBefore, await tensorsOf(server)] as const;
    return report({ quiet, loud, before, after, most, tensors, counts: hostility.counts });
  } finally {
    await rm(models, { recursive: true, force: true });
  }
}

interface Findings {
  readonly quiet: readonly LoadResult[];
  readonly loud: readonly LoadResult[];
  readonly before: readonly number[];
  readonly after: readonly number[];
  readonly most: readonly number[];
  /** Before and after. */
  readonly tensors: readonly [number, number];
  readonly counts: Hostility["counts"];
}

function report({ quiet, loud, before, after, most, tensors, counts }: Findings): boolean {
  const answered = loud.reduce((sum, { requests }) => sum + requests, 0);
  console.log(
    `${answered} predictions, ${counts.hostile} hostile requests, ${counts.vanished} callers that vanished, ` +
      `${counts.watchers} watchers that never read`,
  );
  const isFlat = before.map((bytes, i) => {
    const growth = ((after[i] ?? 0) - bytes) / bytes;
    const mib = (count = 0): string => (count / MIB).toFixed(0);
    console.log(
      `${i === 0 ? "main" : `worker ${i}`}: ${mib(bytes)} → ${mib(after[i])} MiB, ${(growth * 100).toFixed(1)} %` +
        ` (goal: at most ${GOALS.memoryGrowth * 100} %), ${mib(most[i])} at most`,
    );
    return growth <= GOALS.memoryGrowth;
  });
  const [alone, beside] = [quiet, loud].map((rounds) => median(rounds.map(({ p99 }) => p99)));
  const ratio = (beside ?? 0) / (alone ?? 1);
  const ms = (micros = 0): string => `${(micros / 1000).toFixed(1)} ms`;
  console.log(
    `p99 of the others: ${ms(alone)} alone, ${ms(beside)} beside, ${ratio.toFixed(2)}× (goal: ${GOALS.p99})`,
  );
  console.log(`tensors in the workers: ${tensors[0]} before, ${tensors[1]} after`);
  return isFlat.every(Boolean) && ratio <= GOALS.p99 && tensors[0] === tensors[1];
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { minutes: { type: "string", default: "10" } } });
  const progress = (text: string) => process.stderr.write(`\r${text}`);
  if (!(await soakHostile(Number(values.minutes), progress))) process.exitCode = 1;
}
