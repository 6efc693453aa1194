/**
 * An answer as server-sent events (spec/studio.md §2.4), framed as the clients of this API know them: a line
 * `message:`, then `data:` without a blank and one line of JSON. The stream is pulled: a reader that does not read
 * costs one event and the socket's buffers.
 */
import type { Answer, StreamAnswerResponse } from "../../../../gen/auspex/v1/chatflow_pb.ts";
import { AuspexError } from "../../../domain/error.ts";
import type { JsonObject, JsonValue } from "../../../domain/payload.ts";
import { within } from "../../within.ts";
import { renderPassage, renderPicture } from "./render.ts";

/** As the original. */
export const HEARTBEAT_MS = 30_000;

const DONE = "[DONE]";

export function frame(event: string, data: JsonValue): string {
  return `message:\ndata:${JSON.stringify({ event, data })}\n\n`;
}

/**
 * What comes after `started`. Once the head is out, whatever goes wrong is an event, and `end` comes last in any case.
 *
 * @param question as it came; undefined for none
 */
export async function* frames(
  events: AsyncIterator<StreamAnswerResponse>,
  question: string | undefined,
  quietMs: number = HEARTBEAT_MS,
): AsyncGenerator<string> {
  let said = false;
  /** Found before anything was said: clients put them to the message that `start` begins. */
  let sources = "";
  /** The first piece is told twice: clients begin a message with it, and then collect tokens. */
  const say = (piece: string): string => {
    const begin = said ? "" : frame("start", piece) + sources;
    said = true;
    return begin + frame("token", piece);
  };
  try {
    let next = events.next();
    for (;;) {
      const result = await within(next, quietMs);
      if (result === undefined) {
        yield ":heartbeat\n\n";
        continue;
      }
      if (result.done) throw new AuspexError("internal", "the answer ended before it was complete");
      const { event } = result.value;
      if (event.case === "token") yield say(event.value);
      if (event.case === "sources") {
        sources = frame("sourceDocuments", event.value.passages.map(renderPassage));
        if (said) yield sources;
      }
      if (event.case === "answer") {
        // What has no pieces is told in one.
        yield `${said ? "" : say(event.value.text)}${lastFrames(event.value, question)}`;
        break;
      }
      next = events.next();
    }
  } catch (thrown) {
    const { code, message } = AuspexError.from(thrown);
    yield code === "aborted" ? frame("abort", DONE) : frame("error", message);
  } finally {
    await events.return?.();
  }
  yield frame("end", DONE);
}

function lastFrames(answer: Answer, question: string | undefined): string {
  const { chatId, messageId, sessionId, memoryType, followUpPrompts, pictures, usage } = answer;
  const metadata: JsonObject = {
    chatId,
    chatMessageId: messageId,
    ...(question && { question }),
    sessionId,
    ...(memoryType !== "" && { memoryType }),
    ...(followUpPrompts.length > 0 && { followUpPrompts: [...followUpPrompts] }),
  };
  const counted = usage && {
    input_tokens: usage.promptTokens,
    output_tokens: usage.completionTokens,
    total_tokens: usage.promptTokens + usage.completionTokens,
  };
  return [
    pictures.length > 0 ? frame("usedTools", pictures.map(renderPicture)) : "",
    counted ? frame("usageMetadata", counted) : "",
    frame("metadata", metadata),
  ].join("");
}
