import { describe, expect, it } from "vitest";
import { bar, createProgress } from "../../catalog/progress.ts";

function terminal(isTTY: boolean) {
  const written: string[] = [];
  return { written, isTTY, write: (text: string) => written.push(text) };
}

describe("progress", () => {
  it("draws over one line on a terminal, and not more often than a person sees", () => {
    let now = 0;
    const out = terminal(true);
    const progress = createProgress(out, () => now);
    progress.update(0, 4e6);
    progress.update(1e6, 4e6);
    now = 100;
    progress.update(2e6, 4e6);
    progress.say("done");
    expect(out.written).toEqual([
      `\r\u001b[K${bar(0, 4e6)}`,
      `\r\u001b[K${bar(2e6, 4e6)}`,
      "\r\u001b[K",
      "done\n",
    ]);
  });

  it("prints plain lines anywhere else", () => {
    const out = terminal(false);
    const progress = createProgress(out);
    progress.update(1, 2);
    progress.say("done");
    progress.end();
    expect(out.written).toEqual(["done\n"]);
  });

  it.each([
    [0, 0, "[..............................] 0.0 MB of 0.0 MB"],
    [18.2e6, 36.4e6, "[###############...............] 18.2 MB of 36.4 MB"],
    [40e6, 36.4e6, "[##############################] 40.0 MB of 36.4 MB"],
  ])("shows %i of %i bytes", (done, total, line) => {
    expect(bar(done, total)).toBe(line);
  });
});
