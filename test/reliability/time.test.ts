/** F11, F19 and F34: a clock that is set, deadlines that pass in the queue, a main thread that stands still. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { PredictionService, PredictionStatus } from "../../gen/auspex/v1/prediction_pb.ts";
import { clientOf, photograph, startServer, until } from "../harness.ts";
import { run, type Verdict } from "../history/run.ts";
import { childrenOf, resume, suspend } from "../processes.ts";
import { blockedBySignal, withClockOffBy } from "../tampered.ts";

const HOUR_MS = 3_600_000;

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "auspex-time-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** A clock of the server's that the test may set; also waits until the server has seen it. */
async function settableClock() {
  const file = join(folder, "clock");
  const set = async (ms: number) => {
    await writeFile(file, String(ms));
    await new Promise((resolve) => setTimeout(resolve, 500));
  };
  await set(0);
  return { nodeArgs: withClockOffBy(file), set };
}

/** None was begun a second time: no lease ran out before its time. */
const attemptsOf = ({ final }: Verdict) =>
  Math.max(...[...final.predictions.values()].map(({ attempt = 0 }) => attempt));

test("F11 the clock is set by an hour forwards and backwards under load: no lease runs out, nothing is swept", async () => {
  const clock = await settableClock();
  const verdict = await run({
    seed: 11,
    launch: () => ({ nodeArgs: clock.nodeArgs }),
    async fault(r) {
      await r.toldMore(60);
      for (const shift of [HOUR_MS, -HOUR_MS, 0]) {
        await clock.set(shift);
        await r.toldMore(60);
      }
    },
  });
  expect(verdict.violations).toEqual([]);
  expect(attemptsOf(verdict)).toBe(1);
});

test("F11 a deadline is a duration, whatever the clock does", async () => {
  const clock = await settableClock();
  await using server = await startServer({ nodeArgs: clock.nodeArgs });
  const client = clientOf(server, "grpc", PredictionService);
  const workers = childrenOf(server.process.pid ?? 0);
  suspend(workers);
  const image = new Uint8Array(await readFile(photograph("zebra")));
  const create = async (seconds: bigint) => {
    const { prediction } = await client.createPrediction({
      model: "auspex/mobilenet-tiny",
      files: { image },
      deadline: { seconds },
    });
    return prediction?.id ?? "";
  };
  const statusOf = async (id: string) => (await client.getPrediction({ id })).prediction?.status;
  const long = await create(50n);
  await clock.set(HOUR_MS);
  await clock.set(-HOUR_MS);
  const short = await create(1n);
  const began = performance.now();
  await until(async () => (await statusOf(short)) === PredictionStatus.FAILED);
  expect(performance.now() - began).toBeLessThan(10_000);
  resume(workers);
  await until(async () => (await statusOf(long)) === PredictionStatus.SUCCEEDED);
});

test("F19 a deadline that passes in the queue: it fails, and no worker ever gets it", async () => {
  await using server = await startServer();
  const client = clientOf(server, "grpc", PredictionService);
  const [worker = 0] = childrenOf(server.process.pid ?? 0);
  const image = new Uint8Array(await readFile(photograph("zebra")));
  const items = async () => {
    const text = await (await fetch(`${server.url}/metrics`)).text();
    return Number(/^auspex_engine_items (\d+)/m.exec(text)?.[1]);
  };
  const create = (deadlineMs?: number) =>
    client.createPrediction({
      model: "auspex/mobilenet-tiny",
      files: { image },
      ...(deadlineMs !== undefined && { deadline: { nanos: deadlineMs * 1e6 } }),
    });
  suspend([worker]);
  // The first is in the worker and holds it; the others wait behind it.
  const first = await create();
  await until(async () => (await items()) === 1);
  const late = await Promise.all(Array.from({ length: 8 }, () => create(300)));
  const statusOf = async (id = "") => (await client.getPrediction({ id })).prediction;
  for (const { prediction } of late) {
    const ended = await until(async () => {
      const now = await statusOf(prediction?.id);
      return now?.status === PredictionStatus.FAILED && now;
    });
    expect(ended.error?.code).toBe("deadline_exceeded");
  }
  resume([worker]);
  await until(async () => (await statusOf(first.prediction?.id))?.status === PredictionStatus.SUCCEEDED);
  expect(await items()).toBe(1);
});

test("F34 the main thread stands still for 5 s under load: no lease is lost, no worker is blamed, it is told", async () => {
  let lag = 0;
  let deaths = -1;
  const verdict = await run({
    seed: 34,
    settings: { LEASE: "1s", BATCH_TIMEOUT: "1s" },
    launch: () => ({ nodeArgs: blockedBySignal(5000) }),
    async fault(r) {
      const metric = (text: string, name: string) =>
        Number(new RegExp(`^${name} (\\S+)`, "m").exec(text)?.[1]);
      const metrics = async () => (await fetch(`${r.server.url}/metrics`)).text();
      await r.toldMore(60);
      await metrics();
      r.server.process.kill("SIGUSR2");
      // Answered once it runs again.
      await until(async () => {
        const began = performance.now();
        await fetch(`${r.server.url}/readyz`);
        return performance.now() - began > 3000;
      });
      // The long turn is counted in a later one, which on a busy machine may come after a look or two.
      await until(async () => {
        lag = Math.max(lag, metric(await metrics(), "nodejs_eventloop_lag_max_seconds"));
        return lag > 4;
      });
      await r.toldMore(100);
      deaths = metric(await metrics(), "auspex_worker_deaths");
    },
  });
  expect(verdict.violations).toEqual([]);
  expect(lag).toBeGreaterThan(4);
  expect(deaths).toBe(0);
  expect(attemptsOf(verdict)).toBe(1);
});
