import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Accounts, readAccountsFile } from "../src/accounts-file.ts";
import { readConfig } from "../src/config.ts";
import { keyPair } from "./tokens.ts";

const { publicKey, privateKey } = keyPair();
const ALICE = { name: "alice", subjects: ["alice@example.com", "a2"], publicKey };
const SECRET = { id: "cats", name: "alice", secret: "s".repeat(32) };
let folder: string;
let path: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "auspex-accounts-"));
  path = join(folder, "accounts.json");
});
afterAll(() => rmSync(folder, { recursive: true }));

function read(file: unknown): Accounts {
  writeFileSync(path, typeof file === "string" ? file : JSON.stringify(file));
  return readAccountsFile(path);
}

test("accounts by their subjects, secrets by their ids", () => {
  const accounts = read({ accounts: [ALICE], secrets: [SECRET] });
  expect([...accounts.bySubject.keys()]).toEqual(["alice@example.com", "a2"]);
  expect(accounts.bySubject.get("a2")?.name).toBe("alice");
  expect(accounts.secrets.get("cats")).toEqual({ name: "alice", secret: SECRET.secret });
  expect(read({ secrets: [SECRET] }).bySubject.size).toBe(0);
});

test.each([
  ["no JSON", "{", "cannot be read"],
  ["no object", "[]", "must be an object"],
  ["nobody", {}, "names nobody"],
  ["a list that is none", { accounts: {} }, "accounts must be a list"],
  ["an unknown field", { acounts: [] }, "acounts"],
  ["an unknown field of an entry", { accounts: [{ ...ALICE, key: 1 }] }, "accounts[0] has a key"],
  ["a bad name", { accounts: [{ ...ALICE, name: "Alice" }] }, "accounts[0].name"],
  ["the catalogue's name", { secrets: [{ ...SECRET, name: "auspex" }] }, "secrets[0].name"],
  ["the chatflows' name", { secrets: [{ ...SECRET, name: "chatflow" }] }, "secrets[0].name"],
  ["no subjects", { accounts: [{ ...ALICE, subjects: [] }] }, "accounts[0].subjects"],
  ["a long subject", { accounts: [{ ...ALICE, subjects: ["x".repeat(257)] }] }, "256 characters"],
  ["a subject twice", { accounts: [ALICE, { ...ALICE, name: "bob" }] }, "alice@example.com is there twice"],
  ["a key that is none", { accounts: [{ ...ALICE, publicKey: "key" }] }, "accounts[0].publicKey"],
  [
    "a private key",
    { accounts: [{ ...ALICE, publicKey: privateKey.export({ type: "pkcs8", format: "pem" }) }] },
    "must be a public key",
  ],
  ["a short key", { accounts: [{ ...ALICE, publicKey: keyPair(2040).publicKey }] }, "2048 to 8192 bits"],
  [
    "a key of another kind",
    {
      accounts: [
        {
          ...ALICE,
          publicKey: generateKeyPairSync("ed25519").publicKey.export({ type: "spki", format: "pem" }),
        },
      ],
    },
    "must be an RSA key",
  ],
  ["a short secret", { secrets: [{ ...SECRET, secret: "s".repeat(31) }] }, "32 to 1024 characters"],
  ["a long secret", { secrets: [{ ...SECRET, secret: "s".repeat(1025) }] }, "32 to 1024 characters"],
  ["an id twice", { secrets: [SECRET, SECRET] }, "cats is there twice"],
])("refuses %s", (_name, file, complaint) => {
  expect(() => read(file)).toThrowError(complaint);
});

test("all complaints come at once, beside those about other settings", () => {
  writeFileSync(path, JSON.stringify({ accounts: [{ name: "A" }], secrets: [{ id: "" }] }));
  expect(() => readConfig({ AUSPEX_ACCOUNTS_FILE: path, AUSPEX_HTTP_PORT: "x" })).toThrowError(
    /HTTP_PORT[\s\S]*ACCOUNTS_FILE.*accounts\[0\]\.name.*publicKey.*subjects.*secrets\[0\]\.name.*secret.*id/,
  );
});

test("a file that is not there is said plainly", () => {
  expect(() => readConfig({ AUSPEX_ACCOUNTS_FILE: join(folder, "none.json") })).toThrowError(/ENOENT/);
});

test("with accounts a server is not open, and may be reached from elsewhere", () => {
  read({ secrets: [SECRET] });
  expect(readConfig({}).open).toBe(true);
  expect(readConfig({ AUSPEX_ACCOUNTS_FILE: path, AUSPEX_HOST: "0.0.0.0" }).open).toBe(false);
});
