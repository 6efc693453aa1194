/** JSON Web Tokens: `createTokens().verify` and `redeem`. */
import { createHmac } from "node:crypto";
import { AuspexError } from "../../../src/domain/error.ts";
import { createTokens, TOKEN_LENGTH_MAX } from "../../../src/services/token.ts";
import { holds, unlessRejected } from "../target.ts";

export const claim =
  "No token but those that were signed is taken, for anybody but whom it was signed for, whatever it says.";

const SECRET = "a secret of the fuzzer, of more than 32 characters";
const NAME = "alice";
const NOW_S = 1_800_000_000;

const accounts = { bySubject: new Map(), secrets: new Map([["cats", { name: NAME, secret: SECRET }]]) };
const tokens = createTokens({ secret: `${SECRET}, another`, accounts, open: false, now: () => NOW_S * 1e6 });

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");

function signed(claims: object, header: object = { alg: "HS256", typ: "JWT" }): string {
  const text = `${encode(header)}.${encode(claims)}`;
  return `${text}.${createHmac("sha256", SECRET).update(text).digest("base64url")}`;
}

const GOOD = signed({ iss: "cats", exp: NOW_S + 60 });

const isRefusal = (error: unknown): boolean =>
  error instanceof AuspexError && error.code === "unauthenticated" && error.message !== "";

/** Header and claims: what is signed. Of the signature's last character two bits mean nothing. */
const content = (token: string): string => token.slice(0, token.lastIndexOf("."));

export async function fuzz(data: Buffer): Promise<void> {
  const token = data.toString();
  const principal = await unlessRejected(isRefusal, () => tokens.verify(token));
  if (principal) {
    holds(token.length <= TOKEN_LENGTH_MAX, "a token that is too long is taken");
    holds(content(token) === content(GOOD), "a token that nobody signed is taken");
    holds(principal.name === NAME && !principal.open, "a token stands for somebody else");
  }
  holds(
    (await unlessRejected(isRefusal, () => tokens.redeem(token))) === undefined,
    "an assertion of nobody is taken",
  );
  const renewed = await unlessRejected(isRefusal, () => tokens.renew(token));
  if (renewed) holds(content(token) === content(GOOD), "a token that nobody signed is renewed");
}

export const seeds = (): readonly string[] => [
  GOOD,
  signed({ iss: "cats", exp: NOW_S - 1 }),
  `${encode({ alg: "none" })}.${encode({ iss: "cats" })}.`,
  `${encode({ alg: "RS256", crit: ["b64"], b64: false, kid: "../x" })}.${encode({ iss: "cats" })}.${"A".repeat(43)}`,
  `${encode({ alg: "HS256" })}.${encode({ user_id: "auspex", exp: 1e300 })}.${"A".repeat(43)}`,
];

export const words = [
  encode({ alg: "none" }),
  encode({ alg: "HS256", b64: false, crit: ["b64"] }),
  ".",
  "eyJ",
];
