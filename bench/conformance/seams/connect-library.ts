/** The library's router, whose implementations find the call's metadata, and whose JSON knows the suite's messages. */
import {
  type ConnectRouter,
  type ConnectRouterOptions,
  createConnectRouter as createRouter,
  type HandlerContext,
} from "@connectrpc/connect";
import { collect, type Exchange, exchanges, within } from "../exchange.ts";
import { registry } from "../messages.ts";

export * from "@connectrpc/connect";

type Implementation = (request: never, context: HandlerContext) => unknown;

export function createConnectRouter(options: ConnectRouterOptions = {}): ConnectRouter {
  const router = createRouter({ ...options, jsonOptions: { ...options.jsonOptions, registry } });
  const rpc: Implementation = router.rpc.bind(router) as never;
  const wrapped = (method: { readonly methodKind: string }, implementation: Implementation): unknown => {
    const inPlace: Implementation = (request, context) => {
      const exchange = exchangeOf(context);
      if (method.methodKind === "unary") {
        return exchanges.run(exchange, () => implementation(request, context));
      }
      return within(exchange, () => implementation(request, context) as AsyncIterable<unknown>);
    };
    return rpc(method as never, inPlace as never);
  };
  return Object.assign(router, { rpc: wrapped as never });
}

function exchangeOf(context: HandlerContext): Exchange {
  const set = (headers: Headers) => (name: string, values: readonly string[]) => {
    for (const value of values) headers.append(name, value);
  };
  return {
    metadata: collect(context.requestHeader),
    timeoutMs: context.timeoutMs(),
    query: context.requestMethod === "GET" ? collect(new URL(context.url).searchParams) : undefined,
    setHeader: set(context.responseHeader),
    setTrailer: set(context.responseTrailer),
  };
}
