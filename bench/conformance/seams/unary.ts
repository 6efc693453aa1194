/** Calls that are served directly: metadata through the reply. Trailers are headers with a prefix, or the reply's last lines. */
import { type Reply, serveUnary as serve, type UnaryForm } from "../../../src/transports/unary.ts";
import { collect, exchanges } from "../exchange.ts";

export * from "../../../src/transports/unary.ts";

const HEAD_BYTES = 5;
const TRAILERS = 0x80;

export const serveUnary: typeof serve = (binding, form, request, reply, deps) => {
  const { rawHeaders } = request.raw;
  const pairs = rawHeaders.flatMap((name, i) =>
    i % 2 === 0 ? [[name, rawHeaders[i + 1] ?? ""] as const] : [],
  );
  const isGrpcWeb = form.wire.headBytes > 0;
  const lines: string[] = [];
  const exchange = {
    metadata: collect(pairs),
    timeoutMs: form.timeoutMs,
    query: undefined,
    setHeader: (name: string, values: readonly string[]) => void reply.header(name, values),
    setTrailer: (name: string, values: readonly string[]) => {
      if (isGrpcWeb) lines.push(...values.map((value) => `${name.toLowerCase()}: ${value}\r\n`));
      else reply.header(`trailer-${name}`, values);
    },
  };
  const called = isGrpcWeb ? withTrailers(form, lines) : form;
  return exchanges.run(exchange, () => serve(binding, called, request, reply, deps));
};

function withTrailers(form: UnaryForm, lines: readonly string[]): UnaryForm {
  const { wire } = form;
  const more = (reply: Reply): Reply => ({
    ...reply,
    body: extended(Buffer.from(reply.body), lines.join("")),
  });
  return {
    ...form,
    wire: {
      ...wire,
      answer: async (message, gzip) => more(await wire.answer(message, gzip)),
      refuse: async (error, gzip) => more(await wire.refuse(error, gzip)),
    },
  };
}

/** The status is the last envelope, and too short here to be packed. */
function extended(body: Buffer, text: string): Buffer {
  let at = 0;
  while ((body.readUInt8(at) & TRAILERS) === 0) at += HEAD_BYTES + body.readUInt32BE(at + 1);
  const all = Buffer.concat([body, Buffer.from(text)]);
  all.writeUInt32BE(all.length - at - HEAD_BYTES, at + 1);
  return all;
}
