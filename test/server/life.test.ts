/** Starting, refusing to start, stopping; who may see what; what is bounded. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { get, type IncomingMessage } from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { ImageService, ImageState } from "../../gen/auspex/v1/image_pb.ts";
import { ModelService } from "../../gen/auspex/v1/model_pb.ts";
import { PredictionService, PredictionStatus } from "../../gen/auspex/v1/prediction_pb.ts";
import { clientOf, DOORS, photograph, startServer, type TestServer, until } from "../harness.ts";
import { childrenOf, resume, suspend } from "../processes.ts";

const MAIN = join(import.meta.dirname, "..", "..", "src", "main.ts");

async function runMain(args: readonly string[], settings: Readonly<Record<string, string>> = {}) {
  const env = { ...process.env };
  for (const [name, value] of Object.entries(settings)) env[`AUSPEX_${name}`] = value;
  const child = spawn(process.execPath, [MAIN, ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
  const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "exit")]);
  return { out, err, code };
}

const codeOf = (call: Promise<unknown>): Promise<Code | undefined> =>
  call.then(
    () => undefined,
    (thrown: unknown) => ConnectError.from(thrown).code,
  );

describe("starting", () => {
  test("--help lists the settings", async () => {
    const { out, code } = await runMain(["--help"]);
    expect(code).toBe(0);
    for (const name of ["AUSPEX_HTTP_PORT", "AUSPEX_QUEUE_MAX", "AUSPEX_RETENTION"])
      expect(out).toContain(name);
  });

  test("all that is wrong with the settings is said at once", async () => {
    const { err, code } = await runMain([], { HTTP_PORT: "99999", RETENTION: "soon", QUEUE_MX: "1" });
    expect(code).toBe(2);
    for (const name of ["AUSPEX_HTTP_PORT", "AUSPEX_RETENTION", "AUSPEX_QUEUE_MX"])
      expect(err).toContain(name);
  });

  test("open on an address that others reach is refused", async () => {
    const { err, code } = await runMain([], { HOST: "0.0.0.0" });
    expect(code).toBe(2);
    expect(err).toContain("AUSPEX_API_KEYS");
  });

  test("a port in use and a data folder in use are said plainly", async () => {
    await using server = await startServer({ settings: { CATALOGUE: "0" } });
    const taken = createServer().listen(0, "127.0.0.1");
    await once(taken, "listening");
    const address = taken.address();
    const port = typeof address === "object" && address ? String(address.port) : "";
    const dataDir = await mkdtemp(join(tmpdir(), "auspex-port-"));
    const settings = { CATALOGUE: "0", HTTP_PORT: port, GRPC_PORT: "0" };
    const onPort = await runMain([], { ...settings, DATA_DIR: dataDir });
    expect(onPort.code).not.toBe(0);
    expect(onPort.err).toContain(port);
    const onFolder = await runMain([], { ...settings, HTTP_PORT: "0", DATA_DIR: server.dataDir });
    expect(onFolder.code).not.toBe(0);
    expect(onFolder.err).toContain(String(server.process.pid));
    taken.close();
    await rm(dataDir, { recursive: true, force: true });
  });
});

test("SIGTERM under load: health says so first, what was accepted is finished, and the exit is clean", async () => {
  const server = await startServer({ settings: { WORKERS: "2" } });
  try {
    const client = clientOf(server, "grpc", PredictionService);
    const image = new Uint8Array(await readFile(photograph("zebra")));
    const workers = childrenOf(server.process.pid ?? 0);
    // Workers that stand still gather all calls in the engine before the signal comes.
    suspend(workers);
    const calls = Array.from({ length: 32 }, () =>
      client.createPrediction({ model: "auspex/mobilenet-tiny", files: { image }, wait: { seconds: 30n } }),
    );
    await until(async () => {
      const text = await (await fetch(`${server.url}/metrics`)).text();
      const read = (name: string) => Number(text.match(new RegExp(`^auspex_${name} (\\d+)`, "m"))?.[1]);
      return read("engine_running") + read("engine_queued") + read("predictions_unfinished") === 32;
    });
    const exit = server.terminate();
    resume(workers);
    for (const { prediction } of await Promise.all(calls)) {
      expect(prediction?.id).toBeDefined();
      expect([PredictionStatus.SUCCEEDED, PredictionStatus.STARTED, PredictionStatus.PENDING]).toContain(
        prediction?.status,
      );
    }
    expect(await exit).toBe(0);
    for (const pid of workers) expect(() => process.kill(pid, 0)).toThrow();
  } finally {
    await server[Symbol.asyncDispose]();
  }
});

test("an open server does not answer to a name that a web page has made its own", async () => {
  await using server = await startServer({ settings: { CATALOGUE: "0" } });
  const statusFor = async (host: string, path: string) => {
    const [response] = (await once(get(`${server.url}${path}`, { headers: { host } }), "response")) as [
      IncomingMessage,
    ];
    response.resume();
    return response.statusCode;
  };
  const port = new URL(server.url).port;
  for (const path of ["/v1/predictions", "/readyz"]) {
    for (const host of [`localhost:${port}`, `127.0.0.1:${port}`, `[::1]:${port}`, "app.localhost"]) {
      expect(await statusFor(host, path), host).toBe(200);
    }
    for (const host of [
      "evil.example",
      `evil.example:${port}`,
      "localhost.evil.example",
      "127.0.0.1.evil.example",
    ]) {
      expect(await statusFor(host, path), host).toBe(403);
    }
  }
});

describe("with API keys", () => {
  const settings = { API_KEYS: "alice:alice-key-0123456789,bob:bob-key-0123456789" };
  const withServer = async (run: (server: TestServer) => Promise<void>) => {
    await using server = await startServer({ settings });
    await run(server);
  };

  test("nobody gets in without one, and nobody sees another's", () =>
    withServer(async (server) => {
      for (const door of DOORS) {
        const alice = clientOf(server, door, PredictionService, "alice-key-0123456789");
        const bob = clientOf(server, door, PredictionService, "bob-key-0123456789");
        for (const key of [undefined, "", "wrong-key-0123456789"]) {
          const nobody = clientOf(server, door, PredictionService, key);
          expect(await codeOf(nobody.listPredictions({}))).toBe(Code.Unauthenticated);
        }
        const { prediction } = await alice.createPrediction({ model: "auspex/none", deferResolution: true });
        const id = prediction?.id ?? "";
        expect((await alice.getPrediction({ id })).prediction?.id).toBe(id);
        expect(await codeOf(bob.getPrediction({ id }))).toBe(Code.NotFound);
        expect(await codeOf(bob.cancelPrediction({ id }))).toBe(Code.NotFound);
        const watch = async () => {
          for await (const _ of bob.watchPrediction({ id })) expect.fail("bob saw alice's prediction");
        };
        expect(await codeOf(watch())).toBe(Code.NotFound);
        expect((await bob.listPredictions({})).predictions).toEqual([]);
        const models = clientOf(server, door, ModelService, "bob-key-0123456789");
        const publish = models.publishModelVersion({
          model: "alice/x",
          files: { "auspex.json": new Uint8Array(2) },
        });
        expect(await codeOf(publish)).toBe(Code.PermissionDenied);
      }
      const rest = await fetch(`${server.url}/v1/predictions`);
      expect(rest.status).toBe(401);
      const known = { headers: { authorization: "Bearer bob-key-0123456789" } };
      expect((await fetch(`${server.url}/v1/predictions`, known)).status).toBe(200);
    }));
});

test("the rate limit holds over all doors together", async () => {
  await using server = await startServer({ settings: { RATE_LIMIT: "5" } });
  const codes: (Code | undefined)[] = [];
  for (let i = 0; i < 4; i++) {
    for (const door of DOORS) {
      const client = clientOf(server, door, PredictionService);
      codes.push(await codeOf(client.createPrediction({ model: "auspex/none", deferResolution: true })));
    }
  }
  expect(codes.filter((code) => code === undefined).length).toBeGreaterThanOrEqual(5);
  expect(codes).toContain(Code.ResourceExhausted);
});

test("a full queue refuses, and takes again when there is room", async () => {
  await using server = await startServer({ settings: { QUEUE_MAX: "3", WORKERS: "1" } });
  const client = clientOf(server, "grpc", PredictionService);
  const workers = childrenOf(server.process.pid ?? 0);
  suspend(workers);
  const image = new Uint8Array(await readFile(photograph("zebra")));
  const create = () => client.createPrediction({ model: "auspex/mobilenet-tiny", files: { image } });
  const ids = [await create(), await create(), await create()].map(({ prediction }) => prediction?.id ?? "");
  expect(await codeOf(create())).toBe(Code.ResourceExhausted);
  await client.cancelPrediction({ id: ids[0] ?? "" });
  await create();
  resume(workers);
});

test("a deadline that passes in the queue fails the prediction without running it", async () => {
  await using server = await startServer({ settings: { WORKERS: "1" } });
  const client = clientOf(server, "grpc", PredictionService);
  const workers = childrenOf(server.process.pid ?? 0);
  const image = new Uint8Array(await readFile(photograph("zebra")));
  suspend(workers);
  const { prediction } = await client.createPrediction({
    model: "auspex/mobilenet-tiny",
    files: { image },
    deadline: { nanos: 200_000_000 },
    wait: { seconds: 30n },
  });
  expect(prediction).toMatchObject({ status: PredictionStatus.FAILED, error: { code: "deadline_exceeded" } });
});

test("what is past its retention is unknown, its picture included", async () => {
  await using server = await startServer({ settings: { RETENTION: "1s" } });
  const client = clientOf(server, "grpc", PredictionService);
  const image = new Uint8Array(await readFile(photograph("duck")));
  const { prediction } = await client.createPrediction({
    model: "auspex/mobilenet-tiny",
    files: { image },
    wait: { seconds: 30n },
  });
  const imageId = String(prediction?.input?.image);
  const images = clientOf(server, "grpc", ImageService);
  const got = await images.getImage({ id: imageId, includeData: true });
  expect(got.image?.state).toBe(ImageState.READY);
  expect(Buffer.from(got.data).equals(image)).toBe(true);
  await until(
    async () => (await codeOf(client.getPrediction({ id: prediction?.id ?? "" }))) === Code.NotFound,
  );
  expect(await codeOf(images.getImage({ id: imageId }))).toBe(Code.NotFound);
});

test("pictures are uploaded once and predicted by id", async () => {
  await using server = await startServer();
  const images = clientOf(server, "connect", ImageService);
  const data = new Uint8Array(await readFile(photograph("zebra")));
  const { image } = await images.uploadImage({ data });
  expect(image).toMatchObject({ state: ImageState.READY, mediaType: "image/jpeg" });
  const client = clientOf(server, "connect", PredictionService);
  const request = {
    model: "auspex/mobilenet-tiny",
    input: { image: image?.id ?? "", top_k: 1 },
    wait: { seconds: 30n },
  };
  const { prediction } = await client.createPrediction(request);
  expect(JSON.stringify(prediction?.output)).toContain("zebra");
  expect(await codeOf(images.uploadImage({ data: new Uint8Array(10) }))).toBe(Code.InvalidArgument);
  const unknown = { ...request, input: { image: "018f3a6e-0000-7000-8000-000000000000" } };
  expect(await codeOf(client.createPrediction(unknown))).toBe(Code.NotFound);
});
