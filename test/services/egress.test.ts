import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { generate } from "selfsigned";
import { afterEach, describe, expect, test } from "vitest";
import type { AuspexError, ErrorCode } from "../../src/domain/error.ts";
import {
  createEgress,
  type EgressOptions,
  type EgressRequest,
  type OpenEgress,
} from "../../src/services/egress.ts";
import { type HttpListener, listen } from "./http-listener.ts";

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

function open(options: EgressOptions): OpenEgress {
  const egress = createEgress(options);
  closers.push(() => egress.close());
  return egress;
}

async function listener(...args: Parameters<typeof listen>): Promise<HttpListener> {
  const started = await listen(...args);
  closers.push(() => started[Symbol.asyncDispose]());
  return started;
}

/** Every address that this process begins to connect to, from here on. */
function watchConnecting(): readonly string[] {
  const addresses: string[] = [];
  const onSocket = (message: unknown) => {
    const { socket } = message as { socket: Socket };
    socket.on("connectionAttempt", (address) => addresses.push(address));
  };
  subscribe("net.client.socket", onSocket);
  closers.push(async () => unsubscribe("net.client.socket", onSocket));
  return addresses;
}

function get(url: string, rest: Partial<EgressRequest> = {}): EgressRequest {
  return {
    url,
    method: "GET",
    headers: {},
    maxBytes: 1000,
    overflow: "fail",
    timeoutMs: 10_000,
    signal: new AbortController().signal,
    ...rest,
  };
}

async function failure(promise: Promise<unknown>): Promise<AuspexError> {
  return promise.then(
    () => {
      throw new Error("it should have failed");
    },
    (error: AuspexError) => error,
  );
}

async function failureCode(promise: Promise<unknown>): Promise<ErrorCode> {
  return (await failure(promise)).code;
}

describe("F15 nothing is sent to an address that is not allowed", () => {
  test.each([
    ["loopback", "http://127.0.0.1:PORT/"],
    ["loopback, IPv6", "http://[::1]:PORT/"],
    ["decimal", "http://2130706433:PORT/"],
    ["octal", "http://0177.0.0.1:PORT/"],
    ["hexadecimal", "http://0x7f000001:PORT/"],
    ["two parts", "http://127.1:PORT/"],
    ["full-width digits", "http://１２７.0.0.1:PORT/"],
    ["unspecified", "http://0.0.0.0:PORT/"],
    ["unspecified, short", "http://0:PORT/"],
    ["mapped", "http://[::ffff:7f00:1]:PORT/"],
    ["mapped, dotted", "http://[::ffff:127.0.0.1]:PORT/"],
    ["compatible", "http://[::127.0.0.1]:PORT/"],
    ["cloud metadata", "http://169.254.169.254/latest/meta-data/"],
    ["private", "http://10.0.0.1/"],
    ["private over TLS", "https://192.168.0.1/"],
    ["file", "file:///etc/passwd"],
    ["gopher", "gopher://127.0.0.1:PORT/_x"],
    ["ftp", "ftp://example.com/"],
    ["credentials", "http://user:secret@example.com/"],
    ["a user name alone", "http://user@example.com/"],
    ["no URL", "example.com/x"],
    ["no host", "http://"],
  ])("F15 %s: refused by check and by fetch", async (_name, template) => {
    const traps = await Promise.all([listener(), listener(undefined, { host: "::1" })]);
    const attempts = watchConnecting();
    const egress = open({ allow: [] });
    for (const trap of traps) {
      const url = template.replace("PORT", String(trap.port));
      expect(() => egress.check(url)).toThrowError(expect.objectContaining({ code: "invalid_argument" }));
      expect(await failureCode(egress.fetch(get(url)))).toBe("invalid_argument");
      expect(trap.connections()).toBe(0);
    }
    expect(attempts).toEqual([]);
  });

  test("F15 a name that resolves to such an address passes check and is refused when connecting", async () => {
    const trap = await listener();
    const attempts = watchConnecting();
    const egress = open({ allow: [] });
    const url = `http://localhost:${trap.port}/`;
    egress.check(url);
    const error = await failure(egress.fetch(get(url)));
    expect(error.code).toBe("invalid_argument");
    expect(error.message).toBe("localhost is not a public address, and this server does not allow it");
    expect(trap.connections()).toBe(0);
    expect(attempts).toEqual([]);
  });

  test("F15 DNS rebinding: what was checked is what is connected to, at every connection anew", async () => {
    const trap = await listener();
    const honest = await listener((response) => response.setHeader("connection", "close").end("ok"), {
      host: "127.0.0.2",
      port: trap.port,
    });
    const attempts = watchConnecting();
    const answers = [["127.0.0.2"], ["127.0.0.1"], ["127.0.0.2"]];
    let lookups = 0;
    const egress = open({
      allow: ["127.0.0.2/32"],
      lookup: async () => answers[lookups++] ?? [],
    });
    const url = `http://rebinding.example:${trap.port}/`;
    expect((await egress.fetch(get(url))).status).toBe(200);
    expect(await failureCode(egress.fetch(get(url)))).toBe("invalid_argument");
    expect((await egress.fetch(get(url))).status).toBe(200);
    expect(lookups).toBe(3);
    expect(attempts).toEqual(["127.0.0.2", "127.0.0.2"]);
    expect(honest.received).toHaveLength(2);
    expect(trap.connections()).toBe(0);
  });

  test("F15 of a name's addresses only the allowed ones are tried", async () => {
    const target = await listener((response) => response.end("ok"));
    const attempts = watchConnecting();
    const egress = open({
      allow: ["127.0.0.1"],
      lookup: async () => ["10.0.0.1", "::ffff:10.0.0.1", "169.254.169.254", "127.0.0.1"],
    });
    expect((await egress.fetch(get(`http://mixed.example:${target.port}/`))).status).toBe(200);
    expect(attempts).toEqual(["127.0.0.1"]);
  });

  test("F15 a redirect to a private address is handed back, not followed", async () => {
    const trap = await listener();
    const target = await listener(
      (response) => {
        response.writeHead(302, { location: `http://127.0.0.1:${trap.port}/` }).end();
      },
      { host: "127.0.0.2" },
    );
    const answer = await open({ allow: ["127.0.0.2"] }).fetch(get(target.origin));
    expect(answer.status).toBe(302);
    expect(answer.headers.location).toBe(`http://127.0.0.1:${trap.port}/`);
    expect(trap.connections()).toBe(0);
  });

  test("F15 an allowed port opens no other one", async () => {
    const trap = await listener();
    const target = await listener();
    const egress = open({ allow: [`127.0.0.1:${target.port}`] });
    expect((await egress.fetch(get(target.origin))).status).toBe(200);
    expect(await failureCode(egress.fetch(get(trap.origin)))).toBe("invalid_argument");
    expect(await failureCode(egress.fetch(get(`http://localhost:${trap.port}`)))).toBe("invalid_argument");
    expect(trap.connections()).toBe(0);
  });
});

describe("an exchange", () => {
  test("sends method, headers and body, and asks for no compression", async () => {
    const target = await listener((response) => {
      response.writeHead(201, { "x-answer": "yes", "set-cookie": ["a=1", "b=2"] }).end("done");
    });
    const egress = open({ allow: ["127.0.0.1"] });
    const answer = await egress.fetch(
      get(`${target.origin}/hook?x=%20y`, {
        method: "POST",
        headers: { "content-type": "application/json", "accept-encoding": "gzip" },
        body: '{"ä":1}',
      }),
    );
    expect(answer.status).toBe(201);
    expect(answer.headers["x-answer"]).toBe("yes");
    expect(Buffer.from(answer.body).toString()).toBe("done");
    const [got] = target.received;
    expect(got).toMatchObject({ method: "POST", path: "/hook?x=%20y", body: '{"ä":1}' });
    expect(got?.headers["accept-encoding"]).toBe("identity");
    expect(got?.headers["user-agent"]).toMatch(/^auspex\/\d+\.\d+\.\d+/);
    for (let i = 0; i < 9; i += 1) await egress.fetch(get(target.origin));
    expect(target.received.map(({ headers }) => headers.cookie)).toEqual(Array(10).fill(undefined));
    expect(target.connections()).toBeLessThan(10);
  });

  test("URLs of 2048 characters are taken, longer ones refused", async () => {
    const target = await listener();
    const egress = open({ allow: ["127.0.0.1"] });
    const url = `${target.origin}/`.padEnd(2048, "x");
    expect((await egress.fetch(get(url))).status).toBe(200);
    expect(() => egress.check(url)).not.toThrow();
    expect(() => egress.check(`${url}x`)).toThrowError("at most 2048 characters");
    expect(await failureCode(egress.fetch(get(`${url}x`)))).toBe("invalid_argument");
    expect(target.received).toHaveLength(1);
  });

  describe.each([true, false])("a response body, length announced: %s", (announced) => {
    const answerWith = (body: string) =>
      listener((response) => {
        if (announced) response.setHeader("content-length", body.length);
        else response.flushHeaders();
        response.end(body);
      });

    test("as long as the limit arrives whole", async () => {
      const target = await answerWith("x".repeat(1000));
      const egress = open({ allow: ["127.0.0.1"] });
      for (const overflow of ["fail", "truncate"] as const) {
        expect((await egress.fetch(get(target.origin, { overflow }))).body).toHaveLength(1000);
      }
    });

    test("longer by one byte fails or is cut, as asked", async () => {
      const target = await answerWith("x".repeat(1001));
      const egress = open({ allow: ["127.0.0.1"] });
      const error = await failure(egress.fetch(get(target.origin, { overflow: "fail" })));
      expect(error.code).toBe("resource_exhausted");
      expect(error.message).toMatch(/more than 1000 bytes$/);
      expect((await egress.fetch(get(target.origin, { overflow: "truncate" }))).body).toHaveLength(1000);
    });
  });

  test("F13 a 1 GiB response is left after its first bytes", async () => {
    let sent = 0;
    let ended = false;
    const target = await listener((response) => {
      const chunk = Buffer.alloc(64 * 1024);
      const pump = () => {
        while (!response.destroyed && sent < 2 ** 30) {
          sent += chunk.length;
          if (!response.write(chunk)) return void response.once("drain", pump);
        }
        response.end();
      };
      response.on("close", () => {
        ended = true;
      });
      pump();
    });
    const answer = await open({ allow: ["127.0.0.1"] }).fetch(
      get(target.origin, { overflow: "truncate", maxBytes: 64 * 1024 }),
    );
    expect(answer.body).toHaveLength(64 * 1024);
    await expect.poll(() => ended).toBe(true);
    // What the sockets' buffers on both sides hold, and no more.
    expect(sent).toBeLessThan(32 * 2 ** 20);
  });

  test("too many response headers are refused", async () => {
    const target = await listener((response) => {
      response.writeHead(200, { "x-long": "x".repeat(20_000) }).end();
    });
    const error = await failure(open({ allow: ["127.0.0.1"] }).fetch(get(target.origin)));
    expect(error.code).toBe("resource_exhausted");
    expect(error.message).toMatch(/16384 bytes of headers/);
  });

  test("F13 slowloris: headers or body that trickle are cut at the timeout", async () => {
    const drips: NodeJS.Timeout[] = [];
    const target = await listener((response, { path }) => {
      if (path === "/body") response.writeHead(200);
      drips.push(setInterval(() => (path === "/body" ? response.write("x") : undefined), 20));
    });
    closers.push(async () => {
      for (const drip of drips) clearInterval(drip);
    });
    const egress = open({ allow: ["127.0.0.1"] });
    for (const path of ["/headers", "/body"]) {
      const error = await failure(egress.fetch(get(target.origin + path, { timeoutMs: 200 })));
      expect(error.code).toBe("deadline_exceeded");
      expect(error.message).toMatch(/did not answer in full within 200 ms$/);
    }
  });

  test("the timeout also ends a lookup that never answers", async () => {
    const egress = open({ allow: [], lookup: () => new Promise(() => {}) });
    expect(await failureCode(egress.fetch(get("http://silent.example/", { timeoutMs: 50 })))).toBe(
      "deadline_exceeded",
    );
  });

  test("the signal ends it, before and during", async () => {
    const target = await listener(() => {});
    const egress = open({ allow: ["127.0.0.1"] });
    const caller = new AbortController();
    const running = failureCode(egress.fetch(get(target.origin, { signal: caller.signal })));
    await expect.poll(() => target.received.length).toBe(1);
    caller.abort();
    expect(await running).toBe("canceled");
    expect(await failureCode(egress.fetch(get(target.origin, { signal: caller.signal })))).toBe("canceled");
    expect(target.received).toHaveLength(1);
  });

  test("nobody there, no such name, a cut answer: unavailable", async () => {
    const gone = await listen();
    await gone[Symbol.asyncDispose]();
    const cutting = await listener((response) => {
      response.writeHead(200, { "content-length": 100 });
      response.write("x", () => response.destroy());
    });
    const egress = open({
      allow: ["127.0.0.1"],
      lookup: async () => {
        throw Object.assign(new Error("no such name"), { code: "ENOTFOUND" });
      },
    });
    const refused = await failure(egress.fetch(get(gone.origin)));
    expect(refused.code).toBe("unavailable");
    expect(refused.message).toMatch(/ECONNREFUSED$/);
    expect((await failure(egress.fetch(get("http://nowhere.example")))).message).toMatch(/ENOTFOUND$/);
    expect(await failureCode(egress.fetch(get(cutting.origin)))).toBe("unavailable");
  });

  test("a certificate that nobody vouches for: unavailable", async () => {
    const { cert, private: key } = await generate([{ name: "commonName", value: "localhost" }]);
    const server = createTlsServer({ cert, key }, (_request, response) => response.end());
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    closers.push(() => new Promise((resolve) => server.close(resolve)));
    const { port } = server.address() as AddressInfo;
    const error = await failure(open({ allow: ["127.0.0.1"] }).fetch(get(`https://127.0.0.1:${port}/`)));
    expect(error.code).toBe("unavailable");
    expect(error.message).toMatch(/SELF_SIGNED/);
  });

  test("closing breaks off what is running", async () => {
    const target = await listener(() => {});
    const egress = open({ allow: ["127.0.0.1"] });
    const running = failureCode(egress.fetch(get(target.origin)));
    await expect.poll(() => target.received.length).toBe(1);
    await egress.close();
    expect(await running).toBe("unavailable");
  });
});
