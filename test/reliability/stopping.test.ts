/** F6: how a server ends: what it says in which order, what happens to what runs, and who does not want to wait. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { type ClientHttp2Session, connect } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Prediction, PredictionService, PredictionStatus } from "../../gen/auspex/v1/prediction_pb.ts";
import { clientOf, photograph, startServer, type TestServer, until } from "../harness.ts";
import { childrenOf, isAlive, resume, suspend } from "../processes.ts";

const MAIN = join(import.meta.dirname, "..", "..", "src", "main.ts");

let dataDir = "";
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "auspex-stop-"));
});
afterEach(() => rm(dataDir, { recursive: true, force: true }));

const workersOf = (server: TestServer) => childrenOf(server.process.pid ?? 0);

const stopWorkers = (server: TestServer) => suspend(workersOf(server));

async function requestFor(seconds: bigint | undefined) {
  const image = new Uint8Array(await readFile(photograph("zebra")));
  const wait = seconds === undefined ? {} : { wait: { seconds } };
  return { model: "auspex/mobilenet-tiny", files: { image }, ...wait };
}

/** Resolves once so many predictions are in the engine. */
const untilTaken = (server: TestServer, count: number) =>
  until(async () => {
    const text = await (await fetch(`${server.url}/metrics`)).text();
    const read = (name: string) => Number(new RegExp(`^auspex_${name} (\\d+)`, "m").exec(text)?.[1]);
    return read("engine_running") + read("engine_queued") >= count;
  });

/** What one connection is told, in order: by its health watch and by GOAWAY. */
function listen(session: ClientHttp2Session): readonly string[] {
  const heard: string[] = [];
  const stream = session.request({
    ":method": "POST",
    ":path": "/grpc.health.v1.Health/Watch",
    "content-type": "application/grpc",
    te: "trailers",
  });
  // A message of no bytes: the whole server's health. Answers are one byte of tag and one of status.
  stream.end(Buffer.alloc(5));
  stream.on("data", (bytes: Buffer) => {
    for (let at = 0; at < bytes.length; at += 7) heard.push(bytes[at + 6] === 1 ? "SERVING" : "NOT_SERVING");
  });
  stream.on("error", () => undefined);
  // Said again when the last stream has ended.
  session.once("goaway", (code) => heard.push(`GOAWAY ${code}`));
  session.on("error", () => undefined);
  return heard;
}

const statusOf = (prediction: Prediction | undefined) => prediction?.status;

test("F6 SIGTERM: NOT_SERVING, then GOAWAY; new calls are refused, running ones finish; exit 0", async () => {
  await using server = await startServer({ dataDir, settings: { WORKERS: "2" } });
  const session = connect(server.grpcUrl);
  const heard = listen(session);
  await until(() => heard.length > 0);
  const client = clientOf(server, "grpc", PredictionService);
  const rest = clientOf(server, "connect", PredictionService);
  await client.listPredictions({});
  const workers = workersOf(server);
  stopWorkers(server);
  const running = await requestFor(30n);
  const calls = [...Array(8)].flatMap(() => [
    client.createPrediction(running),
    rest.createPrediction(running),
  ]);
  // Looked at below; where that is not come to, they are nobody's.
  for (const call of calls) call.catch(() => undefined);
  await untilTaken(server, calls.length);
  const exit = server.terminate();
  await until(() => heard.includes("NOT_SERVING"));
  for (const door of [client, rest]) {
    const refused = await door.createPrediction(running).then(
      () => undefined,
      (error: unknown) => ConnectError.from(error).code,
    );
    // This client calls a stream internal that crosses with the GOAWAY.
    expect(door === client ? [Code.Unavailable, Code.Internal] : [Code.Unavailable]).toContain(refused);
  }
  resume(workers);
  const ended = await Promise.all(calls);
  expect(new Set(ended.map(({ prediction }) => statusOf(prediction)))).toEqual(
    new Set([PredictionStatus.SUCCEEDED]),
  );
  expect(await exit).toBe(0);
  expect(heard.filter((word) => word !== "SERVING")).toEqual(["NOT_SERVING", "GOAWAY 0"]);
  for (const pid of workers) expect(isAlive(pid)).toBe(false);
  expect(server.log.filter(({ level }) => level >= 50)).toEqual([]);
});

test("F6 what does not end within the drain is answered as it stands, and finished by the next server", async () => {
  const ids: string[] = [];
  {
    await using server = await startServer({ dataDir, settings: { DRAIN: "1s" } });
    const client = clientOf(server, "grpc", PredictionService);
    stopWorkers(server);
    const { prediction } = await client.createPrediction(await requestFor(undefined));
    const waiting = client.createPrediction(await requestFor(50n));
    waiting.catch(() => undefined);
    await untilTaken(server, 2);
    const began = performance.now();
    expect(await server.terminate()).toBe(0);
    const tookMs = performance.now() - began;
    expect(tookMs).toBeGreaterThan(900);
    expect(tookMs).toBeLessThan(15_000);
    const told = await waiting;
    expect([PredictionStatus.STARTED, PredictionStatus.PENDING]).toContain(statusOf(told.prediction));
    ids.push(prediction?.id ?? "", told.prediction?.id ?? "");
  }
  await using server = await startServer({ dataDir });
  const client = clientOf(server, "grpc", PredictionService);
  for (const id of ids) {
    await until(
      async () => statusOf((await client.getPrediction({ id })).prediction) === PredictionStatus.SUCCEEDED,
    );
  }
});

test("F6 a second SIGTERM ends it at once, and the next server finishes what it had accepted", async () => {
  let id = "";
  {
    await using server = await startServer({ dataDir });
    const workers = workersOf(server);
    const client = clientOf(server, "grpc", PredictionService);
    stopWorkers(server);
    id = (await client.createPrediction(await requestFor(undefined))).prediction?.id ?? "";
    const exit = server.terminate();
    await until(() => server.log.some(({ msg }) => msg.startsWith("stopping")));
    const began = performance.now();
    server.process.kill("SIGTERM");
    expect(await exit).toBe(1);
    expect(performance.now() - began).toBeLessThan(5000);
    // Nobody is left: a stopped worker ends when it runs on.
    resume(workers);
    await until(() => workers.every((pid) => !isAlive(pid)));
  }
  await using server = await startServer({ dataDir });
  const client = clientOf(server, "grpc", PredictionService);
  await until(
    async () => statusOf((await client.getPrediction({ id })).prediction) === PredictionStatus.SUCCEEDED,
  );
});

test("F6 SIGINT is as good", async () => {
  await using server = await startServer({ dataDir });
  const exited = once(server.process, "exit");
  server.process.kill("SIGINT");
  expect(await exited).toEqual([0, null]);
});

test("F6 a signal while it starts ends it with its workers, and the next start finds nothing in its way", async () => {
  const env = { ...process.env, AUSPEX_DATA_DIR: dataDir, AUSPEX_HTTP_PORT: "0", AUSPEX_GRPC_PORT: "0" };
  const child = spawn(process.execPath, [MAIN], { env, stdio: "ignore" });
  const workers = await until(() => {
    const found = childrenOf(child.pid ?? 0);
    return found.length > 0 && found;
  });
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  expect(await exited).toEqual([null, "SIGTERM"]);
  await until(() => workers.every((pid) => !isAlive(pid)));
  await using server = await startServer({ dataDir });
  expect((await fetch(`${server.url}/readyz`)).status).toBe(200);
});
