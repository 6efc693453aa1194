/**
 * The accounts file: who may exchange a signed assertion for an access token, and whose secrets sign `Token` JWTs.
 *
 *     {
 *       "accounts": [{ "name": "alice", "subjects": ["alice@example.com"], "publicKey": "-----BEGIN PUBLIC KEY…" }],
 *       "secrets": [{ "id": "cats", "name": "alice", "secret": "at least 32 characters, which only she knows" }]
 *     }
 *
 * `name` is a principal. Several accounts may be of one name, for instance while a key is exchanged for another.
 */
import { createPublicKey, type KeyObject } from "node:crypto";
import { readFileSync } from "node:fs";
import { NAME_PART } from "./domain/model.ts";
import { RESERVED_OWNERS } from "./domain/principal.ts";

export interface Account {
  readonly name: string;
  readonly publicKey: KeyObject;
}

export interface Secret {
  readonly name: string;
  readonly secret: string;
}

export interface Accounts {
  /** By the `sub` of their assertions. */
  readonly bySubject: ReadonlyMap<string, Account>;
  /** By the `iss` of the tokens that they sign. */
  readonly secrets: ReadonlyMap<string, Secret>;
}

/** HS256 wants a key of 256 bits at least (RFC 7518 §3.2), and text has at most eight a character. */
export const SECRET_LENGTH = { min: 32, max: 1024 } as const;
/** RS256 wants a key of 2048 bits at least (RFC 7518 §3.3). A longer one than 8192 makes each check milliseconds. */
const KEY_BITS = { min: 2048, max: 8192 } as const;
/** A subject or a secret's id: an address has at most 254 characters. */
const ID_LENGTH_MAX = 256;

type Complain = (what: string) => void;
type Fields = Readonly<Record<string, unknown>>;

/** @throws Error with every complaint about the file */
export function readAccountsFile(path: string): Accounts {
  let root: unknown;
  try {
    root = JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw new Error(`cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
  const complaints: string[] = [];
  const bySubject = new Map<string, Account>();
  const secrets = new Map<string, Secret>();
  const complain: Complain = (what) => complaints.push(what);
  const file = fieldsOf("the file", root, ["accounts", "secrets"], complain);
  for (const [where, fields] of entriesOf(file, "accounts", ["name", "subjects", "publicKey"], complain)) {
    addAccount(where, fields, bySubject, complain);
  }
  for (const [where, fields] of entriesOf(file, "secrets", ["id", "name", "secret"], complain)) {
    addSecret(where, fields, secrets, complain);
  }
  if (complaints.length === 0 && bySubject.size + secrets.size === 0) complain("names nobody");
  if (complaints.length > 0) throw new Error(`${path}: ${complaints.join("; ")}`);
  return { bySubject, secrets };
}

function addAccount(
  where: string,
  { name, subjects, publicKey }: Fields,
  bySubject: Map<string, Account>,
  complain: Complain,
): void {
  const account = { name: readName(where, name, complain), publicKey: readKey(where, publicKey, complain) };
  if (!Array.isArray(subjects) || subjects.length === 0) {
    complain(`${where}.subjects must be a list with one text at least`);
    return;
  }
  for (const subject of subjects) {
    if (!isId(subject)) complain(`${where}.subjects must be texts of 1 to ${ID_LENGTH_MAX} characters`);
    else if (bySubject.has(subject)) complain(`${where}.subjects: ${subject} is there twice`);
    else if (account.publicKey) bySubject.set(subject, { ...account, publicKey: account.publicKey });
  }
}

function addSecret(
  where: string,
  { id, name, secret }: Fields,
  secrets: Map<string, Secret>,
  complain: Complain,
): void {
  const owner = readName(where, name, complain);
  if (typeof secret !== "string" || secret.length < SECRET_LENGTH.min || secret.length > SECRET_LENGTH.max) {
    complain(`${where}.secret must have ${SECRET_LENGTH.min} to ${SECRET_LENGTH.max} characters`);
  }
  if (!isId(id)) complain(`${where}.id must be a text of 1 to ${ID_LENGTH_MAX} characters`);
  else if (secrets.has(id)) complain(`${where}.id: ${id} is there twice`);
  else secrets.set(id, { name: owner, secret: String(secret) });
}

function isId(value: unknown): value is string {
  return typeof value === "string" && value !== "" && value.length <= ID_LENGTH_MAX;
}

function readName(where: string, name: unknown, complain: Complain): string {
  if (typeof name !== "string" || !NAME_PART.test(name)) {
    complain(`${where}.name must be 1 to 64 of a-z, 0-9, -, _ and .`);
  } else if (RESERVED_OWNERS.has(name)) {
    complain(`${where}.name: ${name} is the server's own`);
  }
  return String(name);
}

function readKey(where: string, pem: unknown, complain: Complain): KeyObject | undefined {
  // Node would take the public half of a private key, which has no business in this file.
  if (typeof pem !== "string" || !pem.includes("-----BEGIN ") || pem.includes("PRIVATE KEY")) {
    complain(`${where}.publicKey must be a public key as PEM`);
    return undefined;
  }
  try {
    const key = createPublicKey(pem);
    const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
    if (key.asymmetricKeyType === "rsa" && bits >= KEY_BITS.min && bits <= KEY_BITS.max) return key;
    complain(`${where}.publicKey must be an RSA key of ${KEY_BITS.min} to ${KEY_BITS.max} bits`);
  } catch (error) {
    complain(`${where}.publicKey cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
  return undefined;
}

function entriesOf(
  file: Fields,
  list: string,
  keys: readonly string[],
  complain: Complain,
): [string, Fields][] {
  const entries = file[list] ?? [];
  if (!Array.isArray(entries)) {
    complain(`${list} must be a list`);
    return [];
  }
  return entries.map((entry: unknown, index) => {
    const where = `${list}[${index}]`;
    return [where, fieldsOf(where, entry, keys, complain)];
  });
}

function fieldsOf(where: string, value: unknown, keys: readonly string[], complain: Complain): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    complain(`${where} must be an object`);
    return {};
  }
  for (const key of Object.keys(value)) {
    if (!keys.includes(key)) complain(`${where} has a ${key}, which is none of ${keys.join(", ")}`);
  }
  return value as Fields;
}
