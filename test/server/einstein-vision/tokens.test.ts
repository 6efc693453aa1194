/** Tokens by HTTP (spec/einstein-vision.md §1.1), and predictions that nobody waited for long enough. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { startServer, type TestServer } from "../../harness.ts";
import { drawPicture } from "../../pictures.ts";
import { type KeyPair, keyPair, nowS, rs256 } from "../../tokens.ts";
import { call } from "./client.ts";

const SUBJECT = "alice@example.com";
const BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer";

let folder: string;
let server: TestServer;
let keys: KeyPair;

beforeAll(async () => {
  keys = keyPair();
  folder = await mkdtemp(join(tmpdir(), "auspex-test-"));
  const file = join(folder, "accounts.json");
  const accounts = [{ name: "alice", subjects: [SUBJECT], publicKey: keys.publicKey }];
  await writeFile(file, JSON.stringify({ accounts, secrets: [] }));
  server = await startServer({
    settings: { CATALOGUE: "auspex/mobilenet", ACCOUNTS_FILE: file, WAIT_MAX: "1ms" },
  });
});
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

/** As clients make them: a fraction in `exp`, an `iat`, an address of their own. */
function assertion(claims: Record<string, unknown> = {}): string {
  const base = {
    sub: SUBJECT,
    aud: "https://api.metamind.io/v1/oauth2/token",
    iat: nowS(),
    exp: nowS() + 3600.5,
  };
  return rs256({ ...base, ...claims }, keys.privateKey);
}

const token = (fields: Record<string, string>, path = "/v2/oauth2/token") =>
  call(server, "POST", path, { raw: new URLSearchParams(fields) });
const isGood = async (key: string) =>
  (await call(server, "GET", "/v2/vision/datasets", { key })).status === 200;

it.each(["/v2/oauth2/token", "/v2/oauth2/token/", "/v1/oauth2/token", "/v1/oauth2/token/"])(
  "an assertion is exchanged for a token at %s",
  async (path) => {
    const { status, body } = await token({ grant_type: BEARER, assertion: assertion() }, path);
    expect([status, body]).toEqual([
      200,
      { access_token: expect.any(String), token_type: "Bearer", expires_in: "60" },
    ]);
    expect(await isGood(body.access_token)).toBe(true);
  },
);

it("also from a body written by hand, with the colons as they are, and for as long as is asked", async () => {
  const { status, body } = await call(server, "POST", "/v2/oauth2/token", {
    raw: `grant_type=${BEARER}&assertion=${assertion()}&valid_for=30000`,
    headers: { "content-type": "application/x-www-form-urlencoded; charset=utf-8" },
  });
  expect([status, body.expires_in]).toEqual([200, "30000"]);
});

it("a refresh token is issued for scope offline, refreshes, is no access token, and can be removed", async () => {
  const first = await token({
    grant_type: BEARER,
    assertion: assertion(),
    scope: "offline",
    valid_for: "120",
  });
  expect(first.body).toEqual({
    access_token: expect.any(String),
    refresh_token: expect.any(String),
    token_type: "Bearer",
    expires_in: "120",
  });
  const { access_token, refresh_token } = first.body;
  const refreshed = await token({ grant_type: "refresh_token", refresh_token });
  expect(refreshed).toMatchObject({ status: 200, body: { token_type: "Bearer", expires_in: "60" } });
  expect(refreshed.body).not.toHaveProperty("refresh_token");
  expect(await isGood(refreshed.body.access_token)).toBe(true);
  expect(await isGood(refresh_token)).toBe(false);
  const remove = (what: string) =>
    call(server, "DELETE", `/v2/oauth2/tokens/${encodeURIComponent(what)}`, { key: access_token });
  expect(await remove(refresh_token)).toMatchObject({ status: 204, body: undefined });
  expect((await remove(refresh_token)).status).toBe(404);
  expect(await remove(access_token)).toMatchObject({ status: 400, body: { message: expect.any(String) } });
  expect(await token({ grant_type: "refresh_token", refresh_token })).toMatchObject({
    status: 400,
    body: { message: expect.any(String) },
  });
});

it.each([
  ["of somebody else", () => assertion({ sub: "eve@example.com" })],
  [
    "signed by somebody else",
    () => rs256({ sub: SUBJECT, aud: "x", exp: nowS() + 60 }, keyPair().privateKey),
  ],
  ["that has expired", () => assertion({ exp: nowS() - 600 })],
  ["that is good for too long", () => assertion({ exp: nowS() + 26 * 3600 })],
])("an assertion is refused: one %s", async (_name, make) => {
  expect(await token({ grant_type: BEARER, assertion: make() })).toMatchObject({
    status: 400,
    body: { message: expect.any(String) },
  });
});

it.each(["0", "2592001", "x"])("a validity of %s seconds is refused", async (valid_for) => {
  expect(await token({ grant_type: BEARER, assertion: assertion(), valid_for })).toMatchObject({
    status: 400,
    body: { message: expect.stringContaining("'valid_for'") },
  });
});

it("a prediction that takes longer than is waited is 504, and does not go on", async () => {
  const { body } = await token({ grant_type: BEARER, assertion: assertion(), valid_for: "600" });
  const reply = await call(server, "POST", "/v2/vision/predict", {
    key: body.access_token,
    form: { modelId: "GeneralImageClassifier", sampleContent: [await drawPicture("circle", 1)] },
  });
  expect([reply.status, reply.body]).toEqual([504, { message: expect.any(String) }]);
});
