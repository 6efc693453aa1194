/** TLS on both listeners, with and without client certificates. */
import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import { Duplex } from "node:stream";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { generate } from "selfsigned";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PredictionService } from "../../gen/auspex/v1/prediction_pb.ts";
import { type Listeners, startListeners } from "./listeners.ts";
import { memoryServices } from "./memory-services.ts";

interface Pair {
  readonly cert: string;
  readonly key: string;
}

/** A certificate for 127.0.0.1, signed by the given authority or by itself. */
async function certificate(name: string, ca?: Pair): Promise<Pair> {
  const pems = await generate([{ name: "commonName", value: name }], {
    keyType: "ec",
    algorithm: "sha256",
    extensions: [
      { name: "basicConstraints", cA: ca === undefined },
      { name: "subjectAltName", altNames: [{ type: 7, ip: "127.0.0.1" }] },
    ],
    ...(ca ? { ca } : {}),
  });
  return { cert: pems.cert, key: pems.private };
}

let authority: Pair;
let serverPair: Pair;
let clientPair: Pair;
let stranger: Pair;
beforeAll(async () => {
  authority = await certificate("an authority");
  serverPair = await certificate("a server", authority);
  clientPair = await certificate("a client", authority);
  stranger = await certificate("a stranger");
});

function doors(listeners: Listeners, nodeOptions: { ca: string; cert?: string; key?: string }) {
  return [
    createGrpcTransport({ baseUrl: listeners.grpcUrl, nodeOptions }),
    createConnectTransport({ baseUrl: listeners.httpUrl, httpVersion: "1.1", nodeOptions }),
  ].map((transport) => createClient(PredictionService, transport));
}

function start(clientCa: boolean): Promise<Listeners> {
  return startListeners(memoryServices(), {
    tls: {
      cert: Buffer.from(serverPair.cert),
      key: Buffer.from(serverPair.key),
      clientCa: clientCa ? Buffer.from(authority.cert) : undefined,
    },
  });
}

describe("TLS", () => {
  let listeners: Listeners;
  beforeAll(async () => {
    listeners = await start(false);
  });
  afterAll(() => listeners[Symbol.asyncDispose]());

  it("serves both listeners to who trusts the certificate, and to nobody in the clear", async () => {
    for (const client of doors(listeners, { ca: authority.cert })) {
      expect((await client.createPrediction({ model: "a/b" })).prediction?.model).toBe("a/b");
    }
    for (const client of doors(listeners, { ca: stranger.cert })) {
      await expect(client.createPrediction({ model: "a/b" })).rejects.toThrow();
    }
    await expect(fetch(listeners.httpUrl.replace("https", "http"))).rejects.toThrow();
    const plain = connectHttp2(listeners.grpcUrl.replace("https", "http"));
    await once(plain, "close");
  });

  it("agrees on HTTP/1.1 on the HTTP port, even with who prefers HTTP/2", async () => {
    const socket = connectTls({
      port: listeners.http.port,
      host: "127.0.0.1",
      ca: authority.cert,
      ALPNProtocols: ["h2", "http/1.1"],
    });
    await once(socket, "secureConnect");
    expect(socket.alpnProtocol).toBe("http/1.1");
    socket.destroy();
  });
});

/** A connection whose records, from `hold` to `release`, go out in one packet. */
function recordsTogether(port: number, ca: string) {
  const plain = connect(port, "127.0.0.1");
  let held: Buffer[] | undefined;
  const wire = new Duplex({
    read: () => void plain.resume(),
    write(chunk: Buffer, _encoding, done) {
      if (held) held.push(chunk);
      else plain.write(chunk);
      done();
    },
  });
  plain.on("data", (chunk) => {
    if (!wire.push(chunk)) plain.pause();
  });
  const socket: TLSSocket = connectTls({ socket: wire, host: "127.0.0.1", ca });
  return {
    socket,
    hold(): void {
      held = [];
    },
    release(): void {
      plain.write(Buffer.concat(held ?? []));
      held = undefined;
    },
    [Symbol.dispose]: () => void plain.destroy(),
  };
}

it("takes a request in two records while the answer before it is on its way", async () => {
  const long = "m".repeat(8 * 1024 ** 2);
  const services = memoryServices({ getPrediction: async ({ id }) => ({ prediction: { id, model: long } }) });
  await using listeners = await startListeners(services, {
    tls: { cert: Buffer.from(serverPair.cert), key: Buffer.from(serverPair.key), clientCa: undefined },
  });
  using caller = recordsTogether(listeners.http.port, authority.cert);
  const { socket } = caller;
  const send = (part: string) => new Promise((done) => socket.write(part, done));
  const head = (body: string) =>
    "POST /auspex.v1.PredictionService/GetPrediction HTTP/1.1\r\nhost: localhost\r\n" +
    `content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`;
  const [first, second] = ['{"id":"a"}', '{"id":"b"}'];
  await send(head(first) + first);
  // The answer is longer than all buffers on its way: the server waits for who reads.
  await once(socket, "readable");
  caller.hold();
  await send(head(second));
  await send(second);
  caller.release();
  let text = "";
  for await (const chunk of socket) {
    text += String(chunk);
    if (text.length > 2 * long.length && text.endsWith('"}}')) break;
  }
  expect(text.match(/HTTP\/1.1 (\d+)/g)).toEqual(["HTTP/1.1 200", "HTTP/1.1 200"]);
});

describe("TLS with client certificates", () => {
  it("serves those that the authority signed, and nobody else", async () => {
    await using listeners = await start(true);
    for (const client of doors(listeners, { ca: authority.cert, ...clientPair })) {
      expect((await client.createPrediction({ model: "a/b" })).prediction?.model).toBe("a/b");
    }
    for (const identity of [{}, stranger]) {
      for (const client of doors(listeners, { ca: authority.cert, ...identity })) {
        await expect(client.createPrediction({ model: "a/b" })).rejects.toThrow();
      }
    }
  });
});

it("warns when others can listen in", async () => {
  await using open = await startListeners(memoryServices(), { settings: { HOST: "0.0.0.0", INSECURE: "1" } });
  expect(open.logged.map(({ msg }) => msg)).toEqual([
    "gRPC is served without TLS where others can listen in",
    "HTTP is served without TLS where others can listen in",
  ]);
  await using tls = await startListeners(memoryServices(), {
    settings: { HOST: "0.0.0.0", INSECURE: "1" },
    tls: { cert: Buffer.from(serverPair.cert), key: Buffer.from(serverPair.key), clientCa: undefined },
  });
  expect(tls.logged).toEqual([]);
});
