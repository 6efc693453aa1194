/** The bodies of a dialect's requests, counted towards the budget before they are read. */
import { type Readable, Transform } from "node:stream";
import type { FastifyInstance } from "fastify";
import type { ByteBudget, ByteShare } from "./byte-budget.ts";

/**
 * A body that says its length takes that much before its first byte is read, another one as it grows. What finds no
 * room is refused through the scope's own error handler, and the rest of it is thrown away unread.
 */
export function countBodies(scope: FastifyInstance, budget: ByteBudget): void {
  scope.addHook("preParsing", (request, reply, payload, done) => {
    const declared = request.headers["content-length"];
    const isChunked = request.headers["transfer-encoding"] !== undefined;
    // What is longer than allowed is refused by its length alone, in the scope's own words.
    if (!isChunked && !(Number(declared) > 0 && Number(declared) <= request.routeOptions.bodyLimit)) {
      done(null, payload);
      return;
    }
    const share = budget.open();
    reply.raw.once("close", share.close);
    if (isChunked) {
      const counted = payload.pipe(counting(share, refuse));
      payload.once("error", (error) => counted.destroy(error));
      done(null, counted);
      return;
    }
    try {
      share.take(Number(declared));
    } catch (refusal) {
      done(refusal as Error);
      return;
    }
    done(null, payload);
    // Behind the reader, which has begun by now.
    if (payload.listenerCount("data") > 0) payload.on("data", countPiece);

    function countPiece(chunk: Buffer): void {
      try {
        share.takePiece(chunk.length);
      } catch (refusal) {
        throwAway(payload);
        reply.send(refusal);
      }
    }

    function refuse(this: Transform, refusal: Error): void {
      payload.unpipe(this);
      payload.resume();
      // Its reader's listeners, and with them what has been read, would be kept until the caller closes.
      this.removeAllListeners();
      this.destroy();
      // An error of the stream would be made a 400 of Fastify's.
      reply.send(refusal);
    }
  });
}

/** What its reader has of it is let go of, and the rest is not kept; where it ends is looked for all the same. */
function throwAway(payload: Readable): void {
  for (const event of ["data", "end", "error"]) payload.removeAllListeners(event);
  payload.on("error", () => {}).resume();
}

/** Passes bytes on while there is room for them; after the refusal it neither ends nor fails. */
function counting(share: ByteShare, refuse: (this: Transform, refusal: Error) => void): Transform {
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      try {
        share.take(chunk.length);
        share.takePiece(chunk.length);
      } catch (refusal) {
        refuse.call(this, refusal as Error);
        return;
      }
      done(null, chunk);
    },
  });
}
