/** Workers that end in the middle of a run of ONNX Runtime. A hundred times over: `node bench/soak/onnx-worker.ts`. */
import { expect, test } from "vitest";
import { endWorkers } from "../../bench/soak/onnx-worker.ts";

test("killed, crashed, stopped, terminated or hung in a run, a worker costs that run alone", async () => {
  const { ended, deaths } = await endWorkers(10, 2);
  expect(ended).toEqual({ killed: 2, crashed: 2, aborted: 2, stopped: 2, terminated: 1, hung: 1 });
  // A hung prediction takes two workers with it, a terminated one none.
  expect(deaths).toBe(8 + 2);
}, 180_000);
