/** Every operation of the dialect × {401, 404, 405, 413, 429}. */
import { describe, expect, it } from "vitest";
import { AuspexError } from "../../../../src/domain/error.ts";
import { KEY, type MemoryServices, memoryServices, predictionId } from "./memory-services.ts";
import { ask, BODY_MAX, serve, UUID_V4 } from "./served.ts";

const ID = predictionId(1);
const CREATE_BODY = JSON.stringify({ model: "acme/echo", input: {} });

/** Every operation: the request, and another for what does not exist. */
const OPERATIONS = [
  { name: "create", method: "POST", path: "/predictions", body: CREATE_BODY, unknown: "/predictions" },
  {
    name: "create for a model",
    method: "POST",
    path: "/models/acme/echo/predictions",
    body: CREATE_BODY,
    unknown: "/models/acme/Nobody!/predictions",
  },
  {
    name: "create for a version",
    method: "POST",
    path: "/models/acme/echo/versions/1/predictions",
    body: CREATE_BODY,
    unknown: "/models/acme/echo/versions/0/predictions",
  },
  { name: "get", method: "GET", path: `/predictions/${ID}`, unknown: `/predictions/${predictionId(9)}` },
  { name: "list", method: "GET", path: "/predictions", unknown: undefined },
  {
    name: "cancel",
    method: "POST",
    path: `/predictions/${ID}/cancel`,
    body: CREATE_BODY,
    unknown: `/predictions/${predictionId(9)}/cancel`,
  },
  {
    name: "watch",
    method: "GET",
    path: `/predictions/${ID}/events`,
    unknown: `/predictions/${predictionId(9)}/events`,
  },
  { name: "list models", method: "GET", path: "/models", unknown: undefined },
  { name: "list an owner's models", method: "GET", path: "/models/acme", unknown: "/models/No!" },
  { name: "get a model", method: "GET", path: "/models/acme/echo", unknown: "/models/acme/none" },
  {
    name: "list versions",
    method: "GET",
    path: "/models/acme/echo/versions",
    unknown: "/models/acme/none/versions",
  },
  {
    name: "get a version",
    method: "GET",
    path: "/models/acme/echo/versions/1",
    unknown: "/models/acme/echo/versions/99999999999",
  },
] as const;

describe.each(OPERATIONS)("the operation $name", ({ method, path, unknown, ...rest }) => {
  const body = "body" in rest ? rest.body : undefined;
  const headers = { authorization: `Bearer ${KEY}`, ...(body && { "content-type": "application/json" }) };
  const options = { headers, ...(body && { payload: body }) };

  function serveOne(): MemoryServices {
    const services = serve(memoryServices({ keys: true }));
    services.put({});
    return services;
  }

  it("is 401 without a credential", async () => {
    const services = serveOne();
    const { authorization: _, ...others } = headers;
    const response = await ask(method, path, { ...options, headers: others });
    expect([response.statusCode, response.json()]).toEqual([401, { detail: "Not authenticated" }]);
    expect(services.calls).toEqual([]);
  });

  if (unknown !== undefined)
    it("is 404 for what does not exist", async () => {
      serveOne();
      const missing = body && path === unknown ? { payload: body.replace("echo", "none") } : {};
      const response = await ask(method, unknown, { ...options, ...missing });
      expect(response.statusCode).toBe(404);
      expect(response.json().detail).toEqual(expect.any(String));
    });

  it("is 405 by another method", async () => {
    serveOne();
    const response = await ask("DELETE", path, { headers });
    expect([response.statusCode, response.json()]).toEqual([405, { detail: "Method Not Allowed" }]);
    expect(response.headers.allow).toContain(method);
  });

  // A GET's body is not read, however long it is.
  if (method === "POST")
    it("is 413 with a body beyond the limit", async () => {
      const services = serveOne();
      const response = await ask(method, path, { headers, payload: "x".repeat(BODY_MAX + 1) });
      expect([response.statusCode, response.json()]).toEqual([
        413,
        { detail: `Request body is larger than ${BODY_MAX} bytes` },
      ]);
      expect(services.calls).toEqual([]);
    });

  it("is 429 when the service has enough", async () => {
    const services = serveOne();
    services.failNext = new AuspexError("resource_exhausted", "slow down", { retryAfterMs: 3000 });
    const response = await ask(method, path, options);
    expect([response.statusCode, response.json()]).toEqual([429, { detail: "slow down" }]);
    expect(response.headers["retry-after"]).toBe("3");
    expect(response.headers["x-request-id"]).toMatch(UUID_V4);
  });
});
