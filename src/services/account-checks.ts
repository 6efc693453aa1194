/** What well-formed requests to AccountService are; a part of the table in `validation.ts`. */
import type {
  CreateTokenRequest,
  GetUsageRequest,
  RevokeTokenRequest,
} from "../../gen/auspex/v1/account_pb.ts";
import { type Check, durationMs, length } from "./check.ts";
import { TOKEN_LENGTH_MAX } from "./token.ts";

/** Of an access token: its own claims have no way to end it earlier. */
const VALID_FOR_MS = { min: 1000, max: 30 * 86_400_000 } as const;

export const ACCOUNT_CHECKS = {
  "auspex.v1.CreateTokenRequest": (({ grant, validFor, offline }, complain) => {
    if (grant.case === undefined) {
      complain("grant", "required", "an assertion or a refresh_token is required");
    } else {
      const field = grant.case === "assertion" ? "assertion" : "refresh_token";
      if (grant.value === "") complain(field, "required", "is required");
      length(complain, field, grant.value, TOKEN_LENGTH_MAX);
      if (offline && grant.case === "refreshToken") {
        complain("offline", "conflict", "needs an assertion: a refresh token does not make another");
      }
    }
    if (validFor) {
      const ms = durationMs(validFor);
      if (!(ms >= VALID_FOR_MS.min && ms <= VALID_FOR_MS.max)) {
        const [min, max] = [VALID_FOR_MS.min / 1000, VALID_FOR_MS.max / 1000];
        complain("valid_for", "out_of_range", `must be ${min} to ${max} s`);
      }
    }
  }) as Check<CreateTokenRequest>,
  "auspex.v1.RevokeTokenRequest": (({ token }, complain) => {
    if (token === "") complain("token", "required", "is required");
    length(complain, "token", token, TOKEN_LENGTH_MAX);
  }) as Check<RevokeTokenRequest>,
  "auspex.v1.GetUsageRequest": (() => {}) as Check<GetUsageRequest>,
};
