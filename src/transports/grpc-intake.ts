/**
 * What comes in over gRPC, looked at before grpc-js sees it: grpc-js holds a whole message before anybody can ask how
 * long it is or who sends it. A message's length stands in its first five bytes, and by those it is taken or refused.
 */
import type { IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import { constants } from "node:http2";
import { AuspexError } from "../domain/error.ts";
import { type ByteBudget, SMALL_BODY_BYTES } from "./byte-budget.ts";
import { grpcStatus } from "./grpc-status.ts";

export interface Intake {
  readonly budget: ByteBudget;
  /** Bytes of one message, inflated. */
  readonly maxBytes: number;
  /** Rejects for who may not send a large message there. */
  readonly authenticate: (path: string, authorization: string | undefined) => Promise<unknown>;
}

/** The one method of ours or the libraries' to which more than one message may be sent. */
const REFLECTION = /^\/grpc\.reflection\./;
/** Flag, and the length as 32 bits. */
const HEAD_BYTES = 5;
/** Deflate never makes more than 1,032 bytes of one. */
const INFLATED_PER_BYTE = 1_032;

/** Counts a call's message towards the budget from its head until the call is over. */
export function takeIn(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, intake: Intake): void {
  const path = String(headers[":path"]);
  const isReflection = REFLECTION.test(path);
  const head = Buffer.alloc(HEAD_BYTES);
  let headBytes = 0;
  let bodyBytes = 0;
  let messages = 0;
  let share = intake.budget.open();
  stream.once("close", () => share.close());

  const admit = (length: number, isCompressed: boolean): void => {
    messages++;
    const max = isReflection ? SMALL_BODY_BYTES : intake.maxBytes;
    if (length > max) {
      const message = `Received message larger than max (${length} vs ${max})`;
      throw new AuspexError("resource_exhausted", message);
    }
    if (messages > 1) {
      if (!isReflection) throw new AuspexError("invalid_argument", `${path} takes one message`);
      share.close();
      share = intake.budget.open();
    }
    // What it inflates to is known only when it has; until then it is what it may be at most.
    share.take(isCompressed ? length + Math.min(max, length * INFLATED_PER_BYTE) : length);
  };
  const askWhoSends = (): void => {
    stream.pause();
    intake.authenticate(path, headers.authorization).then(
      () => stream.resume(),
      (thrown: unknown) => refuse(stream, AuspexError.from(thrown)),
    );
  };
  stream.on("data", (chunk: Buffer) => {
    for (let at = 0; at < chunk.length && !stream.closed; ) {
      const wanted = bodyBytes > 0 ? bodyBytes : HEAD_BYTES - headBytes;
      const here = Math.min(wanted, chunk.length - at);
      if (bodyBytes > 0) {
        bodyBytes -= here;
      } else {
        chunk.copy(head, headBytes, at, at + here);
        headBytes = (headBytes + here) % HEAD_BYTES;
        if (here === wanted) {
          bodyBytes = head.readUInt32BE(1);
          try {
            admit(bodyBytes, head[0] === 1);
          } catch (thrown) {
            refuse(stream, AuspexError.from(thrown));
          }
          if (bodyBytes > SMALL_BODY_BYTES && !stream.closed) askWhoSends();
        }
      }
      at += here;
    }
  });
}

/** A "trailers-only" answer, after which the rest of the request is not wanted. */
export function refuse(stream: ServerHttp2Stream, error: AuspexError): void {
  if (stream.closed || stream.destroyed) return;
  if (!stream.headersSent) {
    const { code, details, metadata } = grpcStatus(error);
    const trailers = {
      ":status": 200,
      "content-type": "application/grpc+proto",
      "grpc-status": code,
      "grpc-message": encodeURI(details ?? ""),
      ...metadata?.toHttp2Headers(),
    };
    stream.respond(trailers, { endStream: true });
  }
  stream.close(constants.NGHTTP2_NO_ERROR);
}
