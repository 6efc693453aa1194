/** What one connection over HTTP/1.1 may keep: answers that its caller does not take are not held for ever. */
import type { Server } from "node:http";
import type { Socket } from "node:net";
import type { Config } from "../config.ts";

interface Progress {
  /** Bytes that wait for the caller, and since when it has taken none of them. */
  pending: number;
  since: number;
}

/** Connections are looked at this often, or twice in the timeout where that is more often. */
const CHECK_MS = 2_000;

export function guardSockets(server: Server, { ANSWER_TIMEOUT, MAX_CONNECTIONS, tls }: Config): Server {
  const sockets = new Map<Socket, Progress>();
  server.maxConnections = MAX_CONNECTIONS;
  // Under TLS it is the inner socket that answers wait in.
  server.on(tls ? "secureConnection" : "connection", (socket: Socket) => {
    sockets.set(socket, { pending: 0, since: 0 });
    socket.once("close", () => sockets.delete(socket));
  });
  const check = () => {
    const now = performance.now();
    for (const [socket, progress] of sockets) {
      const pending = socket.writableLength;
      if (pending === 0 || pending !== progress.pending) {
        progress.pending = pending;
        progress.since = now;
      } else if (now - progress.since > ANSWER_TIMEOUT) {
        socket.destroy();
      }
    }
  };
  spareTakers(server, sockets);
  const timer = setInterval(check, Math.min(CHECK_MS, ANSWER_TIMEOUT / 2));
  timer.unref();
  server.on("close", () => clearInterval(timer));
  return server;
}

/**
 * Node takes a connection for idle once it has been given the whole of an answer. One whose caller has yet to take it is spared
 * here: when the server stops, long answers would be cut else.
 */
function spareTakers(server: Server, sockets: ReadonlyMap<Socket, unknown>): void {
  const closeIdle = server.closeIdleConnections;
  server.closeIdleConnections = () => {
    const takers = [...sockets.keys()].filter(({ writableLength }) => writableLength > 0);
    // Node does not say which it closes; for as long as it looks for them, these cannot be.
    for (const socket of takers) socket.destroy = () => socket;
    closeIdle.call(server);
    for (const socket of takers) Reflect.deleteProperty(socket, "destroy");
  };
}
