/**
 * `connectrpc.conformance.v1.ConformanceService`, as its proto describes it: each request says what is to be answered.
 * Streams of requests are left out, for Auspex has none.
 */
import { setTimeout as delay } from "node:timers/promises";
import { create, type DescMethod, type Message, type MessageInitShape } from "@bufbuild/protobuf";
import { type Any, anyPack } from "@bufbuild/protobuf/wkt";
import { type Code, ConnectError } from "@connectrpc/connect";
import { AuspexError } from "../../src/domain/error.ts";
import type { Answer, Binding } from "../../src/transports/binding.ts";
import { currentExchange, type Metadata } from "./exchange.ts";
import { messageType, serviceType } from "./messages.ts";

/** The parts of the suite's messages that are read here. */
interface Header {
  readonly name: string;
  readonly value: readonly string[];
}

interface ErrorDefinition {
  readonly code: Code;
  readonly message?: string;
  readonly details: readonly Any[];
}

interface Definition {
  readonly responseHeaders: readonly Header[];
  readonly responseTrailers: readonly Header[];
  readonly responseDelayMs: number;
}

interface UnaryDefinition extends Definition {
  readonly response:
    | { readonly case: "responseData"; readonly value: Uint8Array }
    | { readonly case: "error"; readonly value: ErrorDefinition }
    | { readonly case: undefined };
}

interface StreamDefinition extends Definition {
  readonly responseData: readonly Uint8Array[];
  readonly error?: ErrorDefinition;
}

interface Asked<D> extends Message {
  readonly responseDefinition?: D;
}

const RequestInfo = messageType("ConformancePayload.RequestInfo");
const service = serviceType("ConformanceService");

export const conformanceBindings: readonly Binding[] = service.methods.flatMap((method): Binding[] => {
  switch (method.name) {
    case "Unary":
    case "IdempotentUnary":
      return [{ kind: "unary", method, run: (request) => unary(method, request as Asked<UnaryDefinition>) }];
    case "ServerStream":
      return [
        {
          kind: "server_streaming",
          method,
          run: (request) => serverStream(method, request as Asked<StreamDefinition>),
        },
      ];
    case "Unimplemented":
      return [{ kind: "unary", method, run: unimplemented }];
    default:
      return [];
  }
});

async function unimplemented(): Promise<never> {
  throw new AuspexError("unimplemented", "not implemented, as the suite wants it");
}

async function unary(method: DescMethod, request: Asked<UnaryDefinition>): Promise<Answer> {
  const requestInfo = infoOf(method, request);
  const { responseDefinition: definition } = request;
  if (!definition) return payload({ requestInfo });
  setMetadata(definition);
  await delay(definition.responseDelayMs);
  const { response } = definition;
  if (response.case === "error") throw errorOf(response.value, requestInfo);
  const data = response.case === undefined ? new Uint8Array() : response.value;
  return payload({ requestInfo, data });
}

async function* serverStream(method: DescMethod, request: Asked<StreamDefinition>): AsyncGenerator<Answer> {
  const { responseDefinition: definition } = request;
  if (!definition) return;
  const requestInfo = infoOf(method, request);
  setMetadata(definition);
  for (const [i, data] of definition.responseData.entries()) {
    await delay(definition.responseDelayMs);
    yield payload(i === 0 ? { data, requestInfo } : { data });
  }
  if (!definition.error) return;
  throw errorOf(definition.error, definition.responseData.length === 0 ? requestInfo : undefined);
}

function payload(parts: Readonly<Record<string, unknown>>): Answer {
  return { payload: parts } as Answer;
}

function infoOf(method: DescMethod, request: Message): Message {
  const { metadata, timeoutMs, query } = currentExchange();
  return create(RequestInfo, {
    requestHeaders: headersOf(metadata),
    ...(timeoutMs !== undefined && { timeoutMs: BigInt(timeoutMs) }),
    requests: [anyPack(method.input, request)],
    ...(query && { connectGetInfo: { queryParams: headersOf(query) } }),
  } as MessageInitShape<typeof RequestInfo>);
}

function headersOf(metadata: Metadata): readonly Header[] {
  return [...metadata].map(([name, value]) => ({ name, value }));
}

function setMetadata({ responseHeaders, responseTrailers }: Definition): void {
  const exchange = currentExchange();
  for (const { name, value } of responseHeaders) exchange.setHeader(name, value);
  for (const { name, value } of responseTrailers) exchange.setTrailer(name, value);
}

function errorOf({ code, message = "", details }: ErrorDefinition, info: Message | undefined): ConnectError {
  const all: readonly Any[] = info ? [...details, anyPack(RequestInfo, info)] : details;
  const error = new ConnectError(message, code);
  error.details = all.map(({ typeUrl, value }) => ({
    type: typeUrl.slice(typeUrl.lastIndexOf("/") + 1),
    value,
  }));
  return error;
}
