/** Credentials of every kind on the real server: what each opens, and what none opens. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { AccountService } from "../../gen/auspex/v1/account_pb.ts";
import { ImageService } from "../../gen/auspex/v1/image_pb.ts";
import { ModelService } from "../../gen/auspex/v1/model_pb.ts";
import { PredictionService, PredictionStatus } from "../../gen/auspex/v1/prediction_pb.ts";
import { clientOf, DOORS, photograph, startServer, type TestServer } from "../harness.ts";
import { hs256, keyPair, nowS, rs256 } from "../tokens.ts";

const JWT_SECRET = "a secret of the server's, which is long";
const CATS = "a secret of alice's, which is also long";
const KEY = "carol-key-0123456789";
const MODEL = "auspex/mobilenet-tiny";
const alice = keyPair();
let folder: string;
let server: TestServer;

const assertionOf = (more: Record<string, unknown> = {}, key = alice.privateKey) =>
  rs256({ sub: "alice@example.com", aud: `${server.url}/v2/oauth2/token`, exp: nowS() + 60, ...more }, key);

const codeOf = async (promise: Promise<unknown>): Promise<Code | undefined> => {
  try {
    await promise;
    return undefined;
  } catch (error) {
    return ConnectError.from(error).code;
  }
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "auspex-accounts-"));
  const file = join(folder, "accounts.json");
  const account = { name: "alice", subjects: ["alice@example.com"], publicKey: alice.publicKey };
  await writeFile(
    file,
    JSON.stringify({ accounts: [account], secrets: [{ id: "cats", name: "alice", secret: CATS }] }),
  );
  const settings = { ACCOUNTS_FILE: file, JWT_SECRET, API_KEYS: `carol:${KEY}`, MONTHLY_QUOTA: "6" };
  server = await startServer({ settings });
});
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

describe.each(DOORS)("through %s", (door) => {
  test("an assertion is exchanged without a credential, for a token that opens everything", async () => {
    const accounts = clientOf(server, door, AccountService);
    const { accessToken, expiresIn, refreshToken } = await accounts.createToken({
      grant: { case: "assertion", value: assertionOf({ exp: nowS() + 3600.5 }) },
      validFor: { seconds: 120n },
      offline: true,
    });
    expect(expiresIn?.seconds).toBe(120n);
    for (const other of DOORS) {
      const { aliases } = await clientOf(server, other, ModelService, accessToken).listModelAliases({});
      expect(aliases).toEqual([]);
    }
    const rest = await fetch(`${server.url}/v1/predictions`, {
      headers: { authorization: `Bearer ${accessToken}` },
    });
    expect(rest.status).toBe(200);
    const again = await accounts.createToken({ grant: { case: "refreshToken", value: refreshToken } });
    expect(again).toMatchObject({ refreshToken: "", expiresIn: { seconds: 60n } });
    const mine = clientOf(server, door, AccountService, again.accessToken);
    expect(await codeOf(mine.revokeToken({ token: accessToken }))).toBe(Code.InvalidArgument);
    expect(
      await codeOf(clientOf(server, door, AccountService, KEY).revokeToken({ token: refreshToken })),
    ).toBe(Code.NotFound);
    await mine.revokeToken({ token: refreshToken });
    expect(await codeOf(accounts.createToken({ grant: { case: "refreshToken", value: refreshToken } }))).toBe(
      Code.Unauthenticated,
    );
  });

  test("nothing else opens anything", async () => {
    const stranger = keyPair();
    const create = (value: string) =>
      clientOf(server, door, AccountService).createToken({ grant: { case: "assertion", value } });
    expect(await codeOf(create(assertionOf({}, stranger.privateKey)))).toBe(Code.Unauthenticated);
    expect(await codeOf(create(assertionOf({ exp: nowS() - 1 })))).toBe(Code.Unauthenticated);
    expect(await codeOf(create("x".repeat(8193)))).toBe(Code.InvalidArgument);
    const bad = [
      undefined,
      assertionOf(),
      hs256({ sub: "alice", exp: nowS() + 60 }, JWT_SECRET, { typ: "at+jwt", alg: "HS256" }),
      hs256({ user_id: "alice" }, CATS),
      hs256({ user_id: "alice" }, JWT_SECRET, { alg: "none" }),
      hs256({ user_id: "alice", exp: nowS() - 1 }, JWT_SECRET),
      hs256({ user_id: "alice", iat: nowS() + 3600 }, JWT_SECRET),
    ];
    for (const token of bad) {
      expect(await codeOf(clientOf(server, door, AccountService, token).getUsage({}))).toBe(
        Code.Unauthenticated,
      );
    }
  });

  test("a user's and a secret's token are whom they stand for", async () => {
    const user = clientOf(server, door, ImageService, hs256({ user_id: "dave" }, JWT_SECRET));
    const data = new Uint8Array(await readFile(photograph("duck")));
    const { image } = await user.uploadImage({ data });
    const id = image?.id ?? "";
    expect((await user.getImage({ id })).image?.id).toBe(id);
    const other = clientOf(server, door, ImageService, hs256({ iss: "cats" }, CATS));
    expect(await codeOf(other.getImage({ id }))).toBe(Code.NotFound);
  });
});

test("nobody gets to send more than 64 KiB without a credential, over HTTP", async () => {
  const accounts = clientOf(server, "connect", AccountService);
  const create = (length: number) =>
    accounts.createToken({ grant: { case: "assertion", value: "x".repeat(length) } });
  // Four bytes of the message are not the assertion's.
  expect(await codeOf(create(64 * 1024 - 4))).toBe(Code.InvalidArgument);
  expect(await codeOf(create(64 * 1024))).toBe(Code.ResourceExhausted);
});

test("an account's predictions are counted through all doors, up to its quota, and refused ones are not written", async () => {
  const token = hs256({ user_id: "erin" }, JWT_SECRET);
  const deferred = { model: "no-model", deferResolution: true };
  for (const door of DOORS) {
    const client = clientOf(server, door, PredictionService, token);
    await client.createPrediction(deferred);
    const { prediction } = await client.createPrediction({
      model: MODEL,
      files: { image: new Uint8Array(await readFile(photograph("zebra"))) },
      wait: { seconds: 30n },
    });
    expect(prediction?.status).toBe(PredictionStatus.SUCCEEDED);
  }
  const usage = await clientOf(server, "grpc", AccountService, token).getUsage({});
  expect(usage).toMatchObject({ predictionsUsed: 6n, predictionsMax: 6n });
  for (const door of DOORS) {
    const client = clientOf(server, door, PredictionService, token);
    expect(await codeOf(client.createPrediction(deferred))).toBe(Code.ResourceExhausted);
    expect((await client.listPredictions({})).predictions).toHaveLength(6);
  }
  const rest = await fetch(`${server.url}/v1/predictions`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify({ model: MODEL, input: {} }),
  });
  expect(rest.status).toBe(429);
  const others = clientOf(server, "grpc", PredictionService, hs256({ user_id: "frank" }, JWT_SECRET));
  expect(await codeOf(others.createPrediction(deferred))).toBeUndefined();
});

test("a creation that comes to nothing is not counted", async () => {
  const token = hs256({ user_id: "grace" }, JWT_SECRET);
  const client = clientOf(server, "grpc", PredictionService, token);
  const request = { model: "no-model", deferResolution: true, requestId: "once" };
  await Promise.all([client.createPrediction(request), client.createPrediction(request)]);
  await client.createPrediction(request);
  expect(await codeOf(client.createPrediction({ model: "no-model" }))).toBe(Code.NotFound);
  const usage = await clientOf(server, "grpc", AccountService, token).getUsage({});
  expect(usage.predictionsUsed).toBe(1n);
});

test("an outside id is an alias of its principal's, wherever a model is named", async () => {
  const token = hs256({ user_id: "heidi" }, JWT_SECRET);
  const models = clientOf(server, "grpc", ModelService, token);
  const alias = "a042400000Ns4HdAAJ";
  await models.setModelAlias({ alias, model: MODEL });
  await models.setModelAlias({ alias: "second", model: alias });
  const client = clientOf(server, "grpc", PredictionService, token);
  for (const model of [alias, "second"]) {
    const { prediction } = await client.createPrediction({ model, input: {} });
    expect(prediction).toMatchObject({ model: MODEL, version: 1 });
  }
  const stranger = clientOf(server, "grpc", PredictionService, KEY);
  expect(await codeOf(stranger.createPrediction({ model: alias, input: {} }))).toBe(Code.NotFound);
  expect(await codeOf(models.setModelAlias({ alias: "x".repeat(65), model: MODEL }))).toBe(
    Code.InvalidArgument,
  );
  await models.deleteModelAlias({ alias });
  expect(await codeOf(client.createPrediction({ model: alias, input: {} }))).toBe(Code.NotFound);
});

test("usage, refresh tokens and the secret outlive the server", async () => {
  const dataDir = await mkdtemp(join(folder, "data-"));
  const create = async (grant: { case: "assertion" | "refreshToken"; value: string }, running: TestServer) =>
    clientOf(running, "grpc", AccountService).createToken({ grant, offline: grant.case === "assertion" });
  const settings = { CATALOGUE: "0" };
  const first = await startServer({ dataDir, settings });
  // An open server takes any assertion.
  const { refreshToken, accessToken } = await create({ case: "assertion", value: assertionOf() }, first);
  const predictions = clientOf(first, "grpc", PredictionService);
  for (let i = 0; i < 3; i++) await predictions.createPrediction({ model: "none", deferResolution: true });
  expect(await first.terminate()).toBe(0);
  await using second = await startServer({ dataDir, settings });
  await create({ case: "refreshToken", value: refreshToken }, second);
  const accounts = clientOf(second, "grpc", AccountService);
  expect((await accounts.getUsage({})).predictionsUsed).toBe(3n);
  // Known as the first server's own, which an access token of another secret is not.
  expect(await codeOf(accounts.revokeToken({ token: accessToken }))).toBe(Code.InvalidArgument);
});

test("a server with an accounts file that is wrong says all of it and does not start", async () => {
  const file = join(folder, "wrong.json");
  await writeFile(
    file,
    JSON.stringify({ accounts: [{ name: "A", subjects: [] }], secrets: [{ secret: "short" }] }),
  );
  await expect(startServer({ settings: { ACCOUNTS_FILE: file, HTTP_PORT: "x" } })).rejects.toThrowError(
    /HTTP_PORT[\s\S]*accounts\[0\]\.name[\s\S]*publicKey[\s\S]*subjects[\s\S]*secrets\[0\]\.secret/,
  );
});
