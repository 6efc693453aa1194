/** Tokens, and what an account has used. (§1.1, §1.6) */
import { create } from "@bufbuild/protobuf";
import { durationFromMs, type Timestamp } from "@bufbuild/protobuf/wkt";
import {
  type CreateTokenRequest,
  CreateTokenRequestSchema,
  CreateTokenResponseSchema,
  GetUsageRequestSchema,
  type GetUsageResponse,
  GetUsageResponseSchema,
  RevokeTokenRequestSchema,
} from "../../../../gen/auspex/v1/account_pb.ts";
import { AuspexError } from "../../../domain/error.ts";
import type { CallContext } from "../../../services/call.ts";
import type { Services } from "../../../services/services.ts";
import type { Answer, Exchange, Route } from "./door.ts";
import { badParameter, Refused, refuse } from "./errors.ts";
import { type Form, integerOf, pathPart, readForm, textOf } from "./form.ts";
import { isoTime, renderList } from "./render.ts";

export const ACCOUNT_ROUTES: readonly Route[] = [
  { method: "POST", path: "/oauth2/token", isPublic: true, handle: createToken },
  { method: "DELETE", path: "/oauth2/tokens/:token", handle: revokeToken },
  { method: "GET", path: "/apiusage", handle: getUsage },
];

const JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer";

async function createToken({ services, call, request, config }: Exchange): Promise<Answer> {
  const form = await readForm(request, "urlencoded", config.MAX_JSON_VALUES);
  const message = decodeToken(form);
  const answer = await services.accounts.createToken(message, call).catch((error: unknown) => {
    const known = AuspexError.from(error);
    // A grant that is not good is a bad request here (RFC 6749 §5.2): no token was sent that could be one.
    throw known.code === "unauthenticated" ? new Refused({ status: 400, message: known.message }) : error;
  });
  const { accessToken, refreshToken, expiresIn } = create(CreateTokenResponseSchema, answer);
  return {
    status: 200,
    body: {
      access_token: accessToken,
      ...(refreshToken !== "" && { refresh_token: refreshToken }),
      token_type: "Bearer",
      // A text in this API.
      expires_in: String(expiresIn?.seconds ?? 0n),
    },
  };
}

function decodeToken(form: Form): CreateTokenRequest {
  const validFor = integerOf("valid_for", textOf(form, "valid_for"), 1);
  return create(CreateTokenRequestSchema, {
    grant: decodeGrant(form),
    ...(validFor !== undefined && { validFor: durationFromMs(validFor * 1000) }),
    offline: (textOf(form, "scope") ?? "").split(/\s+/).includes("offline"),
  });
}

function decodeGrant(form: Form): CreateTokenRequest["grant"] {
  const required = (name: string): string => {
    const value = textOf(form, name);
    if (value === undefined) throw badParameter(name, "is required");
    return value;
  };
  switch (textOf(form, "grant_type")) {
    case JWT_BEARER:
      return { case: "assertion", value: required("assertion") };
    case "refresh_token":
      return { case: "refreshToken", value: required("refresh_token") };
    default:
      throw refuse("grantType");
  }
}

async function revokeToken({ services, call, request }: Exchange): Promise<Answer> {
  await services.accounts.revokeToken(
    create(RevokeTokenRequestSchema, { token: pathPart(request, "token") }),
    call,
  );
  return { status: 204, body: undefined };
}

async function usageOf(services: Services, call: CallContext): Promise<GetUsageResponse> {
  const answer = await services.accounts.getUsage(create(GetUsageRequestSchema), call);
  return create(GetUsageResponseSchema, answer);
}

/** What a server without a quota says: the largest number that this API's clients can hold. */
const UNLIMITED = 2 ** 31 - 1;

function figuresOf({ predictionsUsed, predictionsMax }: GetUsageResponse) {
  const [used, max] = [Number(predictionsUsed), Number(predictionsMax) || UNLIMITED];
  return { used, max, remaining: Math.max(0, max - used) };
}

async function getUsage({ services, call }: Exchange): Promise<Answer> {
  const usage = await usageOf(services, call);
  const { used, max, remaining } = figuresOf(usage);
  const startsAt = isoTime(usage.startTime);
  // One plan for each principal and month, which is all that tells it from another.
  const { name } = call.principal;
  const body = renderList([
    {
      id: startsAt.slice(0, 7).replace("-", ""),
      organizationId: name,
      startsAt,
      endsAt: isoTime(usage.endTime),
      planData: [{ plan: "FREE", amount: 1, source: "AUSPEX" }],
      licenseId: name,
      object: "apiusage",
      predictionsRemaining: remaining,
      predictionsUsed: used,
      predictionsMax: max,
    },
  ]);
  return { status: 200, body };
}

/** Where the caller stands in its month, on every answer of a call that counts. */
export async function quotaHeaders(
  services: Services,
  call: CallContext,
): Promise<Readonly<Record<string, string>>> {
  const usage = await usageOf(services, call);
  const { max, remaining } = figuresOf(usage);
  return {
    "x-ratelimit-limit": String(max),
    "x-ratelimit-remaining": String(remaining),
    "x-ratelimit-reset": renderReset(usage.endTime),
  };
}

/** `2017-05-01 00:00:00.0`: no standard's form, but the one that clients know. */
function renderReset(time: Timestamp | undefined): string {
  return isoTime(time).replace("T", " ").replace(/00Z$/, "");
}
