/** Streams of answers over Connect and gRPC-Web that are served directly; see `direct-call.ts`. */
import type { ServerResponse } from "node:http";
import type { ConnectError } from "@connectrpc/connect";
import type { FastifyReply, FastifyRequest } from "fastify";
import { type Answer, methodName, type StreamBinding } from "./binding.ts";
import {
  accept,
  begin,
  type CallForm,
  type DirectCall,
  type DirectDeps,
  encode,
  errorOf,
  headersOf,
} from "./direct-call.ts";
import type { EnvelopeWire } from "./envelope.ts";

/** Answers a call, whatever happens. */
export type ServeStream = (
  form: CallForm<EnvelopeWire>,
  request: FastifyRequest,
  reply: FastifyReply,
) => Promise<void>;

export function streamServer(binding: StreamBinding, deps: DirectDeps): ServeStream {
  const inProtobuf = createEncoder(binding);
  const inJson = createEncoder(binding);
  return async (form, request, reply) => {
    const { raw } = reply;
    const { wire } = form;
    const call = begin(binding, form, request, reply, deps);
    const gzip = form.acceptsGzip ? deps.gzip : undefined;
    const encoded = wire.json ? inJson : inProtobuf;
    const open = (): void => {
      if (!raw.headersSent) raw.writeHead(200, headersOf(reply, wire.headers(gzip)));
    };
    try {
      const error = await answer(binding, call, async (message) => {
        const bytes = await wire.message(encoded(message, wire), gzip);
        open();
        await write(raw, bytes, call.abort.signal);
      });
      const end = await wire.end(error, gzip);
      // What was left unread is thrown away: a caller that sends all before it reads would otherwise never get there.
      request.raw.resume();
      if (raw.destroyed) return;
      open();
      raw.end(end);
    } catch (cause) {
      deps.log.error({ err: cause, method: methodName(binding) }, "an answer could not be written");
      raw.destroy();
    }
  };
}

/** Resolves with how it ended: by itself, or as soon as the operation has seen that its caller is gone or its time is over. */
async function answer(
  { run }: StreamBinding,
  call: DirectCall,
  say: (message: Answer) => Promise<void>,
): Promise<ConnectError | undefined> {
  const { deadline } = call;
  const { signal } = call.abort;
  try {
    const { message, context } = await accept(call);
    for await (const next of run(message, context)) {
      await say(next);
      signal.throwIfAborted();
    }
    signal.throwIfAborted();
    return undefined;
  } catch (thrown) {
    return errorOf(thrown, call);
  } finally {
    deadline?.stop();
  }
}

/** An answer that goes to many is one object. */
function createEncoder({ method }: StreamBinding) {
  const known = new WeakMap<Answer, Uint8Array>();
  return (answer: Answer, wire: EnvelopeWire): Uint8Array => {
    let bytes = known.get(answer);
    if (bytes === undefined) {
      bytes = encode(method.output, wire, answer);
      known.set(answer, bytes);
    }
    return bytes;
  };
}

/** Resolves when there is room for more, or at the abort: a reader that has gone makes none. */
function write(raw: ServerResponse, bytes: Buffer, signal: AbortSignal): Promise<void> | undefined {
  if (raw.write(bytes)) return undefined;
  return new Promise((resolve) => {
    const done = (): void => {
      raw.off("drain", done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    raw.once("drain", done);
    signal.addEventListener("abort", done);
    if (signal.aborted) done();
  });
}
