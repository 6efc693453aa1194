/**
 * What the suite's service asks of a call and ours never do: the caller's metadata, its time limit, and metadata to answer
 * with. The seams beside this file put it in place per call; see `seams.ts`.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { FastifyReply, FastifyRequest } from "fastify";

/** Names in lower case. */
export type Metadata = ReadonlyMap<string, readonly string[]>;

export interface Exchange {
  readonly metadata: Metadata;
  readonly timeoutMs: number | undefined;
  /** Of a GET in Connect; undefined for a POST. */
  readonly query: Metadata | undefined;
  setHeader(name: string, values: readonly string[]): void;
  setTrailer(name: string, values: readonly string[]): void;
}

export const exchanges = new AsyncLocalStorage<Exchange>();

export function currentExchange(): Exchange {
  const exchange = exchanges.getStore();
  if (!exchange) throw new Error("no seam has put the call's exchange in place");
  return exchange;
}

export function collect(pairs: Iterable<readonly [name: string, value: string]>): Metadata {
  const found = new Map<string, string[]>();
  for (const [name, value] of pairs) {
    const key = name.toLowerCase();
    found.set(key, [...(found.get(key) ?? []), value]);
  }
  return found;
}

/** Of a call that is served directly. */
export function directExchange(
  { timeoutMs }: { readonly timeoutMs: number | undefined },
  { raw: { rawHeaders } }: FastifyRequest,
  reply: FastifyReply,
  setTrailer: (name: string, values: readonly string[]) => void,
): Exchange {
  const pairs = rawHeaders.flatMap((name, i) =>
    i % 2 === 0 ? [[name, rawHeaders[i + 1] ?? ""] as const] : [],
  );
  return {
    metadata: collect(pairs),
    timeoutMs,
    query: undefined,
    setHeader: (name, values) => void reply.header(name, values),
    setTrailer,
  };
}

/** Every step of the iteration with the exchange in place: a generator runs in the context of who asks it to go on. */
export async function* within<T>(exchange: Exchange, source: () => AsyncIterable<T>): AsyncGenerator<T> {
  const iterator = exchanges.run(exchange, () => source()[Symbol.asyncIterator]());
  try {
    for (;;) {
      const step = await exchanges.run(exchange, () => iterator.next());
      if (step.done) return;
      yield step.value;
    }
  } finally {
    await iterator.return?.();
  }
}
