/** What the WriftAI dialect answers instead of a result, row by row of its contract's table of errors (§1.8). */
import { describe, expect, it } from "vitest";
import { AuspexError, invalidArgument } from "../../../../src/domain/error.ts";
import { KEY, memoryServices } from "./memory-services.ts";
import { ask, BODY_MAX, create, listen, logged, post, serve, UUID_V4 } from "./served.ts";

const INVALID_OBJECT = "Input should be a valid dictionary or object to extract fields from";

describe("a bad request", () => {
  const good = { model: "acme/echo", input: {} };
  const missing = (...loc: string[]) => ({ type: "missing", loc: ["body", ...loc], msg: "Field required" });
  const cut = (offset: number, error: string) => ({
    type: "json_invalid",
    loc: ["body", offset],
    msg: "JSON decode error",
    input: {},
    ctx: { error },
  });
  const url = (type: string, msg: string, input: string, ctx: object) => ({
    type,
    loc: ["body", "webhook", "url"],
    msg,
    input,
    ctx,
  });

  /** §1.8's table: body → every item of `detail`. */
  const BODIES: readonly (readonly [unknown, readonly object[]])[] = [
    ["", [{ ...missing(), input: null }]],
    ['{"model": ', [cut(10, "Expecting value")]],
    ['{"model":"a/b",}', [cut(15, "Expecting property name enclosed in double quotes")]],
    ["{} x", [cut(3, "Extra data")]],
    ["NaN", [cut(0, "Expecting value")]],
    [[1], [{ type: "model_attributes_type", loc: ["body"], msg: INVALID_OBJECT, input: [1] }]],
    ['"x"', [{ type: "model_attributes_type", loc: ["body"], msg: INVALID_OBJECT, input: "x" }]],
    ["null", [{ type: "model_attributes_type", loc: ["body"], msg: INVALID_OBJECT, input: null }]],
    [
      {},
      [
        { ...missing("model"), input: {} },
        { ...missing("input"), input: {} },
      ],
    ],
    [
      { ...good, model: 5 },
      [{ type: "string_type", loc: ["body", "model"], msg: "Input should be a valid string", input: 5 }],
    ],
    [
      { ...good, model: "echo" },
      [
        {
          type: "value_error",
          loc: ["body", "model"],
          msg: "Value error, Identifier must be in either owner/name or owner/name:version-number format.",
          input: "echo",
          ctx: { error: {} },
        },
      ],
    ],
    [
      { ...good, input: [1] },
      [{ type: "dict_type", loc: ["body", "input"], msg: "Input should be a valid dictionary", input: [1] }],
    ],
    [
      { ...good, input: null },
      [{ type: "dict_type", loc: ["body", "input"], msg: "Input should be a valid dictionary", input: null }],
    ],
    [
      { ...good, webhook: "http://x" },
      [{ type: "model_attributes_type", loc: ["body", "webhook"], msg: INVALID_OBJECT, input: "http://x" }],
    ],
    [{ ...good, webhook: {} }, [{ ...missing("webhook", "url"), input: {} }]],
    [
      { ...good, webhook: { url: "nope" } },
      [
        url("url_parsing", "Input should be a valid URL, relative URL without a base", "nope", {
          error: "relative URL without a base",
        }),
      ],
    ],
    [
      { ...good, webhook: { url: "ftp://x/" } },
      [
        url("url_scheme", "URL scheme should be 'http' or 'https'", "ftp://x/", {
          expected_schemes: "'http' or 'https'",
        }),
      ],
    ],
    [
      { ...good, webhook: { url: "http://x", secret: 6 } },
      [
        {
          type: "string_type",
          loc: ["body", "webhook", "secret"],
          msg: "Input should be a valid string",
          input: 6,
        },
      ],
    ],
  ];

  it.each(BODIES)("with the body %j", async (body, detail) => {
    const services = serve();
    const response = await post("/predictions", body);
    expect(response.statusCode).toBe(422);
    expect(response.json()).toEqual({ detail });
    expect(services.calls).toEqual([]);
  });

  it("has its complaints' keys in FastAPI's order", async () => {
    serve();
    expect((await post("/predictions", "[1")).body).toBe(
      '{"detail":[{"type":"json_invalid","loc":["body",2],"msg":"JSON decode error","input":{},' +
        '"ctx":{"error":"Expecting \',\' delimiter"}}]}',
    );
  });

  it.each(["text/plain", "application/x-www-form-urlencoded", "application/jsonx", undefined])(
    "of the type %s is not an object",
    async (type) => {
      serve();
      const payload = JSON.stringify(good);
      const response = await ask("POST", "/predictions", {
        payload,
        headers: type ? { "content-type": type } : {},
      });
      expect(response.statusCode).toBe(422);
      expect(response.json().detail).toEqual([
        { type: "model_attributes_type", loc: ["body"], msg: INVALID_OBJECT, input: payload },
      ]);
    },
  );

  it("without a body lacks it, whatever its type", async () => {
    serve();
    for (const headers of [{}, { "content-type": "application/json" }]) {
      const response = await ask("POST", "/predictions", { headers });
      expect([response.statusCode, response.json()]).toEqual([
        422,
        { detail: [{ ...missing(), input: null }] },
      ]);
    }
  });

  it("has wrong headers and a wrong body told in one answer, path first", async () => {
    serve();
    const headers = { "validate-input": "maybe" };
    const bool = {
      type: "bool_parsing",
      loc: ["header", "validate-input"],
      msg: "Input should be a valid boolean, unable to interpret input",
      input: "maybe",
    };
    const lacks = [
      { ...missing("model"), input: {} },
      { ...missing("input"), input: {} },
    ];
    expect((await post("/predictions", {}, headers)).json()).toEqual({ detail: [bool, ...lacks] });
    const inPath = await post("/models/acme/echo/versions/x/predictions", {}, headers);
    expect(inPath.json()).toEqual({
      detail: [
        {
          type: "int_parsing",
          loc: ["path", "number"],
          msg: "Input should be a valid integer, unable to parse string as an integer",
          input: "x",
        },
        bool,
        lacks[1],
      ],
    });
  });

  it.each([
    ["page_size=4", "greater_than_equal", "Input should be greater than or equal to 5", { ge: 5 }],
    ["page_size=51", "less_than_equal", "Input should be less than or equal to 50", { le: 50 }],
    [
      "page_size=abc",
      "int_parsing",
      "Input should be a valid integer, unable to parse string as an integer",
      undefined,
    ],
  ])("with ?%s", async (query, type, msg, ctx) => {
    serve();
    for (const path of ["/predictions", "/models", "/models/acme", "/models/acme/echo/versions"]) {
      const response = await ask("GET", `${path}?${query}`);
      expect(response.statusCode).toBe(422);
      const input = query.split("=")[1];
      expect(response.json()).toEqual({
        detail: [{ type, loc: ["query", "page_size"], msg, input, ...(ctx && { ctx }) }],
      });
    }
  });

  it.each([
    "GET /predictions/not-a-uuid",
    "POST /predictions/not-a-uuid/cancel",
    "GET /predictions/not-a-uuid/events",
  ])("%s", async (line) => {
    serve();
    const [method = "", path = ""] = line.split(" ");
    const error = "invalid character: found `n` at 0";
    const response = await ask(method, path);
    expect(response.statusCode).toBe(422);
    expect(response.json().detail).toEqual([
      {
        type: "uuid_parsing",
        loc: ["path", "prediction_id"],
        msg: `Input should be a valid UUID, ${error}`,
        input: "not-a-uuid",
        ctx: { error },
      },
    ]);
  });

  it("that is no text, or nested beyond reading, is 400", async () => {
    serve();
    const utf8 = await post("/predictions", Buffer.from([0x7b, 0xff, 0x7d]));
    expect([utf8.statusCode, utf8.json().detail]).toEqual([
      400,
      "There was an error parsing the body: it is not valid UTF-8",
    ]);
    const deep = await post("/predictions", "[".repeat(1500) + "]".repeat(1500));
    expect([deep.statusCode, deep.json().detail]).toEqual([
      400,
      "There was an error parsing the body: it is nested too deep",
    ]);
    const cutDeep = await post("/predictions", "[".repeat(BODY_MAX));
    expect(cutDeep.json().detail).toEqual([cut(BODY_MAX, "Expecting value")]);
  });

  it("may be as long as the limit and not a byte longer, also when its length is not announced", async () => {
    serve();
    const text = JSON.stringify(good);
    expect((await post("/predictions", text.padEnd(BODY_MAX))).statusCode).toBe(202);
    const tooLong = { detail: `Request body is larger than ${BODY_MAX} bytes` };
    const announced = await post("/predictions", text.padEnd(BODY_MAX + 1));
    expect([announced.statusCode, announced.json()]).toEqual([413, tooLong]);
    const base = await listen();
    const chunked = await fetch(`${base}/predictions`, {
      method: "POST",
      body: new Blob([text.padEnd(BODY_MAX + 1)]).stream(),
      duplex: "half",
      headers: { "content-type": "application/json" },
    } as RequestInit);
    expect([chunked.status, await chunked.json()]).toEqual([413, tooLong]);
  });

  it("that is compressed is 415", async () => {
    serve();
    const response = await post("/predictions", good, { "content-encoding": "gzip" });
    expect([response.statusCode, response.json()]).toEqual([
      415,
      { detail: "Content-Encoding gzip is not supported" },
    ]);
  });
});

describe("who asks", () => {
  it.each([
    ["nothing", undefined],
    ["another scheme", "Basic YTpi"],
    ["no token", "Bearer"],
    ["blanks", "Bearer   "],
    ["an unknown token", "Bearer nobody"],
  ])("with %s is 401", async (_what, authorization) => {
    serve(memoryServices({ keys: true }));
    const response = await ask("GET", "/predictions", { headers: authorization ? { authorization } : {} });
    expect([response.statusCode, response.json()]).toEqual([401, { detail: "Not authenticated" }]);
    expect(response.headers["www-authenticate"]).toBe("Bearer");
    expect(response.headers["x-request-id"]).toMatch(UUID_V4);
  });

  it.each([`Bearer ${KEY}`, `bearer  ${KEY} `])("with %j is let in", async (authorization) => {
    const services = serve(memoryServices({ keys: true }));
    expect((await ask("GET", "/predictions", { headers: { authorization } })).statusCode).toBe(200);
    expect(services.calls[0]?.principal.name).toBe("acme");
  });

  it("matters after a body that is no JSON, and before one that lacks fields", async () => {
    serve(memoryServices({ keys: true }));
    expect((await post("/predictions", '{"model": ')).statusCode).toBe(422);
    expect((await post("/predictions", {})).statusCode).toBe(401);
    expect((await post("/models/acme/echo/versions/x/predictions", {})).statusCode).toBe(401);
    expect((await ask("GET", "/predictions/not-a-uuid")).statusCode).toBe(401);
  });

  it("matters before a large body is parsed, be its length announced or not", async () => {
    serve(memoryServices({ keys: true }), 1024 * 1024);
    const text = `{"input": ${" ".repeat(300_000)}`;
    expect((await post("/predictions", text)).statusCode).toBe(401);
    expect((await post("/predictions", text, { authorization: `Bearer ${KEY}` })).statusCode).toBe(422);
    const chunked = await fetch(`${await listen()}/predictions`, {
      method: "POST",
      body: new Blob([text]).stream(),
      duplex: "half",
      headers: { "content-type": "application/json" },
    } as RequestInit);
    expect(chunked.status).toBe(401);
  });

  it("does not matter for what is not there", async () => {
    serve(memoryServices({ keys: true }));
    expect((await ask("GET", "/nope")).statusCode).toBe(404);
    expect((await ask("PUT", "/predictions")).statusCode).toBe(405);
    expect((await ask("GET", "/predictions/")).statusCode).toBe(307);
  });
});

describe("paths", () => {
  it.each([
    "/nope",
    "",
    "/",
    "/predictions//events",
    "/models//echo",
    "/search/models?q=x",
    "/search/users?q=x",
    "/hardware",
    "/model_categories",
    "/users",
    "/users/acme",
    "/user",
    "/user/models",
    "/chat/completions",
    "/messages",
  ])("%s is unknown, in JSON", async (path) => {
    serve();
    const response = await ask("GET", path);
    expect([response.statusCode, response.body]).toEqual([404, '{"detail":"Not Found"}']);
  });

  it.each([
    ["GET", "/predictions/", "/predictions"],
    ["GET", "/predictions//", "/predictions"],
    ["GET", "/models/acme/", "/models/acme"],
    ["GET", "/models/acme/echo/versions/", "/models/acme/echo/versions"],
    ["POST", "/predictions/?a=b&c=?d", "/predictions?a=b&c=?d"],
    ["PUT", "/predictions/x/", "/predictions/x"],
  ])("%s %s redirects", async (method, path, target) => {
    serve();
    const response = await ask(method, path, { headers: { host: "api.example:8080" } });
    expect([response.statusCode, response.body]).toEqual([307, ""]);
    expect(response.headers.location).toBe(`http://api.example:8080/v1${target}`);
  });

  it.each([
    ["PUT", "/predictions", "GET, POST"],
    ["HEAD", "/predictions", "GET, POST"],
    ["OPTIONS", "/predictions", "GET, POST"],
    ["DELETE", "/predictions/x", "GET"],
    ["GET", "/predictions/x/cancel", "POST"],
    ["POST", "/models", "GET"],
    ["PATCH", "/models/acme/echo", "GET"],
    ["DELETE", "/models/acme/echo/versions/1", "GET"],
    ["GET", "/models/acme/echo/predictions", "POST"],
  ])("%s %s is not allowed", async (method, path, allow) => {
    serve();
    const response = await ask(method, path);
    expect(response.statusCode).toBe(405);
    expect(response.headers.allow).toBe(allow);
    if (method !== "HEAD") expect(response.body).toBe('{"detail":"Method Not Allowed"}');
  });
});

describe("an operation's error", () => {
  it.each([
    [new AuspexError("not_found", "Model not found"), 404, "Model not found"],
    [new AuspexError("already_exists", "used before"), 409, "used before"],
    [new AuspexError("failed_precondition", "too late"), 409, "too late"],
    [new AuspexError("permission_denied", "not yours"), 403, "not yours"],
    [new AuspexError("resource_exhausted", "slow down", { retryAfterMs: 1500 }), 429, "slow down"],
    [new AuspexError("unavailable", "stopping"), 503, "stopping"],
    [new AuspexError("deadline_exceeded", "too slow"), 504, "too slow"],
    [new AuspexError("unimplemented", "not yet"), 501, "not yet"],
    [new AuspexError("internal", "secret path"), 500, "Internal Server Error"],
    [new Error("a fault with a secret"), 500, "Internal Server Error"],
  ])("%s", async (error, status, detail) => {
    const services = serve();
    services.failNext = error;
    const response = await create();
    expect([response.statusCode, response.json()]).toEqual([status, { detail }]);
    const retry = status === 429 ? "2" : status === 503 ? "1" : undefined;
    expect(response.headers["retry-after"]).toBe(retry);
    expect(logged.length).toBe(status === 500 ? 1 : 0);
    if (status === 500) expect(logged[0]).toMatchObject({ requestId: response.headers["x-request-id"] });
  });

  it("about fields is told where this API has them", async () => {
    const services = serve();
    services.failNext = invalidArgument(
      { field: "input.steps[0]", reason: "type", description: "must be integer" },
      { field: "webhook.url", reason: "not_allowed", description: "the address is private" },
      { field: "request_id", reason: "too_long", description: "has 256 characters" },
    );
    const response = await create();
    expect(response.statusCode).toBe(422);
    expect(response.json().detail).toEqual([
      {
        type: "value_error",
        loc: ["body", "input", "steps", 0],
        msg: "Value error, must be integer",
        ctx: { reason: "type" },
      },
      {
        type: "value_error",
        loc: ["body", "webhook", "url"],
        msg: "Value error, the address is private",
        ctx: { reason: "not_allowed" },
      },
      {
        type: "value_error",
        loc: ["header", "idempotency-key"],
        msg: "Value error, has 256 characters",
        ctx: { reason: "too_long" },
      },
    ]);
  });
});
