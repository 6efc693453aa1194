/** An HTTP/2 client that sends whatever frames it is told to, right or wrong (RFC 9113 §4, RFC 7541). */
import { once } from "node:events";
import { connect, type Socket } from "node:net";

export const FRAME = {
  data: 0x0,
  headers: 0x1,
  reset: 0x3,
  settings: 0x4,
  ping: 0x6,
  goAway: 0x7,
  windowUpdate: 0x8,
  continuation: 0x9,
} as const;
export const FLAG = { endStream: 0x1, ack: 0x1, endHeaders: 0x4 } as const;
export const SETTING = { headerTableSize: 0x1, initialWindow: 0x4 } as const;
/** Error code that tells a client to calm down. */
export const CALM_DOWN = 0xb;

const PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEAD_BYTES = 9;

export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array = Buffer.alloc(0),
): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

export type Setting = readonly [id: number, value: number];

export function settings(...pairs: readonly Setting[]): Buffer {
  const payload = Buffer.alloc(6 * pairs.length);
  pairs.forEach(([id, value], index) => {
    payload.writeUInt16BE(id, 6 * index);
    payload.writeUInt32BE(value, 6 * index + 2);
  });
  return frame(FRAME.settings, 0, 0, payload);
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** An integer of HPACK in what the prefix leaves of its first byte. */
function integer(value: number, prefixBits: number, first: number): Buffer {
  const max = 2 ** prefixBits - 1;
  if (value < max) return Buffer.from([first | value]);
  const bytes = [first | max];
  let rest = value - max;
  for (; rest >= 128; rest = rest >> 7) bytes.push((rest & 127) | 128);
  return Buffer.from([...bytes, rest]);
}

function literal(text: string): Buffer {
  const bytes = Buffer.from(text, "latin1");
  return Buffer.concat([integer(bytes.length, 7, 0), bytes]);
}

/** A field in plain text; `indexed` puts it into the other side's table, as number 62 when it is the last. */
export function field(name: string, value: string, indexed = false): Buffer {
  return Buffer.concat([Buffer.from([indexed ? 0x40 : 0]), literal(name), literal(value)]);
}

/** A reference to a field in the table: one byte that stands for the whole of it. */
export const indexedField = (index: number): Buffer => integer(index, 7, 0x80);

/** Header block of a gRPC call. */
export function grpcHeaders(path: string, ...more: readonly Buffer[]): Buffer {
  return Buffer.concat([
    field(":method", "POST"),
    field(":scheme", "http"),
    field(":path", path),
    field(":authority", "localhost"),
    field("content-type", "application/grpc"),
    field("te", "trailers"),
    ...more,
  ]);
}

/** A message as gRPC frames it; `compressed` sets its flag. */
export function grpcMessage(bytes: Uint8Array, compressed = false): Buffer {
  return Buffer.concat([Buffer.from([compressed ? 1 : 0]), uint32(bytes.length), bytes]);
}

/** A whole unary call in two frames. */
export function grpcCall(stream: number, path: string, message: Uint8Array): Buffer {
  return Buffer.concat([
    frame(FRAME.headers, FLAG.endHeaders, stream, grpcHeaders(path)),
    frame(FRAME.data, FLAG.endStream, stream, grpcMessage(message)),
  ]);
}

export interface ReceivedFrame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

export interface RawClient {
  readonly socket: Socket;
  /** All that came so far but DATA, of which the bytes are counted. */
  readonly frames: readonly ReceivedFrame[];
  readonly dataBytes: number;
  /** Writes, and waits until the other side has taken it or the connection is gone. */
  send(bytes: Uint8Array): Promise<void>;
  /** Resolves when the connection is gone. */
  readonly closed: Promise<void>;
}

/** Connects and says the preface with these settings. */
export async function openHttp2(port: number, ...pairs: readonly Setting[]): Promise<RawClient> {
  const socket = connect(port, "127.0.0.1");
  const frames: ReceivedFrame[] = [];
  let dataBytes = 0;
  let rest: Buffer = Buffer.alloc(0);
  // One that is sent away in the middle of a write sees a reset.
  socket.on("error", () => {});
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  socket.on("data", (chunk) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    while (rest.length >= HEAD_BYTES && rest.length >= HEAD_BYTES + rest.readUIntBE(0, 3)) {
      const end = HEAD_BYTES + rest.readUIntBE(0, 3);
      const type = rest.readUInt8(3);
      const payload = rest.subarray(HEAD_BYTES, end);
      if (type === FRAME.data) dataBytes += payload.length;
      else frames.push({ type, flags: rest.readUInt8(4), stream: rest.readUInt32BE(5), payload });
      rest = rest.subarray(end);
    }
  });
  await once(socket, "connect");
  const client = {
    socket,
    frames,
    get dataBytes() {
      return dataBytes;
    },
    closed,
    async send(bytes: Uint8Array) {
      if (socket.destroyed) return;
      if (!socket.write(bytes)) await Promise.race([once(socket, "drain").catch(() => {}), closed]);
    },
  };
  await client.send(Buffer.concat([Buffer.from(PREFACE), settings(...pairs)]));
  return client;
}

/** The error code of the GOAWAY that came; undefined for none. */
export function goAwayCode({ frames }: RawClient): number | undefined {
  return frames.find(({ type }) => type === FRAME.goAway)?.payload.readUInt32BE(4);
}
