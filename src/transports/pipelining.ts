/**
 * Requests that come on one HTTP/1.1 connection before those ahead of them are answered (RFC 9112 §9.3.2). The answers
 * go out in their order whatever is done, and so each is begun when the one before it has been taken: a caller that never
 * reads leaves one answer to keep, not one for every request that it could send.
 */
import type { RequestListener, ServerResponse } from "node:http";
import type { Socket } from "node:net";

/**
 * Requests of one connection that wait for those ahead of them. Each is a parsed head, some 3 KB; clients that do this
 * at all have some ten under way.
 */
export const WAITING_MAX = 100;

interface Line {
  /** Of the request that came last. */
  last: ServerResponse;
  waiting: number;
  isRefused: boolean;
}

/** @param refuse ends the response to the first request too many; nothing that comes after it is looked at */
export function inTurn(serve: RequestListener, refuse: (response: ServerResponse) => void): RequestListener {
  const lines = new WeakMap<Socket, Line>();
  return (request, response) => {
    const { socket } = request;
    const line = lines.get(socket);
    if (line === undefined) {
      lines.set(socket, { last: response, waiting: 0, isRefused: false });
      serve(request, response);
      return;
    }
    if (line.isRefused) return;
    const before = line.last;
    line.last = response;
    if (before.writableFinished) {
      serve(request, response);
    } else if (line.waiting === WAITING_MAX) {
      line.isRefused = true;
      refuse(response);
      // In a turn of its own: the parser is at work on these bytes.
      setImmediate(throwAwayRest, socket);
    } else {
      line.waiting++;
      before.once("close", () => {
        line.waiting--;
        if (!socket.destroyed) serve(request, response);
      });
    }
  };
}

/** What comes is read still, for else nobody would notice that the caller goes, but no request is made of it. */
function throwAwayRest(socket: Socket): void {
  socket.removeAllListeners("data").on("data", () => {});
}
