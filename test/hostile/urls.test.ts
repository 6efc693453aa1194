/** F15: addresses of this machine and of private networks in every way that an address can be written. */

import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { createServer, type Server } from "node:net";
import { create, toBinary } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ImportImageRequestSchema } from "../../gen/auspex/v1/image_pb.ts";
import { AuspexError } from "../../src/domain/error.ts";
import { createEgress, type OpenEgress } from "../../src/services/egress.ts";
import { listen } from "../services/http-listener.ts";
import { type Arena, MODEL, openArena, type Told } from "./arena.ts";
import { below, oneOf, type Random } from "./mutations.ts";

const ADDRESSES = 400;
const THROUGH_THE_SERVER = 300;
const INVALID_ARGUMENT = 3;

let arena: Arena;
let trap: Server;
let port: number;
let visits = 0;

beforeAll(async () => {
  trap = createServer((socket) => {
    visits++;
    socket.destroy();
  }).listen(0, "::");
  await once(trap, "listening");
  port = (trap.address() as AddressInfo).port;
  arena = await openArena(15);
});
afterAll(async () => {
  trap?.close();
  await arena?.[Symbol.asyncDispose]();
});

type Bytes = readonly [number, number, number, number];

/** Private, local and special networks, by their first bytes. */
const NETWORKS: readonly [readonly number[], ...(readonly number[])[]] = [
  [127],
  [127, 0, 0, 1],
  [0, 0, 0, 0],
  [10],
  [172, 16],
  [172, 31],
  [192, 168],
  [169, 254, 169, 254],
  [100, 64],
  [198, 18],
  [192, 0, 2],
  [224],
  [255, 255, 255, 255],
];

function addressOf(random: Random): Bytes {
  const [a = 127, b = below(random, 256), c = below(random, 256), d = below(random, 256)] = oneOf(
    random,
    NETWORKS,
  );
  return [a, b, c, d];
}

const hex = (value: number, digits = 0): string => value.toString(16).padStart(digits, "0");
const octal = (value: number): string => `0${value.toString(8)}`;
const wide = (text: string): string =>
  text.replaceAll(/[0-9]/g, (digit) => String.fromCodePoint(0xff10 + Number(digit)));
const circled = (text: string): string =>
  text.replaceAll(/[1-9]/g, (digit) => String.fromCodePoint(0x245f + Number(digit)));
const whole = ([a, b, c, d]: Bytes): number => ((a * 256 + b) * 256 + c) * 256 + d;
const groups = ([a, b, c, d]: Bytes): string => `${hex(a * 256 + b)}:${hex(c * 256 + d)}`;

/** Every way of writing the address, as a URL's host. */
const FORMS: readonly [(address: Bytes) => string, ...((address: Bytes) => string)[]] = [
  (a) => a.join("."),
  (a) => `${a.join(".")}.`,
  (a) => String(whole(a)),
  (a) => `0x${hex(whole(a))}`,
  (a) => `0X${hex(whole(a), 16).toUpperCase()}`,
  (a) => octal(whole(a)),
  (a) => a.map(octal).join("."),
  (a) => a.map((part) => `00${octal(part)}`).join("."),
  (a) => a.map((part) => `0x${hex(part)}`).join("."),
  ([a, b, c, d]) => `${a}.0x${hex(b)}.${octal(c)}.${d}`,
  ([a, b, c, d]) => `${a}.${(b * 256 + c) * 256 + d}`,
  ([a, b, c, d]) => `${a}.${b}.${c * 256 + d}`,
  (a) => a.join("%2e"),
  (a) => a.join("\u3002"),
  (a) => wide(a.join(".")),
  (a) => circled(a.join("\uff0e")),
  (a) => a.join(".").replaceAll("1", "%31"),
  (a) => `[::ffff:${a.join(".")}]`,
  (a) => `[::ffff:${groups(a)}]`,
  (a) => `[0:0:0:0:0:FFFF:${groups(a)}]`,
  (a) => `[::${a.join(".")}]`,
  (a) => `[::ffff:0:${a.join(".")}]`,
  (a) => `[64:ff9b::${a.join(".")}]`,
  (a) => `[64:ff9b:1::${groups(a)}]`,
  (a) => `[2002:${groups(a)}::1]`,
  (a) => `[2001:0:${groups(a)}::1]`,
  (a) => `[fe80::5efe:${a.join(".")}]`,
  (a) => `[fe80::${groups(a)}%25eth0]`,
  (a) => `[fd00::${groups(a)}]`,
  (a) => `[ff02::${groups(a)}]`,
  () => "[::1]",
  () => "[::]",
  (a) => `1.1.1.1@${a.join(".")}`,
  (a) => `user:pass@${a.join(".")}`,
  (a) => `1.1.1.1%20@${a.join(".")}`,
];

const SCHEMES: readonly [string, ...string[]] = [
  "http://",
  "https://",
  "HTTP://",
  "http:/",
  "http:\\\\",
  "http:",
  " http://",
  "h\nttp://",
];

const urlOf = (random: Random): string =>
  `${oneOf(random, SCHEMES)}${oneOf(random, FORMS)(addressOf(random))}:${port}/${random() < 0.5 ? "a.jpg" : "#@1.1.1.1/"}`;

async function codeOf(egress: OpenEgress, url: string): Promise<string> {
  const request = {
    url,
    method: "GET",
    headers: {},
    maxBytes: 100,
    overflow: "fail",
    timeoutMs: 2000,
  } as const;
  try {
    const { status } = await egress.fetch({ ...request, signal: new AbortController().signal });
    return `answered ${status}`;
  } catch (error) {
    return AuspexError.from(error).code;
  }
}

test("F15 every form of every address is refused, by itself and as a name's", async () => {
  const random = arena.random;
  const answers: string[][] = [];
  const egress = createEgress({ allow: [], lookup: async () => answers.pop() ?? [] });
  try {
    for (let i = 0; i < ADDRESSES; i++) {
      for (const form of FORMS) {
        const url = `http://${form(addressOf(random))}:${port}/`;
        expect([url, await codeOf(egress, url)]).toEqual([url, "invalid_argument"]);
      }
      const address = addressOf(random);
      answers.push([
        address.join("."),
        `::ffff:${address.join(".")}`,
        "::1",
        "fe80::1",
        "not an address",
        "",
      ]);
      expect(await codeOf(egress, `http://rebound-${i}.example:${port}/`)).toBe("invalid_argument");
    }
  } finally {
    await egress.close();
  }
  console.log(`hostile urls in egress: ${ADDRESSES * (FORMS.length + 1)} inputs`);
  expect(visits).toBe(0);
});

test("F15 wherever a redirect leads, it is not followed", async () => {
  const places = FORMS.map((form) => `http://${form([127, 0, 0, 1])}:${port}/`);
  await using target = await listen((response, { path }) => {
    response.writeHead(302, { location: encodeURI(places[Number(path.slice(1))] ?? "") }).end();
  });
  const egress = createEgress({ allow: [`127.0.0.1:${target.port}`] });
  try {
    for (const i of places.keys()) expect(await codeOf(egress, `${target.origin}/${i}`)).toBe("answered 302");
  } finally {
    await egress.close();
  }
  console.log(`hostile redirects: ${places.length} inputs`);
  expect(visits).toBe(0);
});

test("F15 as a picture, an import and a webhook, over gRPC and two dialects", async () => {
  function* inputs(): Generator<() => Promise<Told>> {
    for (let i = 0; i < THROUGH_THE_SERVER; i++) {
      const url = urlOf(arena.random);
      const json = { "content-type": "application/json" };
      yield () =>
        arena.grpc(
          "/auspex.v1.ImageService/ImportImage",
          toBinary(ImportImageRequestSchema, create(ImportImageRequestSchema, { url })),
        );
      yield () =>
        arena.http("/v1/predictions", JSON.stringify({ model: MODEL, input: { image: url } }), json);
      yield () =>
        arena.http("/v1/predictions", JSON.stringify({ model: MODEL, input: {}, webhook: { url } }), json);
      yield () =>
        arena.http(
          "/v2/vision/datasets/upload/sync",
          new URLSearchParams({ path: url, type: "image" }).toString(),
          { "content-type": "application/x-www-form-urlencoded" },
        );
    }
  }
  const told = await arena.throwAll(inputs());
  const isRefusal = ({ door, status }: Told) =>
    door.startsWith("grpc ") ? status === INVALID_ARGUMENT : status >= 400 && status < 500;
  // A picture that is no address at all is a text like any other to this model.
  const taken = told.filter((each) => !isRefusal(each) && !/"image": ?"(?!https?:)/i.test(each.text));
  expect(taken).toEqual([]);
  expect(visits).toBe(0);
});

test("F15 the server stands as before", () => arena.settle("urls"));
