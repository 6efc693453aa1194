/** Calls that are served directly: metadata through the reply, of which trailers are headers with a prefix. */
import { serveUnary as serve } from "../../../src/transports/connect-unary.ts";
import { collect, exchanges } from "../exchange.ts";

export * from "../../../src/transports/connect-unary.ts";

export const serveUnary: typeof serve = (binding, form, request, reply, deps) => {
  const { rawHeaders } = request.raw;
  const pairs = rawHeaders.flatMap((name, i) =>
    i % 2 === 0 ? [[name, rawHeaders[i + 1] ?? ""] as const] : [],
  );
  const exchange = {
    metadata: collect(pairs),
    timeoutMs: form.timeoutMs,
    query: undefined,
    setHeader: (name: string, values: readonly string[]) => void reply.header(name, values),
    setTrailer: (name: string, values: readonly string[]) => void reply.header(`trailer-${name}`, values),
  };
  return exchanges.run(exchange, () => serve(binding, form, request, reply, deps));
};
