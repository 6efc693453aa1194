import { describe, expect, test } from "vitest";
import { LOCAL } from "../../src/domain/principal.ts";
import { createAuthenticator } from "../../src/services/authenticator.ts";

const REFUSAL = expect.objectContaining({
  code: "unauthenticated",
  message: "a valid API key or token is required: Authorization: Bearer <key or token>",
});

/** Tokens are tried elsewhere; here nothing resembles one. */
const tokens = {
  verify: async () => {
    throw new Error("this was no token");
  },
};

describe("an open server", () => {
  test.each([undefined, "", "anything"])("answers its one principal to %j", async (token) => {
    expect(await createAuthenticator({ open: true, apiKeys: new Map(), tokens })(token)).toBe(LOCAL);
  });
});

describe("a server with keys", () => {
  const authenticate = createAuthenticator({
    open: false,
    tokens,
    apiKeys: new Map([
      ["key-of-acme-0123456789", "acme"],
      ["key-of-umbra-9876543210", "umbra"],
      ["second-key-of-acme-4567", "acme"],
    ]),
  });

  test("answers each key's principal", async () => {
    expect(await authenticate("key-of-acme-0123456789")).toEqual({ name: "acme", open: false });
    expect(await authenticate("key-of-umbra-9876543210")).toEqual({ name: "umbra", open: false });
    expect(await authenticate("second-key-of-acme-4567")).toEqual({ name: "acme", open: false });
  });

  test.each([
    ["none", undefined],
    ["an empty one", ""],
    ["a wrong one", "key-of-nobody-000000000"],
    ["the beginning of one", "key-of-acme-012345678"],
    ["more than one", "key-of-acme-01234567890"],
    ["another case", "KEY-OF-ACME-0123456789"],
    ["a name", "acme"],
  ])("refuses %s, and all in the same words", async (_name, token) => {
    await expect(authenticate(token)).rejects.toThrowError(REFUSAL);
  });
});
