/** The peers' figures as text: a table for each workload and number of calls in flight. */
import { aligned, milliseconds, ranged, whole } from "../report.ts";
import type { Measurement } from "../rounds.ts";
import type { Cell, PeersResult } from "../rows/peers.ts";
import { spread } from "../statistics.ts";

const HEADINGS = [
  ...["", "answers/s (min–max)", "p50 ms", "p95", "p99", "CPU µs/answer"],
  ...["Auspex, HTTP", "times the peer", "CPU µs", "Auspex, gRPC", "times the peer", "CPU µs"],
] as const;
const REASON_LENGTH_MAX = 400;

/** Of the whole process tree. */
export function totalCpu({ mainCpu, workerCpu }: Measurement): number {
  return mainCpu.median + workerCpu.median;
}

const times = (ours: Measurement, peer: Measurement): string =>
  (ours.rate.median / peer.rate.median).toFixed(2);

export function peersText({ settings, cells }: PeersResult): string {
  const width = Math.max(...Object.keys(settings).map((name) => name.length));
  const lines = Object.entries(settings).map(([name, value]) => `  ${name.padEnd(width)}  ${value}`);
  return [...lines, cellsText(cells)].join("\n");
}

export function cellsText(cells: readonly Cell[]): string {
  const groups = Map.groupBy(cells, ({ workload, inFlight }) => `${workload}, ${inFlight} in flight`);
  return [...groups].map(([title, group]) => `\n${groupText(title, group)}`).join("\n");
}

function groupText(title: string, cells: readonly Cell[]): string {
  const lines = [
    HEADINGS,
    ...cells.flatMap((cell) => (cell.outcome.kind === "measured" ? [line(cell, cell.outcome)] : [])),
    ...ownLines(cells),
  ];
  const reasons = cells.flatMap(({ peer, variant, outcome }) =>
    outcome.kind === "missing"
      ? [`${peer}, ${variant}: no figure, ${outcome.reason.slice(0, REASON_LENGTH_MAX)}`]
      : [],
  );
  return [title, ...aligned(lines).map((text) => `  ${text}`), ...reasons.map((text) => `  ${text}`)].join(
    "\n",
  );
}

function line({ peer, variant }: Cell, measured: Cell["outcome"] & { kind: "measured" }): readonly string[] {
  const { http, grpc } = measured;
  return [
    `${peer}, ${variant}`,
    ...figures(measured.peer),
    ...[http, grpc].flatMap((ours) => [
      whole(ours.rate.median),
      times(ours, measured.peer),
      whole(totalCpu(ours)),
    ]),
  ];
}

function figures(m: Measurement): readonly string[] {
  const latencies = [m.p50, m.p95, m.p99].map(({ median }) => milliseconds(median));
  return [ranged(m.rate), ...latencies, whole(totalCpu(m))];
}

/** Auspex in all rounds with all peers, each way that it was asked. */
function ownLines(cells: readonly Cell[]): readonly (readonly string[])[] {
  const own = new Set(
    cells.flatMap(({ outcome }) => (outcome.kind === "measured" ? [outcome.http, outcome.grpc] : [])),
  );
  return [...Map.groupBy(own, ({ name }) => name)].map(([name, all]) => {
    const over = (pick: (m: Measurement) => number): number => spread(all.map(pick)).median;
    const latencies = [over((m) => m.p50.median), over((m) => m.p95.median), over((m) => m.p99.median)];
    const rates = { ...spread(all.map((m) => m.rate.median)) };
    return [name, ranged(rates), ...latencies.map(milliseconds), whole(over(totalCpu))];
  });
}
