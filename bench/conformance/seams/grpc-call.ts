/** gRPC's calls with their metadata in place. */
import {
  type handleServerStreamingCall,
  type handleUnaryCall,
  Metadata,
  type ServerUnaryCall,
  type ServerWritableStream,
} from "@grpc/grpc-js";
import type { StreamBinding, UnaryBinding } from "../../../src/transports/binding.ts";
import {
  type CallDeps,
  streamHandler as stream,
  unaryHandler as unary,
} from "../../../src/transports/grpc-call.ts";
import { collect, currentExchange, type Exchange, exchanges } from "../exchange.ts";

export * from "../../../src/transports/grpc-call.ts";

type Call = ServerUnaryCall<Buffer, Buffer> | ServerWritableStream<Buffer, Buffer>;

interface GrpcExchange extends Exchange {
  readonly headers: Metadata;
  readonly trailers: Metadata;
}

/** Of the call at hand. */
export function trailersOf(): Metadata {
  const exchange = currentExchange();
  return "trailers" in exchange && exchange.trailers instanceof Metadata ? exchange.trailers : new Metadata();
}

export function unaryHandler(binding: UnaryBinding, deps: CallDeps): handleUnaryCall<Buffer, Buffer> {
  const handler = unary(binding, deps);
  return (call, callback) => {
    const exchange = exchangeOf(call);
    exchanges.run(exchange, () =>
      handler(call, (error, answer) => {
        call.sendMetadata(exchange.headers);
        // Beside an error they would take the place of its own metadata; grpc-status.ts joins the two.
        callback(error, answer, error ? undefined : exchange.trailers);
      }),
    );
  };
}

export function streamHandler(
  binding: StreamBinding,
  deps: CallDeps,
): handleServerStreamingCall<Buffer, Buffer> {
  const handler = stream(binding, deps);
  return (call) => {
    const exchange = exchangeOf(call);
    const end = call.end.bind(call);
    const write = call.write.bind(call);
    let isSent = false;
    const send = (): void => {
      if (!isSent) call.sendMetadata(exchange.headers);
      isSent = true;
    };
    const emit = call.emit.bind(call);
    Object.assign(call, {
      write: (...args: Parameters<typeof write>) => {
        send();
        return write(...args);
      },
      end: () => {
        send();
        return end(exchange.trailers);
      },
      emit: (...args: Parameters<typeof emit>) => {
        if (args[0] === "error") send();
        return emit(...args);
      },
    });
    exchanges.run(exchange, () => handler(call));
  };
}

function exchangeOf(call: Call): GrpcExchange {
  const headers = new Metadata();
  const trailers = new Metadata();
  const set = (metadata: Metadata) => (name: string, values: readonly string[]) => {
    for (const value of values)
      metadata.add(name, name.endsWith("-bin") ? Buffer.from(value, "base64") : value);
  };
  const deadline = Number(call.getDeadline());
  const pairs = Object.entries(call.metadata.toHttp2Headers()).flatMap(([name, values]) =>
    [values ?? []].flat().map((value) => [name, String(value)] as const),
  );
  return {
    metadata: collect(pairs),
    timeoutMs: Number.isFinite(deadline) ? Math.round(deadline - Date.now()) : undefined,
    query: undefined,
    headers,
    trailers,
    setHeader: set(headers),
    setTrailer: set(trailers),
  };
}
