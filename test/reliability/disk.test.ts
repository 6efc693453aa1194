/** F9: a disk that fills up, and one that takes no writes at all, under load. Each run ends with the history checker. */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { ImageService } from "../../gen/auspex/v1/image_pb.ts";
import { PredictionService } from "../../gen/auspex/v1/prediction_pb.ts";
import { clientOf, type TestServer, until } from "../harness.ts";
import { type Run, run } from "../history/run.ts";
import { CAN_MOUNT, emptyDisk, fillDisk, onSmallDisk } from "../small-disk.ts";

const MIB = 1024 ** 2;

const statusAt = async ({ url }: TestServer, path: string) => (await fetch(`${url}${path}`)).status;
const isReady = async (server: TestServer) => (await statusAt(server, "/readyz")) === 200;

/** While it takes nothing more: refused with a reason and a time, what is stored is read, and it is alive. */
async function expectDegraded({ server, history }: Run, reason: RegExp): Promise<void> {
  const [id = ""] = history.ids;
  const client = clientOf(server, "grpc", PredictionService);
  const refused = await client.createPrediction({ model: "auspex/none", deferResolution: true }).then(
    () => expect.fail("it was accepted"),
    (error: unknown) => ConnectError.from(error),
  );
  expect(refused.code).toBe(Code.Unavailable);
  expect(refused.rawMessage).toMatch(reason);
  const images = clientOf(server, "connect", ImageService);
  const upload = images.uploadImage({ data: new Uint8Array(10) });
  await expect(upload).rejects.toMatchObject({ code: Code.Unavailable });
  const rest = await fetch(`${server.url}/v1/predictions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "auspex/none:1", input: {} }),
  });
  expect(rest.status).toBe(503);
  expect(Number(rest.headers.get("retry-after"))).toBeGreaterThan(0);
  expect((await client.getPrediction({ id })).prediction?.id).toBe(id);
  expect((await client.listPredictions({})).predictions.length).toBeGreaterThan(0);
  const alive = await fetch(`${server.url}/healthz`);
  expect([alive.status, await alive.json()]).toEqual([
    200,
    { status: "degraded", reason: expect.stringMatching(reason) },
  ]);
  expect(await (await fetch(`${server.url}/metrics`)).text()).toMatch(/^auspex_storage_writable 0$/m);
}

async function expectRecovery(r: Run): Promise<void> {
  await until(() => isReady(r.server));
  await r.toldMore(60);
}

test.runIf(CAN_MOUNT)(
  "F9 a disk that fills up under load: nothing more is accepted while reading goes on, and it recovers by itself",
  async () => {
    const verdict = await run({
      seed: 9,
      settings: { DISK_RESERVE: String(4 * MIB) },
      launch: (dataDir) => ({ launcher: onSmallDisk(dataDir, 96 * MIB) }),
      async fault(r) {
        const pid = r.server.process.pid ?? 0;
        const { dataDir } = r.server;
        await r.toldMore(60);
        // Below the reserve: what was accepted can still be finished.
        fillDisk(pid, dataDir, 2 * MIB);
        await until(async () => !(await isReady(r.server)));
        await expectDegraded(r, /less than \d+ MiB free|disk is full/);
        await emptyDisk(pid, dataDir);
        await expectRecovery(r);
        // At once to the last byte: writes fail under way.
        fillDisk(pid, dataDir, 0);
        await until(async () => !(await isReady(r.server)));
        fillDisk(pid, dataDir, 0);
        await expectDegraded(r, /less than \d+ MiB free|disk/);
        await emptyDisk(pid, dataDir);
        await expectRecovery(r);
      },
    });
    expect(verdict.violations).toEqual([]);
  },
  120_000,
);

/** Lets no file of the process grow beyond so many bytes. */
const limitFiles = (pid: number, bytes: number | "unlimited") =>
  execFileSync("prlimit", ["--pid", String(pid), `--fsize=${bytes}:unlimited`]);

test.runIf(existsSync("/usr/bin/prlimit"))(
  "F9 a disk that takes no writes under load, as a read-only one: creates are refused, reads go on, it recovers",
  async () => {
    const verdict = await run({
      seed: 10,
      async fault(r) {
        const pid = r.server.process.pid ?? 0;
        await r.toldMore(60);
        limitFiles(pid, 1);
        await until(async () => !(await isReady(r.server)));
        await expectDegraded(r, /the storage takes no writes/);
        limitFiles(pid, "unlimited");
        await expectRecovery(r);
      },
    });
    expect(verdict.violations).toEqual([]);
  },
  120_000,
);
