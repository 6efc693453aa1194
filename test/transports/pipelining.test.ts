/** Requests that come on one connection before those ahead of them are answered. */
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { generate } from "selfsigned";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Dialect } from "../../src/transports/dialect.ts";
import { WAITING_MAX } from "../../src/transports/pipelining.ts";
import { type Listeners, startListeners, until } from "./listeners.ts";
import { memoryServices } from "./memory-services.ts";

/** More than a connection's buffers take on loopback, in a hundred answers. */
const LARGE = "x".repeat(1024 * 1024);
let begun: string[] = [];
const toy: Dialect = {
  name: "toy",
  prefixes: ["/toy"],
  register(scope) {
    scope.get("/small/:name", async ({ params }) => {
      const { name } = params as { name: string };
      begun.push(name);
      return `answer ${name}`;
    });
    scope.get("/held", (_request, reply) => {
      begun.push("held");
      reply.raw.once("close", () => begun.push("gone"));
    });
    scope.get("/large", async () => {
      begun.push("large");
      return LARGE;
    });
    scope.post("/echo", async ({ body }) => {
      begun.push("echo");
      return body;
    });
  },
};

let plain: Listeners;
let secured: Listeners;
beforeAll(async () => {
  plain = await startListeners(memoryServices(), { dialects: [toy] });
  const { cert, private: key } = await generate([{ name: "commonName", value: "localhost" }], {
    keyType: "ec",
    algorithm: "sha256",
  });
  secured = await startListeners(memoryServices(), {
    dialects: [toy],
    tls: { cert: Buffer.from(cert), key: Buffer.from(key), clientCa: undefined },
  });
});
afterAll(() => Promise.all([plain[Symbol.asyncDispose](), secured[Symbol.asyncDispose]()]));
beforeEach(() => {
  begun = [];
});

const get = (path: string) => `GET /toy/${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;
const smalls = (count: number) => Array.from({ length: count }, (_, i) => get(`small/${i}`)).join("");
const numbers = (count: number) => Array.from({ length: count }, (_, i) => String(i));

interface Reader {
  readonly socket: Socket;
  text(): string;
}

const DOORS = {
  plain: () => connect(plain.http.port, "127.0.0.1"),
  // Whose certificate it is is not what is asked here.
  TLS: () => connectTls({ port: secured.http.port, host: "127.0.0.1", rejectUnauthorized: false }),
} as const;
const EACH = Object.keys(DOORS) as (keyof typeof DOORS)[];

function open(door: keyof typeof DOORS, bytes: string): Reader {
  const socket = DOORS[door]();
  let text = "";
  socket.on("error", () => {});
  socket.on("data", (chunk) => {
    text += chunk.toString("latin1");
  });
  socket.write(bytes);
  return { socket, text: () => text };
}

const answered = (text: string) => [...text.matchAll(/answer (\d+)/g)].map(([, name]) => name);

const large = () => begun.filter((name) => name === "large").length;

/** How many large answers were begun once no more are, while another connection is served. */
async function settledLarge(): Promise<number> {
  let before: number;
  do {
    before = large();
    const response = await fetch(`${plain.httpUrl}/toy/small/other`);
    expect(await response.text()).toBe("answer other");
  } while (large() > before);
  return before;
}

describe.each(EACH)("%s", (door) => {
  it("answers as many as may wait, and the one ahead of them, in their order, and goes on", async () => {
    const reader = open(door, smalls(WAITING_MAX + 1));
    await until(() => answered(reader.text()).length === WAITING_MAX + 1);
    expect(answered(reader.text())).toEqual(numbers(WAITING_MAX + 1));
    reader.socket.write(get("small/again"));
    await until(() => reader.text().includes("answer again"));
    reader.socket.destroy();
  });

  it("refuses one more, after the answers to those before it, and looks at nothing that follows", async () => {
    const reader = open(door, smalls(3 * WAITING_MAX));
    await once(reader.socket, "close");
    const text = reader.text();
    expect(answered(text)).toEqual(numbers(WAITING_MAX + 1));
    expect(begun).toHaveLength(WAITING_MAX + 1);
    expect(text.match(/HTTP\/1\.1 \d+/g)).toHaveLength(WAITING_MAX + 2);
    const [, refusal = ""] = text.split("HTTP/1.1 429");
    expect(refusal.toLowerCase()).toContain("connection: close");
    expect(refusal).toContain('"code":"resource_exhausted"');
    expect(refusal).toContain("read their answers, or open another");
  });

  it("makes no more requests of what a refused caller sends, and notices when it goes", async () => {
    let parsed = 0;
    const count = (message: unknown) => {
      const { request } = message as { request: IncomingMessage };
      if (/small\/\d/.test(request.url ?? "")) parsed++;
    };
    subscribe("http.server.request.start", count);
    const { socket } = open(door, get("held") + smalls(WAITING_MAX + 1));
    await until(() => parsed > WAITING_MAX);
    await settledLarge();
    const before = parsed;
    await new Promise((resolve) => socket.write(smalls(10 * WAITING_MAX), resolve));
    await settledLarge();
    expect(parsed).toBe(before);
    unsubscribe("http.server.request.start", count);
    socket.destroy();
    await until(() => begun.includes("gone"));
    expect(begun).not.toContain("0");
  });

  it("makes no answer before the one ahead of it has been taken", async () => {
    const { socket } = open(door, "");
    socket.pause();
    socket.write(get("large").repeat(WAITING_MAX));
    await until(() => begun.length > 0);
    // What the kernel takes on loopback is some MB.
    expect(await settledLarge()).toBeLessThan(WAITING_MAX / 4);
    // It is begun when there is room, and all of them come.
    let received = 0;
    socket.on("data", (chunk) => {
      received += chunk.length;
    });
    socket.resume();
    await until(() => received > WAITING_MAX * LARGE.length);
    expect(large()).toBe(WAITING_MAX);
    socket.destroy();
  });

  it("reads the body of a request that has waited", async () => {
    const body = JSON.stringify({ text: "y".repeat(300_000) });
    const reader = open(
      door,
      `${get("large")}POST /toy/echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}${get("small/last")}`,
    );
    await until(() => reader.text().includes("answer last"));
    expect(begun).toEqual(["large", "echo", "last"]);
    expect(reader.text()).toContain(body);
    reader.socket.destroy();
  });

  it("begins nothing for a caller that has gone", async () => {
    const { socket } = open(door, "");
    socket.pause();
    socket.write(get("large").repeat(WAITING_MAX));
    await until(() => begun.length > 0);
    socket.destroy();
    expect(await settledLarge()).toBeLessThan(WAITING_MAX / 4);
  });
});
