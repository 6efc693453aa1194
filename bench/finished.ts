/** What a server says of the predictions that it has finished, read from its metrics: one request, however many. */
import type { TestServer } from "../test/harness.ts";

export interface Finished {
  readonly unfinished: number;
  readonly succeeded: number;
  readonly otherwise: number;
}

export function readFinished(metrics: string): Finished {
  let unfinished = Number.NaN;
  let succeeded = 0;
  let otherwise = 0;
  for (const line of metrics.split("\n")) {
    const [, name, status, value] =
      /^(auspex_predictions_unfinished|auspex_predictions_settled_total)(?:\{status="(\w+)"\})? (\S+)$/.exec(
        line,
      ) ?? [];
    if (name === undefined) continue;
    if (name === "auspex_predictions_unfinished") unfinished = Number(value);
    else if (status === "succeeded") succeeded += Number(value);
    else otherwise += Number(value);
  }
  return { unfinished, succeeded, otherwise };
}

export async function finishedOf(server: Pick<TestServer, "url">): Promise<Finished> {
  return readFinished(await (await fetch(`${server.url}/metrics`)).text());
}
