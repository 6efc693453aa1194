/** One gRPC call: decode, call the operation once, encode. Bound generically; see `Binding`. */
import { create, type DescMessage, type Message, toBinary } from "@bufbuild/protobuf";
import type {
  handleServerStreamingCall,
  handleUnaryCall,
  ServerUnaryCall,
  ServerWritableStream,
} from "@grpc/grpc-js";
import type { Logger } from "pino";
import type { Config } from "../config.ts";
import type { Principal } from "../domain/principal.ts";
import type { CallContext } from "../services/call.ts";
import type { Services } from "../services/services.ts";
import { bearerToken } from "./bearer.ts";
import {
  type Answer,
  type Binding,
  callerOf,
  checkSize,
  methodName,
  type StreamBinding,
  type UnaryBinding,
} from "./binding.ts";
import { decodeMessage } from "./decode-message.ts";
import { grpcStatus } from "./grpc-status.ts";
import { CALLER_GONE, DEADLINE_PASSED, refusal } from "./refusal.ts";

export interface CallDeps {
  readonly services: Services;
  readonly config: Pick<Config, "MAX_JSON_VALUES" | "MAX_BODY_BYTES">;
  readonly log: Logger;
}

/** Longest delay that a timer takes (Node fires later ones at once); a later deadline needs no timer of ours. */
const TIMER_MS_MAX = 2 ** 31 - 1;

export function unaryHandler(binding: UnaryBinding, deps: CallDeps): handleUnaryCall<Buffer, Buffer> {
  const method = methodName(binding);
  return async (call, callback) => {
    const abort = new AbortController();
    const onCancelled = () => abort.abort(CALLER_GONE);
    call.once("cancelled", onCancelled);
    try {
      const context = new GrpcContext(call, await principalOf(call, binding, deps), abort.signal);
      const answer = await binding.run(messageOf(call, binding, context.principal, deps), context);
      callback(null, encode(binding.method.output, answer));
    } catch (thrown) {
      callback(grpcStatus(refusal(thrown, { method, signal: abort.signal, log: deps.log })));
    } finally {
      // Also emitted after the answer, where aborting would only cost.
      call.off("cancelled", onCancelled);
    }
  };
}

export function streamHandler(
  binding: StreamBinding,
  deps: CallDeps,
): handleServerStreamingCall<Buffer, Buffer> {
  const method = methodName(binding);
  /** An answer that goes to many is one object. */
  const encoded = new WeakMap<Answer, Buffer>();
  const encodeOnce = (answer: Answer): Buffer => {
    const bytes = encoded.get(answer) ?? encode(binding.method.output, answer);
    encoded.set(answer, bytes);
    return bytes;
  };
  return async (call) => {
    const abort = new AbortController();
    const { signal } = abort;
    call.on("cancelled", () => abort.abort(CALLER_GONE));
    const deadlineAt = deadlineOf(call);
    const deadline = deadlineTimer(deadlineAt, abort);
    try {
      const principal = await principalOf(call, binding, deps);
      const context = new GrpcContext(call, principal, signal);
      for await (const answer of binding.run(messageOf(call, binding, principal, deps), context)) {
        await write(call, encodeOnce(answer), signal);
        signal.throwIfAborted();
      }
      signal.throwIfAborted();
      call.end();
    } catch (thrown) {
      call.emit("error", grpcStatus(refusal(thrown, { method, signal, log: deps.log })));
    } finally {
      clearTimeout(deadline);
    }
  };
}

/**
 * Resolves when the message has left for the socket, or at the abort. Waiting for each message keeps one per stream
 * in memory: `write` itself would take 16 before it asks to wait, and a dead reader's last callback never comes.
 */
function write(
  call: ServerWritableStream<Buffer, Buffer>,
  bytes: Buffer,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      signal.removeEventListener("abort", done);
      resolve();
    };
    signal.addEventListener("abort", done);
    if (signal.aborted) done();
    else call.write(bytes, done);
  });
}

/**
 * grpc-js answers a passed deadline by itself, but a stream whose reader has stalled never gets to its end that
 * way, and would keep its operation.
 */
function deadlineTimer(
  deadlineAt: number | undefined,
  abort: AbortController,
): ReturnType<typeof setTimeout> | undefined {
  if (deadlineAt === undefined || deadlineAt - Date.now() > TIMER_MS_MAX) return undefined;
  return setTimeout(() => abort.abort(DEADLINE_PASSED), deadlineAt - Date.now());
}

type Call = ServerUnaryCall<Buffer, Buffer> | ServerWritableStream<Buffer, Buffer>;

function principalOf(call: Call, { method }: Binding, { services }: CallDeps) {
  const [header] = call.metadata.get("authorization");
  return callerOf(services, method, bearerToken(header?.toString()));
}

/** Its size is looked at again, for it may have been packed. */
function messageOf(
  { request }: Call,
  { method }: Binding,
  principal: Principal,
  { config }: CallDeps,
): Message {
  checkSize(request.length, method, principal, config);
  return decodeMessage(method.input, request, config.MAX_JSON_VALUES);
}

/**
 * A class for the sake of its getter: one in an object literal gives every such object a hidden class of its own, which
 * V8 makes old at once, and which keeps the whole call until all of the heap is collected.
 */
class GrpcContext implements CallContext {
  readonly principal: Principal;
  readonly signal: AbortSignal;
  readonly deadlineAt: number | undefined;
  readonly #call: Call;

  constructor(call: Call, principal: Principal, signal: AbortSignal) {
    this.principal = principal;
    this.signal = signal;
    this.deadlineAt = deadlineOf(call);
    this.#call = call;
  }

  /** Without the port. Few ask for it. */
  get address(): string {
    return this.#call.getPeer().replace(/:\d+$/, "");
  }
}

function deadlineOf(call: Call): number | undefined {
  const deadline = Number(call.getDeadline());
  return Number.isFinite(deadline) ? deadline : undefined;
}

function encode(schema: DescMessage, answer: Answer): Buffer {
  const bytes = toBinary(schema, create(schema, answer));
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
