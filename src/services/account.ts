/** The operations on tokens, and what an account has used. */
import { createHash, randomBytes } from "node:crypto";
import type { AccountService, CreateTokenRequest } from "../../gen/auspex/v1/account_pb.ts";
import { AuspexError, invalidArgument } from "../domain/error.ts";
import type { AccountStore } from "../store/account.ts";
import type { Operations } from "./call.ts";
import { durationMs } from "./check.ts";
import { timeMessage } from "./message.ts";
import type { Tokens } from "./token.ts";
import type { Usage } from "./usage.ts";
import { type Limits, validate } from "./validation.ts";

const VALID_FOR_MS_DEFAULT = 60_000;
/** They never end by themselves, so a principal that goes on asking must not fill the disk. */
export const REFRESH_TOKENS_MAX = 1000;
/** Nobody guesses 256 bits. */
const REFRESH_TOKEN_BYTES = 32;

export interface AccountOptions {
  readonly store: AccountStore;
  readonly tokens: Tokens;
  readonly usage: Usage;
  readonly limits: Limits;
  /** Microseconds since the epoch. */
  readonly now: () => number;
}

export function createAccountOperations(options: AccountOptions): Operations<typeof AccountService> {
  const { store, tokens, usage, limits, now } = options;

  /** The principal that the grant is good for. */
  async function principalOf({ grant }: CreateTokenRequest): Promise<string> {
    if (grant.case === "assertion") return tokens.redeem(grant.value);
    const owner = await store.ownerOfRefreshToken(hashOf(grant.value ?? ""));
    // An account that was taken out of the file has no tokens any more.
    if (owner !== undefined && tokens.isAccount(owner)) return owner;
    throw new AuspexError("unauthenticated", "the refresh token is not valid");
  }

  async function refreshToken(principal: string): Promise<string> {
    const token = randomBytes(REFRESH_TOKEN_BYTES).toString("base64url");
    const row = { hash: hashOf(token), principal, createdAt: now() };
    if (await store.insertRefreshToken(row, REFRESH_TOKENS_MAX)) return token;
    throw new AuspexError(
      "resource_exhausted",
      `the account has ${REFRESH_TOKENS_MAX} refresh tokens already; revoke one first`,
    );
  }

  return {
    async createToken(request) {
      validate(request, limits);
      const principal = await principalOf(request);
      const validForMs = request.validFor ? durationMs(request.validFor) : VALID_FOR_MS_DEFAULT;
      return {
        accessToken: await tokens.issue(principal, validForMs),
        expiresIn: { seconds: BigInt(Math.ceil(validForMs / 1000)) },
        refreshToken: request.offline ? await refreshToken(principal) : "",
      };
    },

    async revokeToken(request, { principal }) {
      validate(request, limits);
      if (await store.deleteRefreshToken(principal.name, hashOf(request.token))) return {};
      if (await tokens.isAccessToken(request.token)) {
        throw invalidArgument({
          field: "token",
          reason: "access_token",
          description: "is an access token, which cannot be revoked and ends by itself",
        });
      }
      throw new AuspexError("not_found", "the refresh token does not exist");
    },

    async getUsage(_request, { principal }) {
      const { used, max, month, nextMonth } = await usage.read(principal.name);
      return {
        predictionsUsed: BigInt(used),
        predictionsMax: BigInt(max ?? 0),
        startTime: timeMessage(month),
        endTime: timeMessage(nextMonth),
      };
    },
  };
}

function hashOf(token: string): string {
  return createHash("sha256").update(token, "utf8").digest("hex");
}
