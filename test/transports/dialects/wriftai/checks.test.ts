import { describe, expect, it } from "vitest";
import type { JsonValue } from "../../../../src/domain/payload.ts";
import {
  Complaints,
  checkBoolean,
  checkInteger,
  checkUrl,
  checkUuid,
  ECHO_MAX,
} from "../../../../src/transports/dialects/wriftai/checks.ts";
import { type Complaint, locationOf, Refused } from "../../../../src/transports/dialects/wriftai/errors.ts";

/** The one complaint that the check makes, or the value that it answers. */
function outcome<T>(check: (complaints: Complaints) => T): { value: T } | Complaint {
  const complaints = new Complaints();
  const value = check(complaints);
  try {
    complaints.settle();
    return { value };
  } catch (error) {
    if (error instanceof Refused && Array.isArray(error.detail)) return error.detail[0];
    throw error;
  }
}

const ID = "5f0c0c1e-7f3b-4c55-9d0a-2f6a0f1d9a11";

// Each message below is what Pydantic 2.14 says.
describe("a UUID", () => {
  it.each([ID, ID.toUpperCase(), ID.replaceAll("-", ""), `{${ID}}`, `urn:uuid:${ID}`])(
    "is read from %s",
    (text) => {
      expect(outcome((c) => checkUuid(c, ["path"], text))).toEqual({ value: ID });
    },
  );

  it.each([
    ["not-a-uuid", "invalid character: found `n` at 0"],
    ["", "invalid length: found 0"],
    ["abc", "invalid length: found 3"],
    [`${ID.slice(0, -1)}`, "invalid group length in group 4: expected 12, found 11"],
    [`${ID}1`, "invalid group length in group 4: expected 12, found 13"],
    [`${ID.slice(0, -1)}g`, "invalid character: found `g` at 35"],
    [`{${ID.replaceAll("-", "")}}`, "invalid group count: expected 5, found 1"],
    ["-", "invalid group count: expected 5, found 2"],
    ["----", "invalid group length in group 0: expected 8, found 0"],
    [`{${ID}`, "invalid character: found `{` at 0"],
    [`${ID}}`, "invalid character: found `}` at 36"],
    ["urn:uuid:abc", "invalid group count: expected 5, found 1"],
    ["a".repeat(33), "invalid length: found 33"],
    ["5f0c0c1é", "invalid character: found `é` at 7"],
  ])("is not read from %j: %s", (text, error) => {
    expect(outcome((c) => checkUuid(c, ["path", "prediction_id"], text))).toEqual({
      type: "uuid_parsing",
      loc: ["path", "prediction_id"],
      msg: `Input should be a valid UUID, ${error}`,
      input: text,
      ctx: { error },
    });
  });
});

describe("an integer", () => {
  it.each([
    ["7", 7],
    [" 7\n", 7],
    ["+7", 7],
    ["-7", -7],
    ["007", 7],
    ["1_000", 1000],
    ["7.00", 7],
    ["1_0.0", 10],
  ])("is read from %j", (text, value) => {
    expect(outcome((c) => checkInteger(c, [], text))).toEqual({ value });
  });

  it.each(["", " ", "abc", "5.5", "5.", ".5", "1e1", "0x10", "1__0", "_1", "+-7", "1 0", "７", "½", "1.0_0"])(
    "is not read from %j",
    (text) => {
      expect(outcome((c) => checkInteger(c, [], text))).toMatchObject({ type: "int_parsing", input: text });
    },
  );

  it("has its bounds checked, whatever its size", () => {
    const range = { ge: 5, le: 50 };
    const read = (text: string) => outcome((c) => checkInteger(c, [], text, range));
    expect(read("5")).toEqual({ value: 5 });
    expect(read("50")).toEqual({ value: 50 });
    expect(read("4")).toMatchObject({ type: "greater_than_equal", input: "4", ctx: { ge: 5 } });
    expect(read("-1")).toMatchObject({ type: "greater_than_equal" });
    expect(read("51")).toMatchObject({ type: "less_than_equal", input: "51", ctx: { le: 50 } });
    expect(read("9".repeat(400))).toMatchObject({ type: "less_than_equal" });
  });
});

describe("a boolean", () => {
  it.each(["true", "1", "yes", "on", "t", "y", "TRUE", "Yes"])("%s is true", (text) => {
    expect(outcome((c) => checkBoolean(c, [], text))).toEqual({ value: true });
  });
  it.each(["false", "0", "no", "off", "f", "n", "FALSE", "Off"])("%s is false", (text) => {
    expect(outcome((c) => checkBoolean(c, [], text))).toEqual({ value: false });
  });
  it.each(["maybe", "", " true", "1 ", "2", "__proto__", "constructor"])("%j is none", (text) => {
    expect(outcome((c) => checkBoolean(c, [], text))).toMatchObject({ type: "bool_parsing", input: text });
  });
});

describe("a URL", () => {
  it.each(["http://x", "HTTPS://X/y?z", "http:x", "http:/x", "http://x:", "https://é.com/", "  http://x "])(
    "is taken as %j",
    (text) => {
      expect(outcome((c) => checkUrl(c, [], text))).toEqual({ value: text });
    },
  );

  it.each([
    ["", "input is empty"],
    ["nope", "relative URL without a base"],
    ["//x", "relative URL without a base"],
    ["1http://x", "relative URL without a base"],
    [":x", "relative URL without a base"],
    ["h ttp://x", "relative URL without a base"],
    ["http://", "empty host"],
    ["http:", "empty host"],
    ["http://?x", "empty host"],
    ["http://x:99999", "invalid port number"],
    ["http://x:a", "invalid port number"],
    ["http://[::1", "invalid IPv6 address"],
    ["http://[::g]", "invalid IPv6 address"],
    ["http://1.2.3.4.5", "invalid IPv4 address"],
    ["http://256.1.1.1", "invalid IPv4 address"],
    ["http://a b", "invalid international domain name"],
    ["http://a%zz", "invalid international domain name"],
    ["http://a<b", "invalid international domain name"],
  ])("%j is none: %s", (text, error) => {
    expect(outcome((c) => checkUrl(c, [], text))).toEqual({
      type: "url_parsing",
      loc: [],
      msg: `Input should be a valid URL, ${error}`,
      input: text,
      ctx: { error },
    });
  });

  it.each(["ftp://x", "javascript:alert(1)", "mailto:x", "file:///etc", "ws://x"])(
    "%s has another scheme",
    (text) => {
      expect(outcome((c) => checkUrl(c, [], text))).toMatchObject({
        type: "url_scheme",
        ctx: { expected_schemes: "'http' or 'https'" },
      });
    },
  );

  it("is a string", () => {
    expect(outcome((c) => checkUrl(c, [], 5))).toMatchObject({ type: "url_type", input: 5 });
  });
});

describe("a complaint", () => {
  const echo = (input: JsonValue) => outcome((c) => c.add("x", [], "", input));

  it("shows what was sent, up to a limit", () => {
    expect(echo("x".repeat(ECHO_MAX))).toHaveProperty("input");
    expect(echo("x".repeat(ECHO_MAX + 1))).not.toHaveProperty("input");
    expect(echo(["x".repeat(ECHO_MAX - 4)])).toHaveProperty("input");
    expect(echo(["x".repeat(ECHO_MAX - 3)])).not.toHaveProperty("input");
  });

  it.each([
    ["input", ["body", "input"]],
    ["input.image", ["body", "input", "image"]],
    ["input.items.0.name", ["body", "input", "items", 0, "name"]],
    ['tensors["a b"].shape[2]', ["body", "input", "a b", "shape", 2]],
    ["webhook.url", ["body", "webhook", "url"]],
    ["request_id", ["header", "idempotency-key"]],
    ["page_token", ["query", "cursor"]],
    ["id", ["path", "prediction_id"]],
    ["something", ["body", "something"]],
  ])("about our %s stands at %j", (field, loc) => {
    expect(locationOf(field)).toEqual(loc);
  });
});
