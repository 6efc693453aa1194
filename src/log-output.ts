/**
 * Where log lines go. A log that nobody reads, a reader that is gone and a full disk cost lines, never a call: writing
 * to it neither waits nor throws, and holds a bounded amount. What was dropped is counted, and told once lines go out
 * again.
 */
import type { Writable } from "node:stream";

/** Bytes that wait for a reader: some thousand lines, more than any burst that a reader catches up with. */
const WAITING_MAX = 1024 * 1024;

export interface LogOutput {
  write(line: string): void;
  /** Lines dropped since the start. */
  dropped(): number;
}

/** @param told makes the line that tells of dropped ones; it is written like any other */
export function createLogOutput(stream: Writable, told: (dropped: number) => string): LogOutput {
  let dropped = 0;
  let untold = 0;
  const drop = () => {
    dropped += 1;
    untold += 1;
  };
  // Also what closed the stream: later lines find it destroyed.
  stream.on("error", drop);
  return {
    write(line) {
      if (stream.destroyed || stream.writableLength > WAITING_MAX) {
        drop();
        return;
      }
      if (untold > 0 && !stream.writableNeedDrain) {
        stream.write(told(untold));
        untold = 0;
      }
      stream.write(line);
    },
    dropped: () => dropped,
  };
}
