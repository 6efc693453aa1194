/** `npm run token`: credentials to try a server with. */
import { createPrivateKey, generateKeyPairSync, randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { SignJWT } from "jose";
import { readAccountsFile } from "../src/accounts-file.ts";

const HELP = `Mints credentials to try a server with.

Usage: npm run token -- COMMAND …

  accounts FOLDER            makes FOLDER/accounts.json, with an account "alice" (alice@example.com) and a secret "cats"
                             of hers, and FOLDER/alice.pem, her private key; for AUSPEX_ACCOUNTS_FILE
  assertion KEY.pem SUBJECT  prints an RS256 assertion, which CreateToken and /v2/oauth2/token exchange for a token
  secret ACCOUNTS.json ID    prints a Token JWT of that secret, for Einstein Prediction
  user SECRET-FILE USER      prints a Token JWT of that user; SECRET-FILE is <data>/jwt-secret, or holds what
                             AUSPEX_JWT_SECRET is set to

  --audience URL   of an assertion (http://127.0.0.1:8080/v2/oauth2/token)
  --minutes N      until it expires (an assertion 60, a Token JWT 240)
  --help           this text`;

class UsageError extends Error {}

interface Options {
  readonly audience: string;
  readonly minutes: number | undefined;
}

type Command = (args: readonly string[], options: Options) => string | Promise<string>;

const seconds = () => Math.floor(Date.now() / 1000);

function argument(args: readonly string[], index: number, name: string): string {
  const value = args[index];
  if (value === undefined) throw new UsageError(`${name} is missing`);
  return value;
}

function makeAccounts(folder: string): string {
  const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const accounts = {
    accounts: [
      {
        name: "alice",
        subjects: ["alice@example.com"],
        publicKey: publicKey.export({ type: "spki", format: "pem" }),
      },
    ],
    secrets: [{ id: "cats", name: "alice", secret: randomBytes(32).toString("base64url") }],
  };
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  // Neither is ever written over: with a key, what it has signed would be gone too.
  const secret = { mode: 0o600, flag: "wx" } as const;
  const [keyFile, accountsFile] = [join(folder, "alice.pem"), join(folder, "accounts.json")];
  writeFileSync(keyFile, privateKey.export({ type: "pkcs8", format: "pem" }), secret);
  writeFileSync(accountsFile, `${JSON.stringify(accounts, null, 2)}\n`, secret);
  return `${keyFile}\n${accountsFile}`;
}

function signAssertion(
  keyFile: string,
  subject: string,
  { audience, minutes = 60 }: Options,
): Promise<string> {
  return new SignJWT({ sub: subject, aud: audience, exp: seconds() + minutes * 60 })
    .setProtectedHeader({ alg: "RS256", typ: "JWT" })
    .sign(createPrivateKey(readFileSync(keyFile, "utf8")));
}

function signToken(
  claims: Record<string, unknown>,
  secret: string,
  { minutes = 240 }: Options,
): Promise<string> {
  const iat = seconds();
  return new SignJWT({ exp: iat + minutes * 60, iat, ...claims, abilities: {} })
    .setProtectedHeader({ typ: "JWT", alg: "HS256" })
    .sign(Buffer.from(secret));
}

const COMMANDS: ReadonlyMap<string, Command> = new Map<string, Command>([
  ["accounts", (args) => makeAccounts(argument(args, 0, "FOLDER"))],
  [
    "assertion",
    (args, options) => signAssertion(argument(args, 0, "KEY.pem"), argument(args, 1, "SUBJECT"), options),
  ],
  [
    "secret",
    (args, options) => {
      const [file, id] = [argument(args, 0, "ACCOUNTS.json"), argument(args, 1, "ID")];
      const secret = readAccountsFile(file).secrets.get(id)?.secret;
      if (secret === undefined) throw new UsageError(`${file} has no secret ${id}`);
      return signToken({ iss: id }, secret, options);
    },
  ],
  [
    "user",
    (args, options) => {
      const secret = readFileSync(argument(args, 0, "SECRET-FILE"), "utf8").trim();
      return signToken({ user_id: argument(args, 1, "USER") }, secret, options);
    },
  ],
]);

async function run(): Promise<string> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      audience: { type: "string", default: "http://127.0.0.1:8080/v2/oauth2/token" },
      minutes: { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  const [name, ...args] = positionals;
  if (values.help || name === undefined) return HELP;
  const minutes = values.minutes === undefined ? undefined : Number(values.minutes);
  if (minutes !== undefined && !(minutes > 0)) throw new UsageError("--minutes must be a number above 0");
  const command = COMMANDS.get(name);
  if (!command) throw new UsageError(`there is no command ${name}`);
  return command(args, { audience: values.audience, minutes });
}

try {
  console.log(await run());
} catch (error) {
  const known = error instanceof UsageError || (error instanceof Error && "code" in error);
  console.error(known ? `${error.message}; see --help` : error);
  process.exitCode = 2;
}
