/** F38: a log that nobody reads, whose reader is gone, whose disk is full; and labels that callers would choose. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, expect, test } from "vitest";
import { PredictionService, PredictionStatus } from "../../gen/auspex/v1/prediction_pb.ts";
import { clientOf, DOORS, photograph, startServer, until } from "../harness.ts";
import { CAN_MOUNT, fillDisk, onSmallDisk } from "../small-disk.ts";

const MAIN = join(import.meta.dirname, "..", "..", "src", "main.ts");

let folder = "";
let child: ChildProcess | undefined;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "auspex-log-"));
});
afterEach(() => {
  child?.kill("SIGKILL");
  child = undefined;
  rmSync(folder, { recursive: true, force: true });
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  return typeof address === "object" && address ? address.port : 0;
}

interface Unheard {
  readonly process: ChildProcess;
  readonly url: string;
  readonly grpcUrl: string;
}

/** A server whose log the test does not read; ready when it says so over HTTP. */
async function startUnheard(shell: string, launcher: readonly string[] = []): Promise<Unheard> {
  const [http, grpc] = [await freePort(), await freePort()];
  const settings = { HTTP_PORT: http, GRPC_PORT: grpc, DATA_DIR: folder, WORKERS: 1, DISK_RESERVE: 0 };
  const env = { ...process.env };
  for (const [name, value] of Object.entries(settings)) env[`AUSPEX_${name}`] = String(value);
  const [command = "", ...args] = [...launcher, "sh", "-c", shell, "sh", process.execPath, MAIN];
  const started = spawn(command, args, { env, stdio: ["ignore", "pipe", "inherit"] });
  child = started;
  const url = `http://127.0.0.1:${http}`;
  await until(() =>
    fetch(`${url}/readyz`).then(
      ({ ok }) => ok,
      () => new Promise<false>((resolve) => setTimeout(resolve, 100, false)),
    ),
  );
  return { process: started, url, grpcUrl: `http://127.0.0.1:${grpc}` };
}

async function expectServing(server: Unheard): Promise<void> {
  const client = clientOf(server, "grpc", PredictionService);
  const { prediction } = await client.createPrediction({
    model: "auspex/mobilenet-tiny",
    files: { image: new Uint8Array(readFileSync(photograph("zebra"))) },
    wait: { seconds: 30n },
  });
  expect(prediction?.status).toBe(PredictionStatus.SUCCEEDED);
}

async function expectCleanEnd({ process: server }: Unheard): Promise<void> {
  const exited = once(server, "exit");
  server.kill("SIGTERM");
  expect(await exited).toEqual([0, null]);
}

test("F38 a pipe that is full when it starts: it starts, serves and ends all the same", async () => {
  // What a pipe holds, so that not one line finds room.
  const server = await startUnheard('head -c 65536 /dev/zero; exec "$@"');
  await expectServing(server);
  await expectCleanEnd(server);
});

test("F38 a reader that is gone: it serves and ends all the same", async () => {
  const server = await startUnheard('exec "$@"');
  server.process.stdout?.destroy();
  await expectServing(server);
  await expectCleanEnd(server);
});

test.runIf(CAN_MOUNT)("F38 a log on a full disk: it serves and ends all the same", async () => {
  const disk = mkdtempSync(join(tmpdir(), "auspex-log-disk-"));
  try {
    const server = await startUnheard(`exec "$@" > ${disk}/log`, onSmallDisk(disk, 64 * 1024));
    fillDisk(server.process.pid ?? 0, disk, 0);
    await expectServing(server);
    await expectCleanEnd(server);
  } finally {
    rmSync(disk, { recursive: true, force: true });
  }
});

test("F38 lines that nobody takes are dropped beyond a bound, counted, and told when one reads again", async () => {
  const LINES = 20_000;
  const output = JSON.stringify(new URL("../../src/log-output.ts", import.meta.url).href);
  const script = `
    const { createLogOutput } = await import(${output});
    const output = createLogOutput(process.stdout, (dropped) => "dropped " + dropped + "\\n");
    const line = "x".repeat(199) + "\\n";
    const began = performance.now();
    for (let i = 0; i < ${LINES}; i++) output.write(line);
    const kept = ${LINES} - output.dropped();
    console.error(JSON.stringify({ ms: performance.now() - began, kept, waiting: process.stdout.writableLength }));
    process.stdout.once("drain", () => output.write("last\\n"));
  `;
  const writer = spawn(process.execPath, ["--input-type=module", "--eval", script], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  child = writer;
  const [first] = (await once(writer.stderr, "data")) as [Buffer];
  const { ms, kept, waiting } = JSON.parse(first.toString()) as Record<string, number>;
  expect(ms).toBeLessThan(5000);
  expect(kept).toBeGreaterThan(5000);
  expect(waiting).toBeLessThan(1024 ** 2 + 200 + 1);
  const lines = (await text(writer.stdout)).trimEnd().split("\n");
  expect(lines.filter((line) => line.startsWith("x"))).toHaveLength(kept ?? 0);
  expect(lines.slice(-2)).toEqual([`dropped ${LINES - (kept ?? 0)}`, "last"]);
});

test("F38 labels that callers choose make no series: models, methods, paths, principals", async () => {
  await using server = await startServer({ settings: { CATALOGUE: "0" } });
  const series = async () => {
    const lines = (await (await fetch(`${server.url}/metrics`)).text()).split("\n");
    return lines.filter((line) => line.startsWith("auspex_")).map((line) => line.replace(/ \S+$/, ""));
  };
  const call = async (name: string) => {
    for (const door of DOORS) {
      const client = clientOf(server, door, PredictionService, `key-of-${name}`);
      await client.createPrediction({ model: `x/${name}`, deferResolution: true });
      await client.createPrediction({ model: `x/${name}` }).catch(() => undefined);
    }
    for (const method of ["GET", "POST", "DELETE"]) {
      await fetch(`${server.url}/v1/${name}?${name}=1`, { method }).then((answer) => answer.arrayBuffer());
      await fetch(`${server.url}/v1/models/x/${name}`, { method }).then((answer) => answer.arrayBuffer());
    }
  };
  await call("first");
  const before = await series();
  expect(before.length).toBeGreaterThan(20);
  for (let i = 0; i < 30; i++) await call(`m${i}`);
  expect(await series()).toEqual(before);
});
