/** Who a bearer token stands for: an API key, or a JSON Web Token. */
import { createHash, timingSafeEqual } from "node:crypto";
import { AuspexError } from "../domain/error.ts";
import { LOCAL, type Principal } from "../domain/principal.ts";
import type { Tokens } from "./token.ts";

/** The token without the word "Bearer"; undefined for none sent. Rejects with `unauthenticated`. */
export type Authenticate = (token: string | undefined) => Promise<Principal>;

export interface AuthenticatorOptions {
  /** Everybody is its one principal. */
  readonly open: boolean;
  /** Principal names by key. */
  readonly apiKeys: ReadonlyMap<string, string>;
  readonly tokens: Pick<Tokens, "verify">;
}

/** Three parts of base64url; our keys may have dots too, and are looked for first. */
const JWT = /^[\w-]+\.[\w-]+\.[\w-]*$/;

export function createAuthenticator({ open, apiKeys, tokens }: AuthenticatorOptions): Authenticate {
  if (open) return async () => LOCAL;
  const known = [...apiKeys].map(([key, name]) => ({
    digest: sha256(key),
    principal: { name, open: false },
  }));
  return async (token) => {
    // Digests are of one length, as timingSafeEqual asks, and every key is compared, so that the time taken tells
    // neither how much of a key was right nor which one it was.
    const digest = sha256(token ?? "");
    let found: Principal | undefined;
    for (const { digest: expected, principal } of known) {
      if (timingSafeEqual(digest, expected)) found = principal;
    }
    if (found) return found;
    if (token !== undefined && JWT.test(token)) return tokens.verify(token);
    throw new AuspexError(
      "unauthenticated",
      "a valid API key or token is required: Authorization: Bearer <key or token>",
    );
  };
}

function sha256(text: string): Buffer {
  return createHash("sha256").update(text, "utf8").digest();
}
