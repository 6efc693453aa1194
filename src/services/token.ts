/**
 * JSON Web Tokens, and whom they stand for. There are four kinds, each with a key of its own, so that none can be
 * taken for another; algorithms are pinned.
 *
 * | kind          | signed by                                     | stands for                       |
 * |---------------|-----------------------------------------------|----------------------------------|
 * | assertion     | an account's private key, RS256               | the account, once, for a token   |
 * | access token  | us, with a key that is derived from our secret | its `sub`                        |
 * | user token    | who knows our secret, HS256                   | its `user_id`                    |
 * | secret token  | who knows a secret of the accounts file, HS256 | the name that the secret is under |
 */
import { createSecretKey, hkdfSync, type KeyObject } from "node:crypto";
import { decodeJwt, decodeProtectedHeader, errors, type JWTPayload, jwtVerify, SignJWT } from "jose";
import type { Config } from "../config.ts";
import { AuspexError } from "../domain/error.ts";
import { NAME_PART } from "../domain/model.ts";
import { CATALOGUE_OWNER, LOCAL, type Principal } from "../domain/principal.ts";

export interface Tokens {
  /** An access token. */
  issue(principal: string, validForMs: number): Promise<string>;
  /** Whom an assertion speaks for. Rejects with `unauthenticated`. */
  redeem(assertion: string): Promise<string>;
  /** Whom an access token, a user token or a secret token stands for. Rejects with `unauthenticated`. */
  verify(token: string): Promise<Principal>;
  /**
   * A user token or a secret token anew: the same claims and key, four hours from now. An open server has nothing
   * to check the signature with and signs with its own secret. Rejects with `unauthenticated`.
   */
  renew(token: string): Promise<Renewed>;
  /** Whether we issued this access token, be it valid still or not. */
  isAccessToken(token: string): Promise<boolean>;
  /** Whether an account is of this name now; on an open server, the one that there is. */
  isAccount(principal: string): boolean;
}

export interface Renewed {
  readonly principal: Principal;
  readonly token: string;
}

export interface TokenOptions {
  /** The server's own. */
  readonly secret: string;
  readonly accounts: Config["ACCOUNTS_FILE"];
  readonly open: boolean;
  /** Microseconds since the epoch. */
  readonly now: () => number;
}

/** Characters. Claims are a few hundred; a longer token is no use, for it has to pass as a header. */
export const TOKEN_LENGTH_MAX = 8192;
/** A caller's clock may run ahead of ours. */
const AHEAD_MAX_S = 60;
/** Clients are known to ask for a day and an hour more. */
const ASSERTION_AHEAD_MAX_S = 25 * 3600;
const RENEWED_FOR_S = 4 * 3600;
/** The type of an access token (RFC 9068 §2.1). */
const ACCESS_TYPE = "at+jwt";

/** Who signed a token, and for whom it then stands. */
interface Signer {
  readonly key: KeyObject;
  /** undefined for nobody, also when the signature is right. */
  readonly name: string | undefined;
}

export function createTokens({ secret, accounts, open, now }: TokenOptions): Tokens {
  const bySubject = accounts?.bySubject ?? new Map();
  const names = new Set(open ? [LOCAL.name] : [...bySubject.values()].map(({ name }) => name));
  /** Tried for subjects that are nobody's, so that the time taken does not tell them. */
  const [anyAccount] = bySubject.values();
  const userKey = secretKey(secret);
  const accessKey = createSecretKey(
    new Uint8Array(hkdfSync("sha256", secret, "", "auspex access token", 32)),
  );
  const secrets = new Map(
    [...(accounts?.secrets ?? [])].map(([id, { name, secret: text }]) => [
      id,
      { name, key: secretKey(text) } satisfies Signer,
    ]),
  );
  const nowS = () => Math.floor(now() / 1e6);
  const at = () => ({ currentDate: new Date(now() / 1000) });

  /** @param name whom the principal is made of; undefined refuses */
  function principalOf(name: string | undefined): Principal {
    if (open) return LOCAL;
    if (name === undefined) throw refused();
    return { name, open: false };
  }

  function signerOf({ iss, user_id: user }: JWTPayload): Signer {
    if (typeof iss === "string") return secrets.get(iss) ?? { key: userKey, name: undefined };
    const isName = typeof user === "string" && NAME_PART.test(user) && user !== CATALOGUE_OWNER;
    return { key: userKey, name: isName ? user : undefined };
  }

  /** Rejects with `unauthenticated` for a token that is not signed so, or not valid now. */
  async function check(token: string, key: KeyObject, typ?: string): Promise<JWTPayload> {
    try {
      const { payload } = await jwtVerify(token, key, {
        algorithms: ["HS256"],
        ...(typ !== undefined && { typ, requiredClaims: ["sub", "exp"] }),
        ...at(),
      });
      if (isAhead(payload.iat, nowS())) throw refused();
      return payload;
    } catch (error) {
      throw error instanceof errors.JOSEError ? refused(error) : error;
    }
  }

  /** What an open server can say of a token: that it is one, and valid now. */
  function inspect(token: string): JWTPayload {
    const { header, claims } = decode(token);
    const { exp, iat } = claims;
    const ends = typeof exp === "number" ? exp : Number.POSITIVE_INFINITY;
    if (header.alg !== "HS256" || (exp !== undefined && typeof exp !== "number")) throw refused();
    if (ends <= nowS() || isAhead(iat, nowS())) throw refused();
    return claims;
  }

  return {
    isAccount: (principal) => names.has(principal),

    issue(principal, validForMs) {
      const iat = nowS();
      return sign({ sub: principal, iat, exp: iat + Math.ceil(validForMs / 1000) }, accessKey, ACCESS_TYPE);
    },

    async isAccessToken(token) {
      // At the beginning of time no token has expired yet.
      const currentDate = new Date(0);
      try {
        await jwtVerify(token, accessKey, { algorithms: ["HS256"], typ: ACCESS_TYPE, currentDate });
        return true;
      } catch {
        return false;
      }
    },

    async verify(token) {
      const { header, claims } = decode(token);
      if (header.typ === ACCESS_TYPE) {
        const { sub } = await check(token, accessKey, ACCESS_TYPE);
        return principalOf(sub !== undefined && names.has(sub) ? sub : undefined);
      }
      const { key, name } = signerOf(claims);
      await check(token, key);
      return principalOf(name);
    },

    async renew(token) {
      const { claims } = decode(token);
      const { key, name } = open ? { key: userKey, name: LOCAL.name } : signerOf(claims);
      const checked = open ? inspect(token) : await check(token, key);
      return { principal: principalOf(name), token: await sign(renewed(checked, nowS()), key, "JWT") };
    },

    async redeem(assertion) {
      if (open) {
        const { header, claims } = decode(assertion);
        const complete = typeof claims.sub === "string" && typeof claims.exp === "number";
        if (header.alg === "RS256" && complete) return LOCAL.name;
        throw new AuspexError("unauthenticated", "the assertion is not an RS256 JWT with sub and exp");
      }
      const account = bySubject.get(decode(assertion, refusedAssertion).claims.sub ?? "");
      const key = (account ?? anyAccount)?.publicKey;
      if (!key) throw refusedAssertion();
      const checking = checkAssertion(assertion, key, nowS(), at().currentDate);
      if (!account) throw await checking.then(() => refusedAssertion(), refusedAssertion);
      const claims = await checking;
      if ((claims.exp ?? 0) > nowS() + ASSERTION_AHEAD_MAX_S) {
        throw new AuspexError(
          "unauthenticated",
          `the assertion's exp is more than ${ASSERTION_AHEAD_MAX_S / 3600} hours ahead`,
        );
      }
      return account.name;
    },
  };
}

function secretKey(text: string): KeyObject {
  return createSecretKey(text, "utf8");
}

function sign(claims: JWTPayload, key: KeyObject, typ: string): Promise<string> {
  return new SignJWT(claims).setProtectedHeader({ typ, alg: "HS256" }).sign(key);
}

/** Its claims in the order in which this API has always written them. */
function renewed({ exp: _, iat: __, user_id, iss, abilities, ...rest }: JWTPayload, now: number): JWTPayload {
  return {
    exp: now + RENEWED_FOR_S,
    iat: now,
    ...(user_id !== undefined && { user_id }),
    ...(iss !== undefined && { iss }),
    ...(abilities !== undefined && { abilities }),
    ...rest,
  };
}

/** Whether a token says that it was issued later than now, or says nothing that can be understood. */
function isAhead(iat: unknown, now: number): boolean {
  return iat !== undefined && !(typeof iat === "number" && iat <= now + AHEAD_MAX_S);
}

async function checkAssertion(
  assertion: string,
  key: KeyObject,
  now: number,
  currentDate: Date,
): Promise<JWTPayload> {
  let claims: JWTPayload;
  try {
    const options = { algorithms: ["RS256"], requiredClaims: ["aud", "exp"], currentDate };
    claims = (await jwtVerify(assertion, key, options)).payload;
  } catch (error) {
    if (error instanceof errors.JWTExpired) {
      throw new AuspexError("unauthenticated", "the assertion has expired");
    }
    // Its signature was right: who signed may hear what is wrong.
    if (error instanceof errors.JWTClaimValidationFailed) {
      throw new AuspexError("unauthenticated", `the assertion's ${error.claim} is missing or not valid`);
    }
    throw error instanceof errors.JOSEError ? refusedAssertion(error) : error;
  }
  if (isAhead(claims.iat, now))
    throw new AuspexError("unauthenticated", "the assertion's iat is in the future");
  if (![claims.aud].flat().some(isTokenEndpoint)) {
    throw new AuspexError("unauthenticated", "the assertion's aud is not the address of a token endpoint");
  }
  return claims;
}

/** Clients put in whatever address they reach us by. */
function isTokenEndpoint(audience: string | undefined): boolean {
  return (
    audience !== undefined && URL.canParse(audience) && /\/oauth2\/token\/?$/.test(new URL(audience).pathname)
  );
}

function decode(
  token: string,
  refuse: (cause: unknown) => AuspexError = refused,
): { readonly header: { readonly alg?: string; readonly typ?: string }; readonly claims: JWTPayload } {
  if (token.length > TOKEN_LENGTH_MAX) throw refuse(undefined);
  try {
    return { header: decodeProtectedHeader(token), claims: decodeJwt(token) };
  } catch (error) {
    throw refuse(error);
  }
}

function refused(cause?: unknown): AuspexError {
  return new AuspexError("unauthenticated", "the token is not valid, or not valid any more", { cause });
}

function refusedAssertion(cause?: unknown): AuspexError {
  return new AuspexError("unauthenticated", "the assertion is not signed by a known account", { cause });
}
