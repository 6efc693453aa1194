/** How a download shows on a terminal: one line that is drawn over. Anything else gets plain lines, once each. */

const WIDTH = 30;

/** Milliseconds between two drawings. */
const DRAW_MS = 100;

/** What is printed to: standard output, mostly. */
export interface Output {
  write(text: string): unknown;
  readonly isTTY?: boolean;
}

export interface Progress {
  update(done: number, total: number): void;
  /** Prints a line of its own, above the bar. */
  say(line: string): void;
  /** Removes the bar. */
  end(): void;
}

export function createProgress(out: Output, now: () => number = Date.now): Progress {
  let drawnAt = Number.NEGATIVE_INFINITY;
  const erase = (): void => {
    if (drawnAt > Number.NEGATIVE_INFINITY) out.write("\r\u001b[K");
    drawnAt = Number.NEGATIVE_INFINITY;
  };
  return {
    update(done, total) {
      if (!out.isTTY || now() - drawnAt < DRAW_MS) return;
      drawnAt = now();
      out.write(`\r\u001b[K${bar(done, total)}`);
    },
    say(line) {
      erase();
      out.write(`${line}\n`);
    },
    end: erase,
  };
}

export function bar(done: number, total: number): string {
  const part = total > 0 ? Math.min(done / total, 1) : 0;
  const full = Math.floor(part * WIDTH);
  return `[${"#".repeat(full)}${".".repeat(WIDTH - full)}] ${megabytes(done)} of ${megabytes(total)}`;
}

/** Decimal, as download sizes are given: `36.4 MB`. */
export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
