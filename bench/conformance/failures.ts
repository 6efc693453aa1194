/** What the suite prints of cases that failed, and which of it is known not to be ours. */

/** A complaint that is about a library, and why it is left. */
interface Known {
  readonly pattern: RegExp;
  readonly why: string;
}

const KNOWN: readonly Known[] = [
  {
    pattern: /^trailers include a non-empty 'grpc-message' value with zero\/okay 'grpc-status'$/,
    why: "grpc-js says OK in words too; the protocol has the message for errors alone, and clients ignore it",
  },
  {
    pattern:
      /^trailers include 'grpc-status-details-bin' value with padding but servers should emit unpadded:/,
    why: "grpc-js pads base64; the protocol advises against it and has every reader take it",
  },
];

export interface Failures {
  /** As printed, of cases with a complaint that is not known. */
  readonly ours: readonly string[];
  /** Cases that had only known ones, by what those were. */
  readonly known: ReadonlyMap<Known, number>;
}

/** @param printed what the suite wrote; each failure is a line `FAILED: <case>:` and indented complaints */
export function sortFailures(printed: string): Failures {
  const ours: string[] = [];
  const known = new Map<Known, number>();
  for (const block of printed.split(/^(?=FAILED: )/m).filter((part) => part.startsWith("FAILED: "))) {
    const [title = "", ...lines] = block.split("\n");
    const end = lines.findIndex((line) => !/^(?:\t|$)/.test(line));
    const complaints = (end === -1 ? lines : lines.slice(0, end))
      .map((line) => line.replace(/^\s*(?:; )?/, ""))
      .filter((line) => line !== "");
    const found = complaints.map((complaint) => KNOWN.find(({ pattern }) => pattern.test(complaint)));
    if (complaints.length === 0 || found.includes(undefined))
      ours.push([title, ...lines].join("\n").trimEnd());
    else for (const kind of new Set(found)) if (kind) known.set(kind, (known.get(kind) ?? 0) + 1);
  }
  return { ours, known };
}
