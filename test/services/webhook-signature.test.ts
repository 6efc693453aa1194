import { Webhook } from "standardwebhooks";
import { describe, expect, test } from "vitest";
import { signatureHeaders, signStandard, signWriftai } from "../../src/services/webhook-signature.ts";

const BODY = '{"id":"497f6eca-6276-4993-bfeb-53cbbbba6f08","status":"succeeded","ä":"€"}';
const nowSeconds = Math.floor(Date.now() / 1000);

describe("Standard Webhooks", () => {
  test("the vector of its reference libraries", () => {
    expect(
      signStandard(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        '{"test": 2432232314}',
      ),
    ).toBe("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
  });

  test.each([
    ["whsec_ and base64", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", undefined],
    ["whsec_ and padded base64", `whsec_${Buffer.from("0123456789abcdef").toString("base64")}`, undefined],
    ["any text", "top secret", "raw"],
    ["text beyond ASCII", "geheim: äöü", "raw"],
    ["whsec_ and no base64", "whsec_not base64!", "raw"],
    ["whsec_ alone", "whsec_", "raw"],
  ] as const)("its own package verifies what is signed with %s", (_name, secret, format) => {
    const headers = signatureHeaders({ id: "msg_1_2", secret, format: "auspex", body: BODY }, nowSeconds);
    const key = format === "raw" ? Buffer.from(secret, "utf8") : secret;
    const receiver = new Webhook(key, format ? { format } : {});
    expect(receiver.verify(BODY, headers)).toEqual(JSON.parse(BODY));
    expect(() => receiver.verify(BODY.replace("succeeded", "failed"), headers)).toThrow();
    expect(() => receiver.verify(BODY, { ...headers, "webhook-id": "msg_1_3" })).toThrow();
  });
});

describe("WriftAI", () => {
  test.each([
    ["abcd1234", 123, '{"event":"ok"}', "34f9f8c8899717f160b0d2374f69805e08c94e169da3803fbd54950f90b5fde0"],
    [
      "top-secret",
      1700000000,
      '{"id":"497f6eca-6276-4993-bfeb-53cbbbba6f08","status":"succeeded"}',
      "18af5420313d1de41a5ebb46e06dfa7fc248cfede85ce3ba1f88b37af733ee6d",
    ],
  ])("the public vector of %s", (secret, t, body, mac) => {
    expect(signWriftai(secret, t, body)).toBe(`t=${t},v1=${mac}`);
  });
});

describe("the headers of an attempt", () => {
  const event = { id: "msg_1_2", body: BODY };

  test("without a secret name it and sign nothing", () => {
    for (const format of ["auspex", "wriftai"] as const) {
      expect(signatureHeaders({ ...event, secret: "", format }, 7)).toEqual({
        "webhook-id": "msg_1_2",
        "webhook-timestamp": "7",
      });
    }
  });

  test("carry WriftAI's signature in its format alone, the standard's always", () => {
    const own = signatureHeaders({ ...event, secret: "s", format: "auspex" }, 7);
    expect(Object.keys(own)).toEqual(["webhook-id", "webhook-timestamp", "webhook-signature"]);
    expect(signatureHeaders({ ...event, secret: "s", format: "wriftai" }, 7)).toEqual({
      ...own,
      "wriftai-webhook-signature": signWriftai("s", 7, BODY),
    });
  });
});
