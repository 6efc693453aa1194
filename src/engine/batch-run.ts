/** One batch in one worker: its items joined, sent, and each given its own part of the answer. */

import { AuspexError } from "../domain/error.ts";
import type { Payload } from "../domain/payload.ts";
import type { Tensor, Tensors } from "../domain/tensor.ts";
import type { Batch } from "./batcher.ts";
import type { Calls, Outcome, TensorGroup, TensorGroupOutcome } from "./protocol.ts";
import type { Signature } from "./signature.ts";
import { tensorsToJson } from "./tensor-json.ts";
import type { Holder, Ticket } from "./ticket.ts";
import { fromWire } from "./wire-error.ts";
import { type Death, type Turn, WorkerDied, type WorkerProcess } from "./worker-process.ts";

type BatchKind = "pictures" | "texts" | "tensors";
type CallBatch = <K extends BatchKind>(kind: K, request: Calls[K]["request"]) => Promise<Calls[K]["answer"]>;

/**
 * A batch that nobody waits for any more (all canceled, or past their deadlines) may run on for this long. To let
 * it finish is cheaper than to kill its worker, as a new one takes about this long to load its models.
 */
export const ABANDONED_MS = 1000;

export interface BatchRun {
  readonly signature: Signature;
  /** From its turn. */
  readonly timeoutMs: number;
  readonly turn: Turn;
}

/**
 * Settles every ticket, or answers the death of the worker before it did.
 */
export async function runBatch(
  worker: WorkerProcess,
  { key, items }: Batch<Ticket>,
  { signature, timeoutMs, turn }: BatchRun,
): Promise<Death | undefined> {
  const waiting = watchWaiting(worker, items);
  const call: CallBatch = (kind, request) =>
    worker.call(kind, request, timeoutMs, {
      onBegin() {
        turn.onBegin();
        waiting.begin();
      },
      onEnd(ranMs) {
        turn.onEnd(ranMs);
        for (const ticket of items) ticket.ran(ranMs);
      },
    });
  try {
    const kind = items[0]?.input.kind;
    if (kind === "picture") await runPictures(call, key, items);
    else if (kind === "texts") await runTexts(call, key, items);
    else await runTensors(call, key, items, signature);
  } catch (error) {
    if (error instanceof WorkerDied) return error.death;
    for (const ticket of items) ticket.fail(AuspexError.from(error));
  } finally {
    waiting.end();
  }
  return undefined;
}

/** Kills the worker a while after the last of the tickets was settled without it, or after it came to them then. */
function watchWaiting(worker: WorkerProcess, items: readonly Ticket[]) {
  let waiting = items.length;
  let hasBegun = false;
  let timer: NodeJS.Timeout | undefined;
  const check = (): void => {
    if (!hasBegun || waiting > 0) return;
    timer = setTimeout(() => worker.kill({ kind: "abandoned" }), ABANDONED_MS);
  };
  const batch: Holder = {
    letGo() {
      waiting -= 1;
      check();
    },
  };
  for (const ticket of items) ticket.holder = batch;
  return {
    begin(): void {
      hasBegun = true;
      check();
    },
    end(): void {
      clearTimeout(timer);
      for (const ticket of items) ticket.holder = undefined;
    },
  };
}

async function runPictures(call: CallBatch, key: string, items: readonly Ticket[]): Promise<void> {
  const pictures = items.flatMap(({ input }) => (input.kind === "picture" ? [input.item] : []));
  const outcomes = await call("pictures", { key, items: pictures });
  for (const [i, ticket] of items.entries()) {
    settle(ticket, outcomes[i], (json) => ({ json, tensors: {} }));
  }
}

async function runTexts(call: CallBatch, key: string, items: readonly Ticket[]): Promise<void> {
  const texts = items.flatMap(({ input }) => (input.kind === "texts" ? [input.texts] : []));
  const outcomes = await call("texts", { key, items: texts });
  for (const [i, ticket] of items.entries()) {
    settle(ticket, outcomes[i], (embeddings) => ({ json: {}, tensors: { embeddings } }));
  }
}

async function runTensors(
  call: CallBatch,
  key: string,
  items: readonly Ticket[],
  signature: Signature,
): Promise<void> {
  const grouped = groupByForm(items, signature);
  const request: Calls["tensors"]["request"] = { key, groups: grouped.map(joined) };
  const outcomes = await call("tensors", request);
  for (const [i, tickets] of grouped.entries()) settleGroup(tickets, outcomes[i]);
}

/** Only rows of one form lie together: where the signature leaves other dimensions free, callers may differ. */
function groupByForm(items: readonly Ticket[], { inputs, joinable }: Signature): readonly Ticket[][] {
  if (!joinable) return items.map((ticket) => [ticket]);
  const isFixed = inputs.every(({ shape }) => shape.slice(1).every((size) => size !== null));
  if (isFixed) return [[...items]];
  const formOf = (ticket: Ticket): string =>
    JSON.stringify(inputs.map(({ name }) => tensorsOf(ticket)[name]?.shape.slice(1)));
  return [...Map.groupBy(items, formOf).values()];
}

function tensorsOf({ input }: Ticket): Tensors {
  return input.kind === "tensors" ? input.tensors : {};
}

function joined(tickets: readonly Ticket[]): TensorGroup {
  const rows = tickets.map(({ weight }) => weight);
  const [first] = tickets;
  if (!first || tickets.length === 1) return { rows, tensors: first ? tensorsOf(first) : {} };
  const total = rows.reduce((sum, count) => sum + count, 0);
  const tensors: Record<string, Tensor> = {};
  for (const [name, { dtype, shape }] of Object.entries(tensorsOf(first))) {
    const parts = tickets.flatMap((ticket) => tensorsOf(ticket)[name]?.data ?? []);
    tensors[name] = { dtype, shape: [total, ...shape.slice(1)], data: Buffer.concat(parts) };
  }
  return { rows, tensors };
}

function settleGroup(tickets: readonly Ticket[], outcome: TensorGroupOutcome | undefined): void {
  switch (outcome?.kind) {
    case "joined": {
      let first = 0;
      const total = tickets.reduce((sum, { weight }) => sum + weight, 0);
      for (const ticket of tickets) {
        const value = rowsOf(outcome.tensors, first, ticket.weight, total);
        settle(ticket, { ok: true, value }, (tensors) => tensorOutput(ticket, tensors));
        first += ticket.weight;
      }
      return;
    }
    case "each":
      for (const [i, ticket] of tickets.entries()) {
        settle(ticket, outcome.outcomes[i], (tensors) => tensorOutput(ticket, tensors));
      }
      return;
    case undefined:
      for (const ticket of tickets) settle(ticket, undefined, () => ({ json: {}, tensors: {} }));
      return;
    default:
      outcome satisfies never;
  }
}

function rowsOf(tensors: Tensors, first: number, count: number, total: number): Tensors {
  const part: Record<string, Tensor> = {};
  for (const [name, { dtype, shape, data }] of Object.entries(tensors)) {
    const bytes = data.length / total;
    part[name] = {
      dtype,
      shape: [count, ...shape.slice(1)],
      data: data.subarray(first * bytes, (first + count) * bytes),
    };
  }
  return part;
}

function tensorOutput({ input }: Ticket, tensors: Tensors): Payload {
  if (input.kind === "tensors" && input.typed) return { json: {}, tensors };
  return { json: { outputs: tensorsToJson(tensors) }, tensors: {} };
}

function settle<T>(ticket: Ticket, outcome: Outcome<T> | undefined, toPayload: (value: T) => Payload): void {
  if (!outcome) {
    ticket.fail(new AuspexError("internal", "the worker left this item of its batch unanswered"));
  } else if (!outcome.ok) {
    ticket.fail(fromWire(outcome.error));
  } else {
    try {
      ticket.succeed(toPayload(outcome.value));
    } catch (error) {
      ticket.fail(AuspexError.from(error));
    }
  }
}
