/**
 * What comes in over gRPC, looked at before grpc-js keeps it: grpc-js holds a whole message before anybody can ask how
 * long it is or who sends it. A message's length stands in its first five bytes, and by those it is taken or refused.
 */
import type { IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import type { ServerInterceptingCall, ServerInterceptor } from "@grpc/grpc-js";
import { AuspexError } from "../domain/error.ts";
import { type ByteBudget, SMALL_BODY_BYTES } from "./byte-budget.ts";
import { formRefusal, mayBePacked } from "./grpc-form.ts";
import { grpcStatus } from "./grpc-status.ts";

export interface IntakeOptions {
  readonly budget: ByteBudget;
  /** Bytes of one message, inflated. */
  readonly maxBytes: number;
  /** Rejects for who may not send a message of so many bytes, more than a small one, there. */
  readonly admit: (bytes: number, path: string, authorization: string | undefined) => Promise<void>;
}

export interface Arrival {
  /**
   * Answers the call, unless it has been. What is still sent for it is thrown away: to reset the stream would be less
   * work, but Node's own client never gets another call through on that connection.
   */
  refuse(error: AuspexError): void;
  /** The call is over, and nothing of its message is held any more. */
  close(): void;
}

export interface Intake {
  /** Has to be the server's only one: it tells which call of grpc-js belongs to the stream that just came. */
  readonly interceptor: ServerInterceptor;
  /**
   * Counts a call's message towards the budget from its head until the call is closed. To be called for each stream
   * right before grpc-js sees it.
   */
  take(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): Arrival;
}

type GrpcJsCall = Parameters<ServerInterceptor>[1];

/** The one method of ours or the libraries' to which more than one message may be sent. */
const REFLECTION = /^\/grpc\.reflection\./;
/** Flag, and the length as 32 bits. */
const HEAD_BYTES = 5;
/** Deflate never makes more than 1,032 bytes of one. */
const INFLATED_PER_BYTE = 1_032;

export function createIntake(options: IntakeOptions): Intake {
  let latest: LinkedArrival | undefined;
  return {
    interceptor(_method, call) {
      latest?.link(call);
      latest = undefined;
      // grpc-js asks for no more than the interface that this is of; a wrapper would cost every call.
      return call as ServerInterceptingCall;
    },
    take(stream, headers) {
      const arrival = new LinkedArrival();
      latest = arrival;
      const wrong = formRefusal(headers);
      if (wrong) arrival.refuse(wrong);
      const closeShare = countMessages(stream, headers, arrival, options);
      return {
        refuse: (error) => arrival.refuse(error),
        close() {
          closeShare();
          arrival.letGo();
        },
      };
    },
  };
}

/** A call from its stream's headers on, of which grpc-js then makes one of its own. */
class LinkedArrival {
  #call: GrpcJsCall | undefined;
  #refused: AuspexError | undefined;

  /** Whether what is sent for it is kept by grpc-js: it has no call for an unknown method. */
  get isTaken(): boolean {
    return this.#call !== undefined && this.#refused === undefined;
  }

  link(call: GrpcJsCall): void {
    this.#call = call;
    if (this.#refused) call.sendStatus(grpcStatus(this.#refused));
  }

  refuse(error: AuspexError): void {
    if (this.#refused) return;
    this.#refused = error;
    this.#call?.sendStatus(grpcStatus(error));
  }

  /** V8 keeps a closed stream and what its listeners speak of for a while; this is not to keep the call as well. */
  letGo(): void {
    this.#call = undefined;
  }
}

/** Answers what gives back the message's share of the budget. */
function countMessages(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  arrival: LinkedArrival,
  { budget, maxBytes, admit }: IntakeOptions,
): () => void {
  const path = String(headers[":path"]);
  const isReflection = REFLECTION.test(path);
  const max = isReflection ? SMALL_BODY_BYTES : maxBytes;
  let headBytes = 0;
  let isCompressed = false;
  let length = 0;
  let bodyBytes = 0;
  /** What the message that comes may become beside its own bytes. */
  let inflatedBytes = 0;
  let messages = 0;
  let share = budget.open();

  const begin = (): void => {
    messages++;
    if (isCompressed && !mayBePacked(headers)) {
      // As gRPC has it, though it is the caller's fault.
      throw new AuspexError("internal", "a message is packed, and grpc-encoding does not say how");
    }
    if (length > max) {
      throw new AuspexError(
        "resource_exhausted",
        `the message has ${length} bytes; at most ${max} are allowed`,
      );
    }
    if (messages > 1) {
      // The code that gRPC has for it.
      if (!isReflection) throw new AuspexError("unimplemented", `${path} takes one message`);
      share.close();
      share = budget.open();
    }
    share.take(length);
    inflatedBytes = isCompressed ? Math.min(max, length * INFLATED_PER_BYTE) : 0;
    if (length > SMALL_BODY_BYTES) askWhoSends();
  };
  /**
   * It is inflated once all of it is there, and so that much is not held for one that comes slowly. What it inflates to
   * is known only when it has; until then it is what it may be at most.
   */
  const end = (): void => {
    if (inflatedBytes > 0) share.take(inflatedBytes);
    inflatedBytes = 0;
  };
  const askWhoSends = (): void => {
    stream.pause();
    admit(length, path, headers.authorization)
      .catch(refuse)
      .finally(() => stream.resume());
  };
  const refuse = (thrown: unknown): void => {
    // Nothing of it is kept, and its sender may leave the stream open.
    share.close();
    arrival.refuse(AuspexError.from(thrown));
  };
  stream.on("data", (chunk: Buffer) => {
    if (!arrival.isTaken) return;
    try {
      share.takePiece(chunk.length);
    } catch (thrown) {
      refuse(thrown);
    }
    for (let at = 0; at < chunk.length && arrival.isTaken; ) {
      try {
        if (bodyBytes > 0) {
          const here = Math.min(bodyBytes, chunk.length - at);
          at += here;
          bodyBytes -= here;
          if (bodyBytes === 0) end();
        } else {
          const byte = chunk[at++] ?? 0;
          if (headBytes === 0) isCompressed = byte === 1;
          else length = length * 256 + byte;
          headBytes++;
          if (headBytes < HEAD_BYTES) continue;
          bodyBytes = length;
          begin();
          headBytes = 0;
          length = 0;
        }
      } catch (thrown) {
        refuse(thrown);
      }
    }
  });
  return () => share.close();
}
