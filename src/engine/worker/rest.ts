/** How a fit comes to rest: where its loss no longer falls it goes on in smaller steps, and then ends. */

export interface Rest {
  /** The least loss of an epoch so far. */
  readonly least: number;
  /** Epochs in a row that were not clearly below the least before. */
  readonly stale: number;
  /** How often the steps have been made smaller. */
  readonly plateaus: number;
}

/** By this part of the least loss an epoch has to be below it. */
const CLEARLY = 1e-3;

const STALE_EPOCHS_MAX = 5;
const SMALLER = 0.3;

/** At the last one the steps have a hundredth of their first size: the loss has nowhere to go. */
const PLATEAUS_MAX = 4;

export const RESTLESS: Rest = { least: Number.POSITIVE_INFINITY, stale: 0, plateaus: 0 };

/** After an epoch with this loss. */
export function afterEpoch({ least, stale, plateaus }: Rest, loss: number): Rest {
  const isBetter = loss < least * (1 - CLEARLY);
  const isPlateau = !isBetter && stale + 1 === STALE_EPOCHS_MAX;
  return {
    least: Math.min(least, loss),
    stale: isBetter || isPlateau ? 0 : stale + 1,
    plateaus: isPlateau ? plateaus + 1 : plateaus,
  };
}

export function isAtRest({ plateaus }: Rest): boolean {
  return plateaus === PLATEAUS_MAX;
}

/** What a step's size is multiplied by. */
export function stepFactor({ plateaus }: Rest): number {
  return SMALLER ** plateaus;
}
