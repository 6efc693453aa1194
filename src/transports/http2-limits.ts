/**
 * What one HTTP/2 connection may ask for. grpc-js makes its HTTP/2 servers itself and has an option for few of Node's,
 * so the rest is set where it keeps them.
 */

import { constants, type Http2Server, type ServerHttp2Session, type ServerOptions } from "node:http2";
import type { Server } from "@grpc/grpc-js";
import type { Config } from "../config.ts";

/** Header fields of one call: gRPC needs ten, and callers' metadata is a handful. Node's own default. */
const HEADER_FIELDS_MAX = 128;
/** Calls that a client cancels: so many at once, so many a second from then on (a rapid reset cancels 10,000). */
const RESET_BURST = 1_000;
const RESETS_PER_S = 100;
/** Frames that break the protocol: a client that sends more than a few is no client. */
const INVALID_FRAMES_MAX = 32;
/** Calls above MAX_STREAMS that a connection tries all the same. */
const REJECTED_STREAMS_MAX = 128;
/**
 * PING and SETTINGS frames, which we must answer: so many at once, and so many a second from then on. Clients that
 * measure the line ping once for an answer at most, so every call adds one.
 */
const CONTROL_BURST = 2_000;
const CONTROL_PER_S = 200;

/**
 * What a client may send on one connection before it hears from us, all calls together. HTTP/2's own 64 KiB are a quarter
 * of a picture: 16 that come at once then come in crumbs, 10.6 turns of the event loop and 4.9 answers for each instead of
 * 4.9 and 2.7. Nothing more is held for it: Node takes everything off the connection as it comes, and what waits is
 * bounded by the window of each call, which stays at 64 KiB.
 */
const CONNECTION_WINDOW_BYTES = 1024 * 1024;

/** To be set before the server binds a port. */
export function limitSessions(server: Server, config: Config): void {
  const options = optionsOf(server);
  options.settings = {
    ...options.settings,
    maxConcurrentStreams: config.MAX_STREAMS,
    // Holds from when the client has acknowledged it; `headerBytes` is for those that do not.
    maxHeaderListSize: config.MAX_HEADER_BYTES,
    enablePush: false,
  };
  options.maxHeaderListPairs = HEADER_FIELDS_MAX;
  options.streamResetBurst = RESET_BURST;
  options.streamResetRate = RESETS_PER_S;
  options.maxSessionInvalidFrames = INVALID_FRAMES_MAX;
  options.maxSessionRejectedStreams = REJECTED_STREAMS_MAX;
}

/** The HTTP/2 servers behind the bound ports. */
export function http2ServersOf(server: Server): readonly Http2Server[] {
  // biome-ignore lint/complexity/useLiteralKeys: the way to a private member that the compiler still checks
  const servers: Map<Http2Server, unknown> = server["http2Servers"];
  return [...servers.keys()];
}

/**
 * What a call's headers take unpacked, as MAX_HEADER_LIST_SIZE counts (RFC 9113 §6.5.2).
 *
 * @param raw names and values in turn
 */
export function headerBytes(raw: readonly string[]): number {
  let bytes = 16 * raw.length;
  for (const text of raw) bytes += text.length;
  return bytes;
}

/** To be called for each connection when it opens. */
export function widenWindow(session: ServerHttp2Session): void {
  session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
}

/** Sends a client away that keeps us busy with answering frames that are no calls. */
export function limitControlFrames(session: ServerHttp2Session): void {
  let left = CONTROL_BURST;
  let refilledAt = performance.now();
  const count = () => {
    left -= 1;
    if (left > 0) return;
    const now = performance.now();
    left = Math.min(CONTROL_BURST, left + ((now - refilledAt) * CONTROL_PER_S) / 1000);
    refilledAt = now;
    if (left <= 0 && !session.destroyed) sendAway(session);
  };
  session.on("ping", count);
  session.on("remoteSettings", count);
  session.on("stream", () => {
    left = Math.min(CONTROL_BURST, left + 1);
  });
}

function sendAway(session: ServerHttp2Session): void {
  session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM, 0, Buffer.from("too many control frames"));
  // Its calls end with the connection; what it goes on sending is not read.
  session.destroy(undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM);
}

function optionsOf(server: Server): ServerOptions {
  // biome-ignore lint/complexity/useLiteralKeys: the way to a private member that the compiler still checks
  return server["commonServerOptions"];
}
