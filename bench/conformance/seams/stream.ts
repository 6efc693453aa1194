/** Streams that are served directly: metadata through the reply, and at its end. */
import { streamServer as ours } from "../../../src/transports/stream.ts";
import { directExchange, exchanges } from "../exchange.ts";
import { type Trailers, withTrailers } from "./trailers.ts";

export * from "../../../src/transports/stream.ts";

export const streamServer: typeof ours = (binding, deps) => {
  const serve = ours(binding, deps);
  return (form, request, reply) => {
    const { wire } = form;
    const trailers: Trailers[number][] = [];
    const exchange = directExchange(form, request, reply, (name, values) => trailers.push([name, values]));
    const extended: typeof wire = {
      ...wire,
      end: async (error, gzip) => withTrailers(await wire.end(error, gzip), trailers),
    };
    return exchanges.run(exchange, () => serve({ ...form, wire: extended }, request, reply));
  };
};
