/** The secret that signs the server's own tokens: the one that it was given, or one that it makes once and keeps. */
import { randomBytes } from "node:crypto";
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { join } from "node:path";
import { AuspexError } from "../domain/error.ts";

const FILE = "jwt-secret";
/** 256 bits, as many as HS256 has. */
const BYTES = 32;

/**
 * @param given "" for the one in the data folder, which is the caller's alone
 * @throws AuspexError `failed_precondition` when the file there is not what it should be
 */
export function ownSecret(given: string, dataDir: string): string {
  if (given !== "") return given;
  const path = join(dataDir, FILE);
  const kept = read(path);
  if (kept === undefined) return make(path);
  if (Buffer.from(kept, "base64url").length === BYTES) return kept;
  throw new AuspexError(
    "failed_precondition",
    `${path} is damaged; without it a new secret is made, and tokens signed with the old one are void`,
  );
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").trim();
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

/** Written aside and renamed, so that there is never half a secret. */
function make(path: string): string {
  const secret = randomBytes(BYTES).toString("base64url");
  const file = openSync(`${path}.new`, "w", 0o600);
  try {
    writeSync(file, `${secret}\n`);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(`${path}.new`, path);
  return secret;
}
