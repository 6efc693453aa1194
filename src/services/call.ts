/**
 * How an operation is written once and served by every transport: as a function of the generated request and this
 * context. Transports decode, call once, encode.
 */
import type {
  DescMessage,
  DescMethodServerStreaming,
  DescMethodUnary,
  DescService,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import type { Principal } from "../domain/principal.ts";

export interface CallContext {
  readonly principal: Principal;
  /** Aborted when the caller goes away, cancels, or its deadline passes. */
  readonly signal: AbortSignal;
  /** The caller's own deadline in milliseconds since the epoch; undefined when it set none. */
  readonly deadlineAt: number | undefined;
  /** Of the web page that calls, as its browser says; undefined outside of browsers. */
  readonly origin?: string | undefined;
  /** Address of the caller, where rates are limited by it. */
  readonly address?: string | undefined;
}

type Method<D> =
  D extends DescMethodUnary<infer I extends DescMessage, infer O extends DescMessage>
    ? (request: MessageShape<I>, call: CallContext) => Promise<MessageInitShape<O>>
    : D extends DescMethodServerStreaming<infer I extends DescMessage, infer O extends DescMessage>
      ? (request: MessageShape<I>, call: CallContext) => AsyncIterable<MessageInitShape<O>>
      : never;

/** An implementation of one generated service: one method for one RPC. Throws AuspexError. */
export type Operations<S extends DescService> = { readonly [K in keyof S["method"]]: Method<S["method"][K]> };
