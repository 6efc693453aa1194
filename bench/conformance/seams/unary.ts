/** Unary calls that are served directly: metadata through the reply, of which trailers are headers with a prefix, or its end. */
import { serveUnary as serve } from "../../../src/transports/unary.ts";
import { directExchange, exchanges } from "../exchange.ts";
import { type Trailers, withTrailers } from "./trailers.ts";

export * from "../../../src/transports/unary.ts";

export const serveUnary: typeof serve = (binding, form, request, reply, deps) => {
  const { wire } = form;
  const trailers: Trailers[number][] = [];
  const isEnveloped = wire.headBytes > 0;
  const exchange = directExchange(form, request, reply, (name, values) => {
    if (isEnveloped) trailers.push([name, values]);
    else reply.header(`trailer-${name}`, values);
  });
  const extended: typeof wire = {
    ...wire,
    async answer(message, gzip) {
      const answer = await wire.answer(message, gzip);
      return { ...answer, body: withTrailers(Buffer.from(answer.body), trailers) };
    },
    async refuse(error, gzip) {
      const answer = await wire.refuse(error, gzip);
      return { ...answer, body: withTrailers(Buffer.from(answer.body), trailers) };
    },
  };
  return exchanges.run(exchange, () => serve(binding, { ...form, wire: extended }, request, reply, deps));
};
