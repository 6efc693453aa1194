/** Unary calls of Connect and gRPC-Web that are served directly; see `direct-call.ts`. */
import type { ConnectError } from "@connectrpc/connect";
import type { Compression } from "@connectrpc/connect/protocol";
import type { FastifyReply, FastifyRequest } from "fastify";
import { methodName, type UnaryBinding } from "./binding.ts";
import {
  accept,
  begin,
  type CallForm,
  type DirectCall,
  type DirectDeps,
  encode,
  errorOf,
  headersOf,
  type RequestWire,
} from "./direct-call.ts";

export interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/** How a protocol reads a call and writes its answer. */
export interface UnaryWire extends RequestWire {
  /** @param gzip where the caller takes it */
  answer(message: Uint8Array, gzip: Compression | undefined): Promise<Reply>;
  refuse(error: ConnectError, gzip: Compression | undefined): Promise<Reply>;
}

/** Answers the call, whatever happens. */
export async function serveUnary(
  binding: UnaryBinding,
  form: CallForm<UnaryWire>,
  request: FastifyRequest,
  reply: FastifyReply,
  deps: DirectDeps,
): Promise<void> {
  const { raw } = reply;
  const call = begin(binding, form, request, reply, deps);
  try {
    const { status, headers, body } = await answer(binding, form.wire, call);
    // What was left unread is thrown away: a caller that sends all before it reads would otherwise never get there.
    request.raw.resume();
    if (raw.destroyed) return;
    raw.writeHead(status, headersOf(reply, { ...headers, "content-length": body.length }));
    raw.end(body);
  } catch (cause) {
    deps.log.error({ err: cause, method: methodName(binding) }, "an answer could not be written");
    raw.destroy();
  }
}

async function answer({ method, run }: UnaryBinding, wire: UnaryWire, call: DirectCall): Promise<Reply> {
  const { deadline, form, deps } = call;
  const gzip = form.acceptsGzip ? deps.gzip : undefined;
  try {
    const { message, context } = await accept(call);
    const running = run(message, context);
    // The caller hears of its deadline when it passes, whenever the operation notices.
    const output = await (deadline ? Promise.race([running, deadline.passed]) : running);
    return await wire.answer(encode(method.output, wire, output), gzip);
  } catch (thrown) {
    return await wire.refuse(errorOf(thrown, call), gzip);
  } finally {
    deadline?.stop();
  }
}
