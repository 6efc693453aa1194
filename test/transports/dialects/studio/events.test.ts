/** Server-sent events as they go over the wire, to the byte. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import {
  type StreamAnswerResponse,
  StreamAnswerResponseSchema,
} from "../../../../gen/auspex/v1/chatflow_pb.ts";
import { AuspexError } from "../../../../src/domain/error.ts";
import { frames } from "../../../../src/transports/dialects/studio/events.ts";

type Event = MessageInitShape<typeof StreamAnswerResponseSchema>;

async function* stream(
  ...events: readonly (Event | Error | number)[]
): AsyncGenerator<StreamAnswerResponse, undefined> {
  for (const event of events) {
    if (event instanceof Error) throw event;
    if (typeof event === "number") await new Promise((resolve) => setTimeout(resolve, event));
    else yield create(StreamAnswerResponseSchema, event);
  }
}

async function written(events: AsyncIterator<StreamAnswerResponse>, question?: string, quietMs?: number) {
  let text = "";
  for await (const frame of frames(events, question, quietMs)) text += frame;
  return text;
}

const token = (value: string): Event => ({ event: { case: "token", value } });
const answer = (more: object = {}): Event => ({
  event: {
    case: "answer",
    value: { chatId: "c", messageId: "m", sessionId: "s", text: "Zebras graze.", ...more },
  },
});
const METADATA =
  'message:\ndata:{"event":"metadata","data":{"chatId":"c","chatMessageId":"m","sessionId":"s"}}\n\n';
const END = 'message:\ndata:{"event":"end","data":"[DONE]"}\n\n';

describe("frames", () => {
  it("start with the first piece, then sources, pieces, metadata and the end", async () => {
    const sources: Event = {
      event: { case: "sources", value: { passages: [{ text: "t", metadata: { source: "a.md" } }] } },
    };
    expect(await written(stream(sources, token("Ze"), token('b"\n'), answer()))).toBe(
      'message:\ndata:{"event":"start","data":"Ze"}\n\n' +
        'message:\ndata:{"event":"sourceDocuments","data":[{"pageContent":"t","metadata":{"source":"a.md"}}]}\n\n' +
        'message:\ndata:{"event":"token","data":"Ze"}\n\n' +
        'message:\ndata:{"event":"token","data":"b\\"\\n"}\n\n' +
        METADATA +
        END,
    );
  });

  it("tell an answer without pieces in one, and all that there is of metadata", async () => {
    const whole = answer({
      memoryType: "Buffer Window Memory",
      followUpPrompts: ["And then?"],
      pictures: [{ name: "a.png", labels: ["zebra", "horse"] }],
      usage: { promptTokens: 3, completionTokens: 4 },
    });
    expect(await written(stream(whole), "what?")).toBe(
      'message:\ndata:{"event":"start","data":"Zebras graze."}\n\n' +
        'message:\ndata:{"event":"token","data":"Zebras graze."}\n\n' +
        'message:\ndata:{"event":"usedTools","data":[{"tool":"picture","toolInput":{"name":"a.png"},"toolOutput":"zebra, horse"}]}\n\n' +
        'message:\ndata:{"event":"usageMetadata","data":{"input_tokens":3,"output_tokens":4,"total_tokens":7}}\n\n' +
        'message:\ndata:{"event":"metadata","data":{"chatId":"c","chatMessageId":"m","question":"what?","sessionId":"s",' +
        '"memoryType":"Buffer Window Memory","followUpPrompts":["And then?"]}}\n\n' +
        END,
    );
  });

  it("end with the error, or with the abort", async () => {
    const failed = new AuspexError("deadline_exceeded", "the endpoint is silent");
    expect(await written(stream(token("a"), failed))).toBe(
      'message:\ndata:{"event":"start","data":"a"}\n\nmessage:\ndata:{"event":"token","data":"a"}\n\n' +
        `message:\ndata:{"event":"error","data":"the endpoint is silent"}\n\n${END}`,
    );
    expect(await written(stream(new AuspexError("aborted", "stopped")))).toBe(
      `message:\ndata:{"event":"abort","data":"[DONE]"}\n\n${END}`,
    );
    expect(await written(stream(new Error("SQL: secret")))).toBe(
      `message:\ndata:{"event":"error","data":"internal error"}\n\n${END}`,
    );
    expect(await written(stream())).toContain(
      '{"event":"error","data":"the answer ended before it was complete"}',
    );
  });

  it("have a heartbeat in each quiet time, and none while there is something to tell", async () => {
    const text = await written(stream(token("a"), 250, answer()), undefined, 100);
    const beats = text.split(":heartbeat\n\n").length - 1;
    expect(beats).toBeGreaterThanOrEqual(1);
    expect(beats).toBeLessThanOrEqual(3);
    expect(text.replaceAll(":heartbeat\n\n", "")).toBe(await written(stream(token("a"), answer())));
  });

  it("are pulled, one event at a time, and let go of the answer when nobody reads on", async () => {
    let pulled = 0;
    let released = false;
    async function* endless(): AsyncGenerator<StreamAnswerResponse, undefined> {
      try {
        for (;;) {
          pulled++;
          yield create(StreamAnswerResponseSchema, token("a"));
        }
      } finally {
        released = true;
      }
    }
    const reading = frames(endless(), undefined);
    for (let i = 0; i < 3; i++) await reading.next();
    expect(pulled).toBeLessThanOrEqual(4);
    await reading.return(undefined);
    expect(released).toBe(true);
  });
});
