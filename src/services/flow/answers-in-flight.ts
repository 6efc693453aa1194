/** Answers that are not finished, in this process: how many there are, of which chats, and what each has come to. */
import { AuspexError } from "../../domain/error.ts";
import type { Hints } from "../hints.ts";
import { AnswerDraft, type Draft, type DraftWriter, draftHint } from "./draft.ts";
import { Turns } from "./turns.ts";

/** The rounds that answers may wait for a place in: with endpoints that stall, later ones would miss their deadline. */
const ROUNDS = 4;

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
        const id = place.predictionId;
        const draft = new AnswerDraft({
          onChange: () => hints.emit(draftHint(id)),
          onEnd() {
            if (drafts.get(id) === draft) drafts.delete(id);
          },
        });
        drafts.set(id, draft);
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
