/** Who a bearer token stands for. */
import { createHash, timingSafeEqual } from "node:crypto";
import { AuspexError } from "../domain/error.ts";
import { LOCAL, type Principal } from "../domain/principal.ts";

/** The token without the word "Bearer"; undefined for none sent. Rejects with `unauthenticated`. */
export type Authenticate = (token: string | undefined) => Promise<Principal>;

/**
 * Without keys the server is open and everybody is its one principal.
 *
 * @param apiKeys principal names by key
 */
export function createAuthenticator(apiKeys: ReadonlyMap<string, string>): Authenticate {
  if (apiKeys.size === 0) return async () => LOCAL;
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
    if (token === undefined || !found) {
      throw new AuspexError("unauthenticated", "a valid API key is required: Authorization: Bearer <key>");
    }
    return found;
  };
}

function sha256(text: string): Buffer {
  return createHash("sha256").update(text, "utf8").digest();
}
