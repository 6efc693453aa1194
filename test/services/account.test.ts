/** Tokens and usage over a real store; the whole server is tried in `test/server/account.test.ts`. */
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import {
  CreateTokenRequestSchema,
  GetUsageRequestSchema,
  RevokeTokenRequestSchema,
} from "../../gen/auspex/v1/account_pb.ts";
import { readConfig } from "../../src/config.ts";
import { LOCAL, NOBODY, type Principal } from "../../src/domain/principal.ts";
import { createAccountOperations, REFRESH_TOKENS_MAX } from "../../src/services/account.ts";
import { ownSecret } from "../../src/services/secret.ts";
import { createTokens, TOKEN_LENGTH_MAX } from "../../src/services/token.ts";
import { createUsage } from "../../src/services/usage.ts";
import { openStore } from "../../src/store/open-store.ts";
import type { Store } from "../../src/store/store.ts";
import { tempFolder, tempStore } from "../store/temp-store.ts";
import { decodeJwt, hs256, keyPair, rs256 } from "../tokens.ts";

const JWT_SECRET = "the server's own secret, long enough";
const CATS = "a secret of alice's, also long enough";
const alice = keyPair();
const stranger = keyPair();
const AUD = "https://api.example/v2/oauth2/token";

const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => "ok",
    (error: { code?: string }) => error.code,
  );
const as = (name: string) => ({
  principal: { name, open: false } satisfies Principal,
  signal: new AbortController().signal,
  deadlineAt: undefined,
});

let shared: Store;
let sharedFolder: string;
beforeAll(async () => {
  sharedFolder = mkdtempSync(join(tmpdir(), "auspex-accounts-"));
  shared = await openStore({ dataDir: sharedFolder, queueMax: 1 });
});
afterAll(async () => {
  await shared.close();
  rmSync(sharedFolder, { recursive: true });
});

interface Given {
  readonly open?: boolean;
  readonly quota?: number;
  /** Not the shared one, in which other tests have left something. */
  readonly store?: Store;
}

async function services({ open = false, quota, store: used = shared }: Given = {}) {
  const folder = tempFolder();
  const file = join(folder, "accounts.json");
  const account = (name: string, subject: string, { publicKey }: typeof alice) => ({
    name,
    subjects: [subject],
    publicKey,
  });
  const accounts = [
    account("alice", "alice@example.com", alice),
    account("bob", "bob@example.com", stranger),
  ];
  writeFileSync(file, JSON.stringify({ accounts, secrets: [{ id: "cats", name: "alice", secret: CATS }] }));
  const config = readConfig(open ? {} : { AUSPEX_ACCOUNTS_FILE: file });
  let clockMs = Date.UTC(2026, 1, 28, 23, 0, 0);
  const now = () => clockMs * 1000;
  const tokens = createTokens({ secret: JWT_SECRET, accounts: config.ACCOUNTS_FILE, open, now });
  const log = { info() {}, warn() {}, error: vi.fn() } as never;
  const usage = createUsage({ store: used.accounts, quota, now, log });
  onTestFinished(() => usage.close().catch(() => {}));
  const operations = createAccountOperations({ store: used.accounts, tokens, usage, limits: config, now });
  const nobody = { ...as(""), principal: NOBODY };
  return {
    store: used,
    tokens,
    usage,
    nowS: () => Math.floor(clockMs / 1000),
    advance(ms: number) {
      clockMs += ms;
    },
    createToken: (init: MessageInitShape<typeof CreateTokenRequestSchema>) =>
      operations.createToken(create(CreateTokenRequestSchema, init), nobody),
    revoke: (principal: string, token: string) =>
      operations.revokeToken(create(RevokeTokenRequestSchema, { token }), as(principal)),
    usageOf: (principal: string) => operations.getUsage(create(GetUsageRequestSchema), as(principal)),
  };
}

const assertion = (value: string) => ({ grant: { case: "assertion", value } as const });
const refreshing = (value = "") => ({ grant: { case: "refreshToken", value } as const });

describe("an assertion", () => {
  test("is good for an access token of its account", async () => {
    const { createToken, tokens, nowS } = await services();
    const claims = { sub: "alice@example.com", aud: AUD, exp: nowS() + 60 };
    const answer = await createToken(assertion(rs256(claims, alice.privateKey)));
    expect(answer.expiresIn).toEqual({ seconds: 60n });
    expect(answer.refreshToken).toBe("");
    expect(await tokens.verify(answer.accessToken ?? "")).toEqual({ name: "alice", open: false });
  });

  test.each<[string, (now: number) => Record<string, unknown>]>([
    ["a broken exp", (now) => ({ exp: now + 0.5 })],
    ["an exp in 25 hours", (now) => ({ exp: now + 25 * 3600 })],
    ["the address of another version", () => ({ aud: "http://localhost:8080/v1/oauth2/token" })],
    ["a slash at the end", () => ({ aud: `${AUD}/` })],
    ["more than one address", () => ({ aud: ["https://elsewhere.example", AUD] })],
    ["an iat", (now) => ({ iat: now })],
    ["a clock that is a minute ahead", (now) => ({ iat: now + 60 })],
  ])("may have %s", async (_name, more) => {
    const { createToken, nowS } = await services();
    const claims = { sub: "alice@example.com", aud: AUD, exp: nowS() + 60, ...more(nowS()) };
    expect(await codeOf(createToken(assertion(rs256(claims, alice.privateKey))))).toBe("ok");
  });

  test.each<[string, (now: number) => Record<string, unknown>, string]>([
    ["an exp that has come", (now) => ({ exp: now }), "has expired"],
    ["an exp beyond 25 hours", (now) => ({ exp: now + 25 * 3600 + 1 }), "25 hours ahead"],
    ["no exp", () => ({ exp: undefined }), "exp is missing"],
    ["an exp that is a text", () => ({ exp: "tomorrow" }), "exp is missing or not valid"],
    [
      "another audience",
      () => ({ aud: "https://api.example/v2/vision" }),
      "not the address of a token endpoint",
    ],
    ["an audience that is no address", () => ({ aud: "oauth2/token" }), "not the address"],
    ["no audience", () => ({ aud: undefined }), "aud is missing"],
    ["an iat to come", (now) => ({ iat: now + 61 }), "in the future"],
    ["an nbf to come", (now) => ({ nbf: now + 61 }), "nbf"],
  ])("may not have %s", async (_name, more, message) => {
    const { createToken, nowS } = await services();
    const claims = { sub: "alice@example.com", aud: AUD, exp: nowS() + 60, ...more(nowS()) };
    const answer = createToken(assertion(rs256(claims, alice.privateKey)));
    await expect(answer).rejects.toMatchObject({
      code: "unauthenticated",
      message: expect.stringContaining(message),
    });
  });

  test("is refused in the same words, whether its subject or its signature is wrong", async () => {
    const { createToken, nowS } = await services();
    const claims = { sub: "alice@example.com", aud: AUD, exp: nowS() + 60 };
    const good = rs256(claims, alice.privateKey);
    const [header = "", payload = ""] = good.split(".");
    const none = Buffer.from('{"alg":"none"}').toString("base64url");
    for (const bad of [
      rs256(claims, stranger.privateKey),
      rs256({ ...claims, sub: "carol@example.com" }, stranger.privateKey),
      rs256({ ...claims, sub: "carol@example.com" }, alice.privateKey),
      rs256({ ...claims, sub: undefined }, alice.privateKey),
      rs256({ ...claims, sub: ["alice@example.com"] }, alice.privateKey),
      // The public key as a secret: a verifier that took the algorithm from the token would fall for it.
      hs256(claims, alice.publicKey),
      rs256(claims, alice.privateKey, { alg: "RS384" }),
      rs256(claims, alice.privateKey, { alg: "RS256", crit: ["x"], x: 1 }),
      `${none}.${payload}.`,
      `${header}.${payload}.`,
      `${header}.${payload}`,
      good.slice(0, -4),
      "no token",
      `${good}.x`,
    ]) {
      await expect(createToken(assertion(bad))).rejects.toMatchObject({
        code: "unauthenticated",
        message: "the assertion is not signed by a known account",
      });
    }
  });

  test("is as long as any token may be", async () => {
    const { createToken } = await services();
    expect(await codeOf(createToken(assertion("x".repeat(TOKEN_LENGTH_MAX))))).toBe("unauthenticated");
    expect(await codeOf(createToken(assertion("x".repeat(TOKEN_LENGTH_MAX + 1))))).toBe("invalid_argument");
  });

  test("of anybody is taken by an open server, if it is one", async () => {
    const { createToken, tokens } = await services({ open: true });
    const old = { sub: "whoever", aud: "x", exp: 1 };
    const answer = await createToken({ ...assertion(rs256(old, stranger.privateKey)), offline: true });
    expect(decodeJwt(answer.accessToken ?? "").claims.sub).toBe("local");
    expect(await tokens.verify(answer.accessToken ?? "")).toBe(LOCAL);
    expect(await codeOf(createToken(refreshing(answer.refreshToken)))).toBe("ok");
    for (const bad of ["no token", hs256(old, "x"), rs256({ sub: "whoever" }, stranger.privateKey)])
      expect(await codeOf(createToken(assertion(bad)))).toBe("unauthenticated");
  });
});

describe("an access token", () => {
  test.each([
    ["1 s", 1, 0, "ok"],
    ["less", 0, 999_999_999, "invalid_argument"],
    ["30 days", 30 * 86_400, 0, "ok"],
    ["more", 30 * 86_400, 1, "invalid_argument"],
    ["less than nothing", -1, 0, "invalid_argument"],
  ])("for %s", async (_name, seconds, nanos, code) => {
    const validFor = { seconds: BigInt(seconds), nanos };
    const { createToken, nowS } = await services();
    const claims = { sub: "alice@example.com", aud: AUD, exp: nowS() + 60 };
    const answer = createToken({ ...assertion(rs256(claims, alice.privateKey)), validFor });
    expect(await codeOf(answer)).toBe(code);
  });

  test("is good until it expires, and then is not", async () => {
    const { tokens, advance } = await services();
    const token = await tokens.issue("alice", 60_000);
    expect(decodeJwt(token).header).toEqual({ typ: "at+jwt", alg: "HS256" });
    advance(59_000);
    expect((await tokens.verify(token)).name).toBe("alice");
    advance(1000);
    expect(await codeOf(tokens.verify(token))).toBe("unauthenticated");
  });

  test("of an account that is no more is refused", async () => {
    const { tokens } = await services();
    expect(await codeOf(tokens.verify(await tokens.issue("carol", 60_000)))).toBe("unauthenticated");
  });

  test("cannot be made with the secret that users' tokens are signed with, nor be used as one", async () => {
    const { tokens, nowS } = await services();
    const claims = { sub: "alice", iat: nowS(), exp: nowS() + 60 };
    const forged = hs256(claims, JWT_SECRET, { typ: "at+jwt", alg: "HS256" });
    expect(await codeOf(tokens.verify(forged))).toBe("unauthenticated");
    expect(await codeOf(tokens.renew(await tokens.issue("alice", 60_000)))).toBe("unauthenticated");
  });
});

describe("a refresh token", () => {
  async function offline() {
    const all = await services({ store: await tempStore() });
    const claims = { sub: "alice@example.com", aud: AUD, exp: all.nowS() + 60 };
    const { refreshToken = "" } = await all.createToken({
      ...assertion(rs256(claims, alice.privateKey)),
      offline: true,
    });
    return { ...all, refreshToken };
  }

  test("gives access tokens for ever, until it is revoked by its owner", async () => {
    const { createToken, revoke, tokens, refreshToken, advance } = await offline();
    advance(400 * 86_400_000);
    const { accessToken = "" } = await createToken({
      ...refreshing(refreshToken),
      validFor: { seconds: 90n },
    });
    expect((await tokens.verify(accessToken)).name).toBe("alice");
    expect(await codeOf(revoke("bob", refreshToken))).toBe("not_found");
    expect(await codeOf(createToken(refreshing(refreshToken)))).toBe("ok");
    expect(await codeOf(revoke("alice", refreshToken))).toBe("ok");
    expect(await codeOf(createToken(refreshing(refreshToken)))).toBe("unauthenticated");
    expect(await codeOf(revoke("alice", refreshToken))).toBe("not_found");
  });

  test("is no access token, and an access token cannot be revoked, expired or not", async () => {
    const { tokens, revoke, refreshToken, advance } = await offline();
    expect(await codeOf(tokens.verify(refreshToken))).toBe("unauthenticated");
    const access = await tokens.issue("alice", 60_000);
    expect(await codeOf(revoke("alice", access))).toBe("invalid_argument");
    advance(3_600_000);
    expect(await codeOf(revoke("alice", access))).toBe("invalid_argument");
    expect(await codeOf(revoke("alice", hs256({ user_id: "alice" }, JWT_SECRET)))).toBe("not_found");
  });

  test("is not stored as it is", async () => {
    const { store, refreshToken } = await offline();
    expect(await store.accounts.ownerOfRefreshToken(refreshToken)).toBeUndefined();
  });

  test.each([
    ["nothing", {}],
    ["an empty assertion", assertion("")],
    ["offline", { ...refreshing("x"), offline: true }],
  ])("cannot be had with %s", async (_name, request) => {
    const { createToken } = await services();
    expect(await codeOf(createToken(request))).toBe("invalid_argument");
  });

  test("is one of a limited number", async () => {
    const { createToken, revoke, store, nowS, refreshToken } = await offline();
    const row = (n: number) => ({ hash: `h${n}`, principal: "alice", createdAt: 1 });
    for (let n = 1; n < REFRESH_TOKENS_MAX; n++)
      void store.accounts.insertRefreshToken(row(n), REFRESH_TOKENS_MAX);
    const claims = { sub: "alice@example.com", aud: AUD, exp: nowS() + 60 };
    const another = () => createToken({ ...assertion(rs256(claims, alice.privateKey)), offline: true });
    expect(await codeOf(another())).toBe("resource_exhausted");
    await revoke("alice", refreshToken);
    expect(await codeOf(another())).toBe("ok");
  });
});

describe("a user's or a secret's token", () => {
  const USER = "00de5b62-fc01-410c-b79f-f06765403ecc";

  test("stands for its user, or for the name that the secret is under", async () => {
    const { tokens, nowS } = await services();
    const times = { exp: nowS() + 14_400, iat: nowS() };
    expect(await tokens.verify(hs256({ ...times, user_id: USER, abilities: {} }, JWT_SECRET))).toEqual({
      name: USER,
      open: false,
    });
    expect((await tokens.verify(hs256({ iss: "cats", abilities: {} }, CATS))).name).toBe("alice");
    // Who has a secret speaks for its name alone.
    expect((await tokens.verify(hs256({ iss: "cats", user_id: "bob" }, CATS))).name).toBe("alice");
  });

  test.each<[string, (now: number) => string]>([
    ["another secret", () => hs256({ user_id: USER }, "another secret, which is long enough")],
    ["a user's by an account's secret", () => hs256({ user_id: USER }, CATS)],
    ["a secret's by the server's", () => hs256({ iss: "cats" }, JWT_SECRET)],
    ["an unknown secret", () => hs256({ iss: "dogs" }, CATS)],
    ["the catalogue's name", () => hs256({ user_id: "auspex" }, JWT_SECRET)],
    ["a name that none can have", () => hs256({ user_id: "Not A Name" }, JWT_SECRET)],
    ["nobody", () => hs256({}, JWT_SECRET)],
    ["expired", (now) => hs256({ user_id: USER, exp: now }, JWT_SECRET)],
    ["issued later", (now) => hs256({ user_id: USER, iat: now + 61 }, JWT_SECRET)],
    ["issued at some time", () => hs256({ user_id: USER, iat: "now" }, JWT_SECRET)],
    ["alg none", () => `${hs256({ user_id: USER }, JWT_SECRET, { alg: "none" }).split(".", 2).join(".")}.`],
    ["alg none, signed", () => hs256({ user_id: USER }, JWT_SECRET, { alg: "none" })],
    ["another alg", () => hs256({ user_id: USER }, JWT_SECRET, { alg: "HS512" })],
    ["claims that are no object", () => hs256([] as never, JWT_SECRET)],
    ["too long", () => hs256({ user_id: USER, x: "x".repeat(TOKEN_LENGTH_MAX) }, JWT_SECRET)],
    ["no token", () => "x.y.z"],
  ])("is refused: %s", async (_name, make) => {
    const { tokens, nowS } = await services();
    expect(await codeOf(tokens.verify(make(nowS())))).toBe("unauthenticated");
    expect(await codeOf(tokens.renew(make(nowS())))).toBe("unauthenticated");
  });

  test("is renewed with its claims in their order, four hours ahead, by who signed it", async () => {
    const { tokens, nowS, advance } = await services();
    const claims = { einstein: true, abilities: { album: {} }, iss: "cats", iat: nowS() - 5 };
    const { principal, token } = await tokens.renew(hs256(claims, CATS));
    expect(principal.name).toBe("alice");
    const expected = {
      exp: nowS() + 14_400,
      iat: nowS(),
      iss: "cats",
      abilities: { album: {} },
      einstein: true,
    };
    expect(token).toBe(hs256(expected, CATS));
    // In the same second it is the same.
    expect((await tokens.renew(token)).token).toBe(token);
    advance(1000);
    expect((await tokens.renew(token)).token).not.toBe(token);
  });

  test("is signed by an open server itself, if it is well-formed and not expired", async () => {
    const { tokens, nowS } = await services({ open: true });
    const claims = { user_id: USER, abilities: {} };
    const { principal, token } = await tokens.renew(hs256(claims, "whose secret is this?"));
    expect(principal).toBe(LOCAL);
    expect(token).toBe(hs256({ exp: nowS() + 14_400, iat: nowS(), ...claims }, JWT_SECRET));
    for (const bad of [
      hs256({ ...claims, exp: nowS() }, "x"),
      hs256({ ...claims, exp: "never" }, "x"),
      hs256({ ...claims, iat: nowS() + 61 }, "x"),
      hs256(claims, "x", { alg: "none" }),
      "x.y.z",
    ])
      expect(await codeOf(tokens.renew(bad))).toBe("unauthenticated");
  });
});

describe("usage", () => {
  test("is counted by principal and month, and kept", async () => {
    const { usage, usageOf, store, advance } = await services({ store: await tempStore() });
    const february = await usage.take("alice");
    await usage.take("alice");
    await usage.take("bob");
    expect(await usageOf("alice")).toMatchObject({
      predictionsUsed: 2n,
      predictionsMax: 0n,
      startTime: { seconds: BigInt(Date.UTC(2026, 1) / 1000) },
      endTime: { seconds: BigInt(Date.UTC(2026, 2) / 1000) },
    });
    usage.giveBack("alice", february);
    expect((await usageOf("alice")).predictionsUsed).toBe(1n);
    advance(3_600_000);
    expect((await usageOf("alice")).predictionsUsed).toBe(0n);
    await usage.take("alice");
    await usage.close();
    expect(await store.accounts.usage("alice", february)).toBe(1);
    expect(await store.accounts.usage("alice", Date.UTC(2026, 2) * 1000)).toBe(1);
    expect(await store.accounts.usage("bob", february)).toBe(1);
    const next = await services({ store });
    await next.usage.take("alice");
    expect((await next.usageOf("alice")).predictionsUsed).toBe(2n);
  });

  test("stays right while it is written and read in between", async () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
    onTestFinished(() => void vi.useRealTimers());
    const { usage, usageOf } = await services({ store: await tempStore() });
    for (let round = 1; round <= 5; round++) {
      await Promise.all(Array.from({ length: 7 }, () => usage.take("alice")));
      vi.advanceTimersByTime(1000);
      await usage.take("alice");
      expect((await usageOf("alice")).predictionsUsed).toBe(BigInt(round * 8));
      // Written and then idle: dropped from memory, read anew.
      vi.advanceTimersByTime(2000);
      expect((await usageOf("alice")).predictionsUsed).toBe(BigInt(round * 8));
    }
  });

  test("has a quota that many at once do not exceed, and that ends with the month", async () => {
    const { usage, usageOf, advance } = await services({ quota: 10, store: await tempStore() });
    const taken = await Promise.all(Array.from({ length: 25 }, () => codeOf(usage.take("alice"))));
    expect(taken.filter((code) => code === "ok")).toHaveLength(10);
    expect(await codeOf(usage.take("alice"))).toBe("resource_exhausted");
    expect(await codeOf(usage.take("bob"))).toBe("ok");
    expect(await usageOf("alice")).toMatchObject({ predictionsUsed: 10n, predictionsMax: 10n });
    advance(3_600_000);
    expect(await codeOf(usage.take("alice"))).toBe("ok");
  });
});

describe("the server's secret", () => {
  test("is made once, and for the server alone to read", () => {
    const folder = tempFolder();
    const secret = ownSecret("", folder);
    expect(Buffer.from(secret, "base64url")).toHaveLength(32);
    expect(ownSecret("", folder)).toBe(secret);
    expect(statSync(join(folder, "jwt-secret")).mode & 0o777).toBe(0o600);
    expect(readFileSync(join(folder, "jwt-secret"), "utf8").trim()).toBe(secret);
    expect(existsSync(join(folder, "jwt-secret.new"))).toBe(false);
  });

  test("is the one that is set", () => {
    const folder = tempFolder();
    expect(ownSecret(JWT_SECRET, folder)).toBe(JWT_SECRET);
    expect(existsSync(join(folder, "jwt-secret"))).toBe(false);
  });

  test("is not replaced when it is damaged", () => {
    const folder = tempFolder();
    writeFileSync(join(folder, "jwt-secret"), "");
    expect(() => ownSecret("", folder)).toThrowError("is damaged");
  });
});
