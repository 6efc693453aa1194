/** The fits that a worker has open. Each goes on a little at a time, so that other calls get their turn. */
import type { FitPiece, FitPlan, FitTurn } from "../protocol.ts";
import type { FitStep } from "../trainer.ts";
import { Fit } from "./fit.ts";
import { openWasm } from "./wasm.ts";

export class Fits {
  readonly #fits = new Map<number, Fit>();

  async open(plan: FitPlan): Promise<null> {
    this.#fits.set(plan.id, new Fit(await openWasm(), plan));
    return null;
  }

  add(piece: FitPiece): null {
    this.#opened(piece.id).add(piece);
    return null;
  }

  async run({ id, checkpoint, forMs }: FitTurn): Promise<readonly FitStep[]> {
    const fit = this.#opened(id);
    const core = await openWasm();
    // A model that runs on another backend of the same TF.js may have set it.
    if (core.getBackend() !== "wasm") await core.setBackend("wasm");
    return fit.run(checkpoint, forMs);
  }

  close(id: number): null {
    this.#fits.get(id)?.dispose();
    this.#fits.delete(id);
    return null;
  }

  #opened(id: number): Fit {
    const fit = this.#fits.get(id);
    if (!fit) throw new Error(`this worker has no fit ${id}`);
    return fit;
  }
}
