/**
 * The server that the suite tests, started by it once for each set of properties: told by a message on stdin, it answers
 * with its address on stdout. The listeners are the server's own.
 */
import { buffer } from "node:stream/consumers";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { startListeners } from "../../test/transports/listeners.ts";
import { memoryServices } from "../../test/transports/memory-services.ts";
import { messageType } from "./messages.ts";

/** Of the suite's `Protocol`. */
const GRPC = 2;
const HEAD_BYTES = 4;

interface Asked {
  readonly protocol: number;
  readonly useTls: boolean;
  readonly clientTlsCert: Uint8Array;
  readonly messageReceiveLimit: number;
  readonly serverCreds?: { readonly cert: Uint8Array; readonly key: Uint8Array };
}

const given = await buffer(process.stdin);
const asked = fromBinary(messageType("ServerCompatRequest"), given.subarray(HEAD_BYTES)) as unknown as Asked;
const { protocol, useTls, clientTlsCert, messageReceiveLimit, serverCreds } = asked;
const settings: Record<string, string> = {};
if (messageReceiveLimit > 0) settings.MAX_BODY_BYTES = String(messageReceiveLimit);
const tls = useTls &&
  serverCreds && {
    cert: Buffer.from(serverCreds.cert),
    key: Buffer.from(serverCreds.key),
    clientCa: clientTlsCert.length > 0 ? Buffer.from(clientTlsCert) : undefined,
  };
// Every call comes with a principal of a name: who has none may send little.
const services = { ...memoryServices(), authenticate: async () => ({ name: "suite", open: false }) };
const listeners = await startListeners(services, { settings, ...(tls ? { tls } : {}) });
const Answer = messageType("ServerCompatResponse");
const answer = toBinary(
  Answer,
  create(Answer, {
    host: "127.0.0.1",
    port: (protocol === GRPC ? listeners.grpc : listeners.http).port,
    ...(tls ? { pemCert: tls.cert } : {}),
  } as MessageInitShape<typeof Answer>),
);
const head = Buffer.alloc(HEAD_BYTES);
head.writeUInt32BE(answer.length);
process.stdout.write(Buffer.concat([head, answer]));
process.once("SIGTERM", async () => {
  await listeners[Symbol.asyncDispose]();
  process.exit();
});
