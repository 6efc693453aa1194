/** F39: tokens that nobody may have: unsigned, wrongly signed, too old, too new, huge, nested, and what else JWTs can say. */
import { createHmac, generateKeyPairSync } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { hs256, keyPair, nowS, rs256 } from "../tokens.ts";
import { type Arena, faults, openArena, type Told } from "./arena.ts";
import { mutated } from "./mutations.ts";

const KEY = "a-key-of-the-tests-0123456789";
const SECRET = "a secret of the tests, of more than 32 characters";
const SUBJECT = "alice@example.com";
const ALICE = keyPair();
const STRANGER = keyPair();
const MUTATIONS = 600;

let folder: string;
let arena: Arena;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "auspex-tokens-"));
  const file = join(folder, "accounts.json");
  await writeFile(
    file,
    JSON.stringify({
      accounts: [{ name: "alice", subjects: [SUBJECT], publicKey: ALICE.publicKey }],
      secrets: [{ id: "cats", name: "alice", secret: SECRET }],
    }),
  );
  // The model's owner is whoever the key is.
  arena = await openArena(39, { ACCOUNTS_FILE: file, API_KEYS: `test:${KEY}` }, KEY);
});
afterAll(async () => {
  await arena?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
const assertion = (claims: Record<string, unknown> = {}, header?: Record<string, unknown>): string =>
  rs256(
    { sub: SUBJECT, aud: "https://x/v2/oauth2/token", exp: nowS() + 600, ...claims },
    ALICE.privateKey,
    header,
  );
const secretToken = (claims: Record<string, unknown> = {}, header?: Record<string, unknown>): string =>
  hs256({ iss: "cats", exp: nowS() + 600, ...claims }, SECRET, header);

const exchange = (text: string): Promise<Told> => {
  const grant = new URLSearchParams({
    grant_type: "urn:ietf:params:oauth:grant-type:jwt-bearer",
    assertion: text,
  });
  return arena.http("/v2/oauth2/token", grant.toString(), {
    "content-type": "application/x-www-form-urlencoded",
  });
};

/** The same token at every door that takes one. */
function useOf(token: string): readonly (() => Promise<Told>)[] {
  const list = "/auspex.v1.PredictionService/ListPredictions";
  const bearer = { authorization: `Bearer ${token}` };
  return [
    () => arena.grpc(list, Buffer.alloc(0), token),
    () => arena.http(list, "{}", { ...bearer, "content-type": "application/json" }),
    () => arena.http("/v1/predictions", undefined, bearer, "GET"),
    () => arena.http("/v2/vision/datasets", undefined, bearer, "GET"),
    () => arena.http("/api/v1/images/x", undefined, { authorization: `Token token="${token}"` }, "GET"),
    () => exchange(token),
  ];
}

const isRefused = ({ door, status }: Told): boolean =>
  door.startsWith("grpc ") ? status === 16 : status === 401 || (door.endsWith("/token") && status === 400);

test("F39 those that are right are taken", async () => {
  expect((await exchange(assertion())).status).toBe(200);
  const told = await arena.throwAll(useOf(secretToken()));
  expect(told.filter((each) => !isRefused(each)).length).toBe(5);
});

const [header, payload] = assertion().split(".");
const SIGNED_BY_PUBLIC_KEY = (() => {
  const text = `${encode({ alg: "HS256", typ: "JWT" })}.${payload}`;
  return `${text}.${createHmac("sha256", ALICE.publicKey).update(text).digest("base64url")}`;
})();
const EMBEDDED = generateKeyPairSync("rsa", { modulusLength: 2048 });

const WRONG: Readonly<Record<string, () => string>> = {
  "no signature": () => `${header}.${payload}.`,
  "two parts": () => `${header}.${payload}`,
  "alg none": () => `${encode({ alg: "none" })}.${encode({ iss: "cats" })}.`,
  "alg NONE, for an assertion": () => `${encode({ alg: "NONE" })}.${payload}.`,
  "no alg": () => `${encode({ typ: "JWT" })}.${encode({ iss: "cats" })}.AAAA`,
  "HS256 with the public key for a secret": () => SIGNED_BY_PUBLIC_KEY,
  "an HS256 token of an empty secret": () => hs256({ iss: "cats" }, ""),
  "another's key": () =>
    rs256({ sub: SUBJECT, aud: "https://x/v2/oauth2/token", exp: nowS() + 600 }, STRANGER.privateKey),
  "another's secret": () => hs256({ iss: "cats" }, `${SECRET}.`),
  "a key of its own in the header": () =>
    rs256({ sub: SUBJECT, aud: "https://x/v2/oauth2/token", exp: nowS() + 600 }, EMBEDDED.privateKey, {
      alg: "RS256",
      jwk: EMBEDDED.publicKey.export({ format: "jwk" }),
    }),
  "a place for a key in the header": () =>
    rs256({ sub: SUBJECT, exp: nowS() + 600 }, STRANGER.privateKey, {
      alg: "RS256",
      jku: "http://127.0.0.1/keys",
      x5u: "http://127.0.0.1/",
    }),
  "a kid that is a path": () => hs256({ iss: "cats" }, "", { alg: "HS256", kid: "../../../../dev/null" }),
  "a kid that is a statement": () => hs256({ iss: "cats" }, "x", { alg: "HS256", kid: "' UNION SELECT 'x" }),
  "crit of what nobody knows": () => secretToken({}, { alg: "HS256", crit: ["x"], x: 1 }),
  "crit b64": () => secretToken({}, { alg: "HS256", crit: ["b64"], b64: false }),
  "an exp a second ago": () => secretToken({ exp: nowS() - 1 }),
  "an exp that is a text": () => secretToken({ exp: "9999999999" }),
  "an iat in an hour": () => secretToken({ iat: nowS() + 3600 }),
  "an nbf in an hour": () => secretToken({ nbf: nowS() + 3600 }),
  "an issuer that is nobody": () => hs256({ iss: "dogs" }, SECRET),
  "an issuer named like what objects inherit": () => hs256({ iss: "__proto__" }, SECRET),
  "an issuer that is a list": () => hs256({ iss: ["cats"] }, SECRET),
  "an RS256 assertion for a token": () => assertion({ aud: "https://x/other" }),
  "an assertion of somebody else": () => assertion({ sub: "bob@example.com" }),
  "an assertion far in the future": () => assertion({ exp: nowS() + 10 * 365 * 86_400 }),
  "an assertion without an end": () => assertion({ exp: undefined }),
  "an assertion for nobody's door": () => assertion({ aud: undefined }),
  "a token in a token": () => hs256({ iss: "cats", token: secretToken() }, "x", { alg: "HS256", cty: "JWT" }),
  "an encrypted token": () =>
    `${encode({ alg: "dir", enc: "A256GCM" })}..${"A".repeat(16)}.${"A".repeat(32)}.${"A".repeat(22)}`,
  "7 KB of claims": () => secretToken({ x: "a".repeat(7000) }),
  "claims that are nested 1,000 deep": () =>
    `${encode({ alg: "HS256" })}.${Buffer.from(`${"[".repeat(1000)}${"]".repeat(1000)}`).toString("base64url")}.AAAA`,
  "claims that are no object": () => `${encode({ alg: "HS256" })}.${encode([1])}.AAAA`,
  "claims that are no UTF-8": () =>
    `${encode({ alg: "HS256" })}.${Buffer.from([0x7b, 0xff, 0x7d]).toString("base64url")}.AAAA`,
  "dots alone": () => "..",
  "a thousand dots": () => ".".repeat(1000),
  "percent signs": () => "%00%0a%25",
};

test.each(Object.entries(WRONG))("F39 %s: refused at every door alike", async (name, make) => {
  const told = await arena.throwAll(useOf(make()));
  // Longer than a token may be, though signed as it should be.
  const taken = told.filter((each) => !isRefused(each));
  expect(taken, name).toEqual([]);
});

test("F39 right ones with a few bytes changed", async () => {
  const [right, good] = [assertion(), secretToken()];
  const kept = (token: string): string => token.slice(0, token.lastIndexOf("."));
  function* inputs(): Generator<() => Promise<Told>> {
    for (let i = 0; i < MUTATIONS; i++) {
      const original = i % 2 === 0 ? right : good;
      // As a header or a parameter can carry it.
      const token = mutated(arena.random, Buffer.from(original))
        .toString("latin1")
        .replaceAll(/[^\x21-\x7e]/g, "~");
      // A signature's last character has bits that mean nothing.
      if (token === "" || token.length > 8192 || kept(token) === kept(original)) continue;
      yield* useOf(token);
    }
  }
  const told = await arena.throwAll(inputs());
  expect(told.filter((each) => !isRefused(each))).toEqual([]);
  expect(faults(told)).toEqual([]);
});

test("F39 the server stands as before", () => arena.settle("tokens"));
