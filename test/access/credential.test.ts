/** F39 for what lets somebody in: links, tokens and keys that are nearly right, and numbers that are guessed. */
import { createHmac } from "node:crypto";
import { ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { AccountService } from "../../gen/auspex/v1/account_pb.ts";
import { DatasetService } from "../../gen/auspex/v1/dataset_pb.ts";
import { clientOf } from "../harness.ts";
import { call } from "../server/einstein-vision/client.ts";
import { hs256, keyPair, nowS, rs256 } from "../tokens.ts";
import { JWT_SECRET, median, OTHER_KEY, OWNER, OWNER_KEY, openScene, type Scene } from "./attack.ts";

let scene: Scene;
beforeAll(async () => {
  scene = await openScene();
}, 180_000);
afterAll(() => scene?.[Symbol.asyncDispose]());

async function refusal(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (thrown) {
    const { code, rawMessage, details } = ConnectError.from(thrown);
    return `${code} ${rawMessage} ${details.length}`;
  }
  throw new Error("it was let in");
}

/** Signed as the server signs, which knows the secret as well. */
function link(id: string, exp: number): string {
  const sig = createHmac("sha256", JWT_SECRET).update(`auspex file link\0${id}\0${exp}`).digest("base64url");
  return `/files/${id}?exp=${exp}&sig=${sig}`;
}

describe("F39 a link to a picture", () => {
  const open = async (path: string) => {
    const response = await fetch(scene.server.url + path);
    const headers = [...response.headers].filter(([name]) => name !== "date");
    return { status: response.status, headers, body: await response.text() };
  };

  test("opens as it was given out, and in no other way", async () => {
    const { dataset, example } = scene.things;
    const path = `/v1/vision/datasets/${dataset}/examples/${example}`;
    const { body } = await call(scene.server, "GET", path, { key: OWNER_KEY });
    const given = new URL(body.location);
    const [id = "", exp = "", sig = ""] = [
      given.pathname.slice("/files/".length),
      given.searchParams.get("exp") ?? "",
      given.searchParams.get("sig") ?? "",
    ];
    expect((await open(given.pathname + given.search)).status).toBe(200);
    expect((await open(link(id, nowS() + 60))).status).toBe(200);

    const flipped = `${sig.startsWith("A") ? "B" : "A"}${sig.slice(1)}`;
    const other = id.replace(/\d+$/, (digits) => String(Number(digits) - 1));
    const bad = [
      `/files/${id}`,
      `/files/${id}?exp=${exp}`,
      `/files/${id}?exp=${exp}&sig=`,
      `/files/${id}?exp=${exp}&sig=${flipped}`,
      `/files/${id}?exp=${exp}&sig=${sig.slice(0, -2)}`,
      `/files/${id}?exp=${exp}&sig=${sig}${sig}`,
      `/files/${id}?exp=${Number(exp) + 1}&sig=${sig}`,
      `/files/${id}?exp=${exp}0&sig=${sig}`,
      `/files/${other}?exp=${exp}&sig=${sig}`,
      `/files/${id.replace(OWNER, "zeta")}?exp=${exp}&sig=${sig}`,
      // Its time is over; then a right one for another's example, and for what nobody has.
      link(id, nowS() - 1),
      link(`zeta.${example}`, nowS() + 60),
      link(`${OWNER}.999999`, nowS() + 60),
      link(OWNER, nowS() + 60),
    ];
    const never = await open("/files/nobody.1?exp=1&sig=A");
    expect(never.status).toBe(404);
    const told = await Promise.all(bad.map(open));
    // The two whose signature is right may say which example it is that is not there.
    for (const [i, answer] of told.entries()) {
      expect([bad[i], answer.status]).toEqual([bad[i], 404]);
      if (!bad[i]?.startsWith("/files/zeta.") && !bad[i]?.includes("999999"))
        expect([bad[i], answer]).toEqual([bad[i], never]);
    }
  });
});

describe("F39 a token", () => {
  test("does not tell whether its principal is known", async () => {
    const datasets = (key: string) => clientOf(scene.server, "grpc", DatasetService, key).listDatasets({});
    const [past, ahead] = [nowS() - 10, nowS() + 3600];
    const told = await Promise.all(
      [
        hs256({ user_id: OWNER, exp: past }, JWT_SECRET),
        hs256({ user_id: "nobody", exp: past }, JWT_SECRET),
        hs256({ user_id: OWNER, exp: ahead }, "x".repeat(32)),
        hs256({ user_id: "nobody", exp: ahead }, "x".repeat(32)),
        hs256({ iss: OWNER, exp: ahead }, JWT_SECRET),
        hs256({ iss: "nobody", exp: ahead }, JWT_SECRET),
        hs256({ sub: OWNER, exp: ahead }, JWT_SECRET, { alg: "HS256", typ: "at+jwt" }),
        hs256({ user_id: OWNER, exp: ahead }, "", { alg: "none", typ: "JWT" }),
      ].map((token) => refusal(datasets(token))),
    );
    expect(new Set(told).size).toBe(1);
    await expect(datasets(hs256({ user_id: OWNER, exp: ahead }, JWT_SECRET))).resolves.toBeDefined();
  });

  test("is not given for an assertion that another key signed, whether its subject is known or not", async () => {
    const accounts = clientOf(scene.server, "grpc", AccountService);
    const { privateKey } = keyPair();
    const told = await Promise.all(
      ["acme@example.com", "nobody@example.com"].map((sub) => {
        const claims = { sub, aud: `${scene.server.url}/v2/oauth2/token`, exp: nowS() + 60 };
        return refusal(
          accounts.createToken({ grant: { case: "assertion", value: rs256(claims, privateKey) } }),
        );
      }),
    );
    expect(told[0]).toBe(told[1]);
  });

  test("to refresh with is another's to use and nobody else's to revoke; revoked, it never was", async () => {
    const anybody = clientOf(scene.server, "grpc", AccountService);
    const { refreshToken: token } = scene.things;
    const refresh = (value: string) => anybody.createToken({ grant: { case: "refreshToken", value } });
    const { accessToken } = await refresh(token);
    const owner = clientOf(scene.server, "grpc", AccountService, accessToken);
    const other = clientOf(scene.server, "grpc", AccountService, OTHER_KEY);
    expect(await refusal(other.revokeToken({ token }))).toBe(
      await refusal(other.revokeToken({ token: "x" })),
    );
    await expect(refresh(token)).resolves.toBeDefined();
    await owner.revokeToken({ token });
    const never = await refusal(refresh("A".repeat(token.length)));
    for (const value of [token, token.slice(0, -1), `${token}A`])
      expect(await refusal(refresh(value))).toBe(never);
  });
});

test("F39 guessing numbers finds nothing: whatever is there is another's", async () => {
  const datasets = clientOf(scene.server, "grpc", DatasetService, OTHER_KEY);
  const { dataset, label, example } = scene.things;
  const numbers = [dataset, label, example].map(Number);
  const [from, to] = [Math.min(...numbers) - 5, Math.max(...numbers) + 20];
  const told = new Set<string>();
  for (let n = Math.max(1, from); n <= to; n++) {
    const id = BigInt(n);
    const calls = [datasets.getDataset({ id }), datasets.getLabel({ id }), datasets.getExample({ id })];
    for (const text of await Promise.all(calls.map(refusal))) told.add(text.replace(String(n), "N"));
  }
  // One sentence each for datasets, labels and examples.
  expect([...told].length).toBe(3);
});

test("F39 the time that a wrong key takes does not tell how much of it is right", async () => {
  // A flow's key is random, so that no one character is always another.
  const otherAt = (key: string, index: number) =>
    `${key.slice(0, index)}${key[index] === "x" ? "y" : "x"}${key.slice(index + 1)}`;
  const wrong = {
    "in its first character": otherAt(OWNER_KEY, 0),
    "in its last character": otherAt(OWNER_KEY, OWNER_KEY.length - 1),
    "in its length": `${OWNER_KEY}x`,
    "a flow's key, in its first character": otherAt(scene.flowKey, "flow_".length),
    "a flow's key, in its last character": otherAt(scene.flowKey, scene.flowKey.length - 1),
  };
  const kinds = Object.keys(wrong) as (keyof typeof wrong)[];
  const taken = new Map<string, number[]>(kinds.map((kind) => [kind, []]));
  for (let round = 0; round < 60; round++) {
    for (const kind of round % 2 ? kinds : kinds.toReversed()) {
      const began = performance.now();
      const path = `${scene.server.url}/api/v1/chatmessage/abort/${scene.things.chatflow}/c`;
      const response = await fetch(path, {
        method: "PUT",
        headers: { authorization: `Bearer ${wrong[kind]}` },
      });
      await response.arrayBuffer();
      taken.get(kind)?.push(performance.now() - began);
      expect(response.status).toBe(401);
    }
  }
  const medians = kinds.map((kind) => median(taken.get(kind) ?? []));
  console.log(
    "medians in ms of a key that is wrong",
    ...kinds.map((kind, i) => `\n  ${kind}: ${medians[i]?.toFixed(2)}`),
  );
  // Generous, as above: the comparison itself is a matter of nanoseconds, and of digests (`authenticator.ts`).
  expect(Math.max(...medians) - Math.min(...medians)).toBeLessThan(2 + 0.5 * Math.min(...medians));
});
