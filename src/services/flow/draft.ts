/**
 * What an answer that is being made has come to. It is kept once, whoever reads it and however slowly: a reader keeps its
 * place in the text and gets what is new in one piece. So a reader that never reads costs nothing and slows nobody.
 */
import type { ScoredPassage } from "../../domain/chatflow.ts";

/** Where in a draft a reader is. */
export interface DraftPlace {
  readonly block: number;
  readonly at: number;
}

export const DRAFT_START: DraftPlace = { block: 0, at: 0 };

/**
 * Characters after which a block of text is closed. A reader that follows each word looks at the last block alone, or
 * long answers would cost the square of their length.
 */
const BLOCK_LENGTH = 4096;

/** An answer while it is being made. Grows; changes are hinted at under `draftHint`. */
export interface Draft {
  readonly text: string;
  /** What has been said since a reader was there, and where it is then. */
  since(place: DraftPlace): { readonly text: string; readonly place: DraftPlace };
  /** Once they are known; [] where there are none. */
  readonly sources: readonly ScoredPassage[] | undefined;
  /** Nothing more comes; how it ended is in the prediction. */
  readonly isOver: boolean;
}

export interface DraftWriter extends Draft {
  say(text: string): void;
  found(sources: readonly ScoredPassage[]): void;
  /** What was held back is said, and the draft is forgotten here; who reads it reads on. */
  end(): void;
}

/** The id under which changes of a prediction's draft are hinted at. */
export function draftHint(predictionId: string): string {
  return `draft/${predictionId}`;
}

export interface DraftEvents {
  onChange(): void;
  /** Before the last change is told. */
  onEnd(): void;
}

/**
 * A class for the sake of its getters: an object literal that has one keeps all that it speaks of, here the text, until V8
 * collects all of the heap.
 */
export class AnswerDraft implements DraftWriter {
  readonly #blocks = [""];
  readonly #events: DraftEvents;
  #sources: readonly ScoredPassage[] | undefined;
  #isOver = false;
  /** Half of a character that two pieces share. */
  #held = "";

  constructor(events: DraftEvents) {
    this.#events = events;
  }

  get text(): string {
    return this.#blocks.join("");
  }

  get sources(): readonly ScoredPassage[] | undefined {
    return this.#sources;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  since({ block, at }: DraftPlace): { readonly text: string; readonly place: DraftPlace } {
    const blocks = this.#blocks;
    return {
      text: blocks.slice(block).join("").slice(at),
      place: { block: blocks.length - 1, at: blocks.at(-1)?.length ?? 0 },
    };
  }

  say(piece: string): void {
    if (this.#isOver || piece === "") return;
    const whole = this.#held + piece;
    const isSplit = /[\ud800-\udbff]$/.test(whole);
    this.#held = isSplit ? whole.slice(-1) : "";
    this.#append(isSplit ? whole.slice(0, -1) : whole);
    this.#events.onChange();
  }

  found(sources: readonly ScoredPassage[]): void {
    this.#sources = sources;
    this.#events.onChange();
  }

  end(): void {
    if (this.#isOver) return;
    this.#append(this.#held);
    this.#isOver = true;
    this.#events.onEnd();
    this.#events.onChange();
  }

  #append(text: string): void {
    const last = (this.#blocks.pop() ?? "") + text.toWellFormed();
    this.#blocks.push(last);
    if (last.length >= BLOCK_LENGTH) this.#blocks.push("");
  }
}
