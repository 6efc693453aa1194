/** An answer that was begun and came to no end of its own: what a caller is told, and which prediction has the rest. */
import { AuspexError, type ErrorCode } from "../domain/error.ts";

/** Told apart from a refusal, after which there is no prediction. */
export class AnswerFailed extends AuspexError {
  readonly predictionId: string;

  constructor(predictionId: string, code: ErrorCode, message: string) {
    super(code, message);
    this.predictionId = predictionId;
  }
}
