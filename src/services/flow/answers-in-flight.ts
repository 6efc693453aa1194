/**
 * Answers that are not finished, in this process: how many there are, of which chats, and what each has come to.
 *
 * What an answer has come to is kept once, whoever reads it and however slowly: a reader keeps its place in the text
 * and gets what is new in one piece. So a reader that never reads costs nothing and slows nobody.
 */
import type { ScoredPassage } from "../../domain/chatflow.ts";
import { AuspexError } from "../../domain/error.ts";
import type { Hints } from "../hints.ts";
import { Turns } from "./turns.ts";

/** The rounds that answers may wait for a place in: with endpoints that stall, later ones would miss their deadline. */
const ROUNDS = 4;

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

export interface AnswerPlace {
  readonly predictionId: string;
  readonly chatflowId: string;
  readonly chatId: string;
}

export interface AnswersInFlight {
  /** Before it is written. Throws `resource_exhausted` when there are too many. */
  admit(place: AnswerPlace): void;
  /**
   * Does the work of one when its turn has come, first come, first served. It was admitted, or was left behind by an
   * earlier process. Rejects as the work does, and when the signal is aborted.
   */
  make<T>(place: AnswerPlace, signal: AbortSignal, work: (draft: DraftWriter) => Promise<T>): Promise<T>;
  /** It is finished, or was never written. */
  release(predictionId: string): void;
  /** Ids of the predictions of a chat's unfinished answers. */
  ofChat(chatflowId: string, chatId: string): readonly string[];
  /** While it is being made, or has just been. */
  draft(predictionId: string): Draft | undefined;
  unfinished(): number;
}

/** @param answersMax that are made at once */
export function createAnswersInFlight(answersMax: number, hints: Hints): AnswersInFlight {
  const places = new Map<string, AnswerPlace>();
  const drafts = new Map<string, Draft>();
  const turns = new Turns({ atOnce: answersMax, waiting: Number.POSITIVE_INFINITY, what: "answers" });

  function draftOf(id: string): DraftWriter {
    const blocks = [""];
    let sources: readonly ScoredPassage[] | undefined;
    let isOver = false;
    /** Half of a character that two pieces share. */
    let held = "";
    const changed = () => hints.emit(draftHint(id));
    const append = (text: string) => {
      const last = (blocks.pop() ?? "") + text.toWellFormed();
      blocks.push(last);
      if (last.length >= BLOCK_LENGTH) blocks.push("");
    };
    const draft: DraftWriter = {
      get text() {
        return blocks.join("");
      },
      since: ({ block, at }) => ({
        text: blocks.slice(block).join("").slice(at),
        place: { block: blocks.length - 1, at: blocks.at(-1)?.length ?? 0 },
      }),
      get sources() {
        return sources;
      },
      get isOver() {
        return isOver;
      },
      say(piece) {
        if (isOver || piece === "") return;
        const whole = held + piece;
        const isSplit = /[\ud800-\udbff]$/.test(whole);
        held = isSplit ? whole.slice(-1) : "";
        append(isSplit ? whole.slice(0, -1) : whole);
        changed();
      },
      found(passages) {
        sources = passages;
        changed();
      },
      end() {
        if (isOver) return;
        append(held);
        isOver = true;
        if (drafts.get(id) === draft) drafts.delete(id);
        changed();
      },
    };
    return draft;
  }

  return {
    admit(place) {
      if (places.size >= answersMax * ROUNDS) {
        throw new AuspexError("resource_exhausted", "too many answers are under way; try again later", {
          retryAfterMs: 1000,
        });
      }
      places.set(place.predictionId, place);
    },
    make(place, signal, work) {
      places.set(place.predictionId, place);
      return turns.take(undefined, signal, () => {
        const draft = draftOf(place.predictionId);
        drafts.set(place.predictionId, draft);
        return work(draft);
      });
    },
    release: (predictionId) => void places.delete(predictionId),
    ofChat: (chatflowId, chatId) =>
      [...places.values()]
        .filter((place) => place.chatflowId === chatflowId && place.chatId === chatId)
        .map(({ predictionId }) => predictionId),
    draft: (predictionId) => drafts.get(predictionId),
    unfinished: () => places.size,
  };
}
