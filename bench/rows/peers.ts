/**
 * The same MLP and the same MobileNet behind Auspex and behind other servers, side by side: same generator, same cores,
 * same rounds in turn. Auspex is durable throughout, which none of the others is: each answer is in the database
 * before it is sent.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { type Door, startAuspex, target } from "../peers/auspex.ts";
import { environment } from "../peers/install.ts";
import { type Served, writeServed } from "../peers/models.ts";
import { PeerFailure, type RunningPeer, startPeer } from "../peers/peer-process.ts";
import { type Peer, VARIANTS, type Variant, WORKLOADS, type Workload } from "../peers/peers.ts";
import { type Generator, type Measurement, measure, type Target } from "../rounds.ts";
import type { BenchContext } from "../row.ts";

/** Calls in flight. */
const IN_FLIGHT: Readonly<Record<Workload, readonly number[]>> = { mlp: [1, 16, 64], mobilenet: [1, 16] };
const WARM_UP_SECONDS = 0.5;
export const PEER_ROUNDS = { seconds: 1, rounds: 3 } as const;

export interface Cell {
  readonly workload: Workload;
  readonly inFlight: number;
  readonly peer: string;
  readonly variant: Variant;
  readonly outcome:
    | {
        readonly kind: "measured";
        readonly peer: Measurement;
        /** As the peer is asked: by a form or by JSON. */
        readonly http: Measurement;
        readonly grpc: Measurement;
      }
    | { readonly kind: "missing"; readonly reason: string };
}

export interface PeersResult {
  readonly settings: Readonly<Record<string, string>>;
  readonly cells: readonly Cell[];
}

type Context = Pick<BenchContext, "generator" | "seconds" | "rounds" | "progress">;

/** @param onPeer given each peer's own as it comes: what ends early keeps what it has */
export async function comparePeers(
  peers: readonly Peer[],
  context: Context,
  onPeer: (cells: readonly Cell[]) => void,
): Promise<PeersResult> {
  const { seconds, rounds } = context;
  const folder = await mkdtemp(join(tmpdir(), "auspex-peers-"));
  try {
    context.progress("writing the models");
    const served = await writeServed(folder);
    const cells: Cell[] = [];
    for (const peer of peers) {
      const own = await comparePeer(peer, served, context);
      onPeer(own);
      cells.push(...own);
    }
    return {
      settings: {
        mlp: `64-128-128-10, one row of JSON numbers; answers within 0.0001 of TF.js`,
        mobilenet: `auspex/mobilenet, zebra.jpg, ${served.picture.jpeg.length} bytes`,
        durable:
          "Auspex: SQLite, WAL, synchronous=FULL, every answer after its commit; the others keep nothing",
        rounds: `${rounds} × ${seconds} s for each, in turn, after ${WARM_UP_SECONDS} s of warming up; medians`,
      },
      cells,
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Both variants stand beside Auspex in the same rounds, unless the idle one would take part in them. */
async function comparePeer(peer: Peer, served: Served, context: Context): Promise<readonly Cell[]> {
  const found = await environment(peer.name, context.progress);
  if (found.kind === "missing") {
    return WORKLOADS.flatMap((workload) => missing(peer, workload, VARIANTS, found.reason));
  }
  const cells: Cell[] = [];
  const sittings = peer.restless ? VARIANTS.map((variant) => [variant]) : [VARIANTS];
  for (const workload of WORKLOADS) {
    for (const variants of sittings) {
      cells.push(...(await sit({ peer, bin: found.bin, served, workload, variants }, context)));
    }
  }
  return cells;
}

interface Sitting {
  readonly peer: Peer;
  readonly bin: string;
  readonly served: Served;
  readonly workload: Workload;
  readonly variants: readonly Variant[];
}

function missing(peer: Peer, workload: Workload, variants: readonly Variant[], reason: string): Cell[] {
  return IN_FLIGHT[workload].flatMap((inFlight) =>
    variants.map((variant) => ({
      workload,
      inFlight,
      peer: peer.title,
      variant,
      outcome: { kind: "missing", reason } as const,
    })),
  );
}

async function sit(sitting: Sitting, context: Context): Promise<readonly Cell[]> {
  const { peer, bin, served, workload, variants } = sitting;
  await using cleanUp = new AsyncDisposableStack();
  const cells: Cell[] = [];
  const running: Contender[] = [];
  for (const variant of variants) {
    context.progress(`${peer.title}, ${variant}, ${workload}: starting`);
    try {
      const setting = { workload, tuned: variant === "tuned", cores: availableParallelism() };
      const started = cleanUp.use(await startPeer(peer, bin, served, setting));
      running.push({ variant, started });
    } catch (error) {
      if (!(error instanceof PeerFailure)) throw error;
      cells.push(...missing(peer, workload, [variant], error.message));
    }
  }
  if (running.length === 0) return cells;
  const server = cleanUp.use(await startAuspex(served));
  const asked = running[0]?.started.request.headers["content-type"];
  const door: Door = asked?.startsWith("multipart/") ? "form" : "json";
  const ours = [door, "grpc" as const].map((each) => target(server, each, workload, served));
  for (const inFlight of IN_FLIGHT[workload]) {
    const at = { peer: peer.title, workload, inFlight };
    context.progress(`${peer.title}, ${workload}, ${inFlight} in flight`);
    const { measured, failed } = await measureAll(
      running.filter(({ variant }) => inFlight <= room(peer, variant)),
      ours,
      inFlight,
      context,
    );
    for (const { variant } of running) {
      if (inFlight <= room(peer, variant)) continue;
      const reason = `it takes ${room(peer, variant)} at a time and refuses the others with ${peer.capacity?.refusal}`;
      failed.push({ variant, reason });
    }
    for (const { variant, reason } of failed) {
      cells.push({ ...at, variant, outcome: { kind: "missing", reason } });
    }
    const [http, grpc] = measured.ours;
    if (!http || !grpc) continue;
    for (const { variant, measurement } of measured.peers) {
      cells.push({ ...at, variant, outcome: { kind: "measured", peer: measurement, http, grpc } });
    }
  }
  return cells;
}

function room({ capacity }: Peer, variant: Variant): number {
  return capacity?.of[variant] ?? Number.POSITIVE_INFINITY;
}

interface Contender {
  readonly variant: Variant;
  readonly started: RunningPeer;
}

interface Failed {
  readonly variant: Variant;
  readonly reason: string;
}

class ContenderFailure extends Error {
  readonly contender: Contender;
  constructor(contender: Contender, cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.contender = contender;
  }
}

/** A peer that fails under the load leaves the rounds, which begin again without it; Auspex may not fail. */
async function measureAll(
  contenders: readonly Contender[],
  ours: readonly Target[],
  inFlight: number,
  context: Context,
) {
  const { seconds, rounds, generator } = context;
  const failed: Failed[] = [];
  let left = contenders;
  while (left.length > 0) {
    const targets = [...left.map((contender) => contenderTarget(contender, generator)), ...ours];
    const plan = { inFlight, seconds, rounds, warmUpSeconds: WARM_UP_SECONDS, onRound: () => {} };
    try {
      const measurements = await measure(generator, targets, plan);
      const peers = left.flatMap(({ variant }, i) => {
        const measurement = measurements[i];
        return measurement ? [{ variant, measurement }] : [];
      });
      return { measured: { peers, ours: measurements.slice(left.length) }, failed };
    } catch (error) {
      if (!(error instanceof ContenderFailure)) throw error;
      const { contender, message } = error;
      failed.push({ variant: contender.variant, reason: message });
      left = left.filter((other) => other !== contender);
    }
  }
  return { measured: { peers: [], ours: [] }, failed };
}

function contenderTarget(contender: Contender, generator: Generator): Target {
  const { pid, url, request, again } = contender.started;
  const { headers, body, expect } = request;
  const to = { kind: "http", url, headers, ...(again !== undefined && { again }) } as const;
  const order = { to, request: body, expect };
  return {
    name: contender.variant,
    pid,
    load: (round) =>
      generator.run({ ...order, ...round }).catch((error: unknown) => {
        throw new ContenderFailure(contender, error);
      }),
  };
}
