import { expect, test } from "vitest";
import { createAnswersInFlight } from "../../../src/services/flow/answers-in-flight.ts";
import { DRAFT_START, type DraftWriter, draftHint } from "../../../src/services/flow/draft.ts";
import { createHints } from "../../../src/services/hints.ts";

const place = (predictionId: string, chatId = "chat") => ({ predictionId, chatflowId: "flow", chatId });

test("a reader gets what is new in one piece, however long it was away, and no half of a character", async () => {
  const answers = createAnswersInFlight(1, createHints());
  await answers.make(place("a"), new AbortController().signal, async (draft) => {
    const said = ["Hello", ", ", "w\ud83d", "\ude00rld", "x".repeat(4096), "y".repeat(9000), "\ud83d", "!"];
    let [whole, at] = ["", DRAFT_START];
    const slow = DRAFT_START;
    for (const piece of said) {
      draft.say(piece);
      const next = draft.since(at);
      expect(next.text.isWellFormed()).toBe(true);
      whole += next.text;
      at = next.place;
      expect(draft.since(at).text).toBe("");
      expect(draft.since(slow).text).toBe(whole);
    }
    draft.say("\ud83d");
    draft.end();
    whole += draft.since(at).text;
    expect(whole).toBe(draft.text);
    expect(whole).toBe(`Hello, w😀rld${"x".repeat(4096)}${"y".repeat(9000)}\ufffd!\ufffd`);
    draft.say("too late");
    expect(draft.text).toBe(whole);
    expect(draft.isOver).toBe(true);
  });
  expect(answers.draft("a")).toBeUndefined();
});

test("so many are made at once, and four times as many may be unfinished", async () => {
  const answers = createAnswersInFlight(2, createHints());
  const ids = Array.from({ length: 8 }, (_, index) => `id-${index}`);
  for (const id of ids) answers.admit(place(id, id));
  expect(() => answers.admit(place("more"))).toThrow("too many answers are under way");
  const begun: DraftWriter[] = [];
  const ends = ids.map(() => Promise.withResolvers<void>());
  const leaving = new AbortController();
  const made = ids.map((id, index) =>
    answers.make(
      place(id, id),
      index === 3 ? leaving.signal : new AbortController().signal,
      async (draft) => {
        begun.push(draft);
        await ends[index]?.promise;
        draft.end();
      },
    ),
  );
  await new Promise(setImmediate);
  expect(begun.length).toBe(2);
  leaving.abort();
  await expect(made[3]).rejects.toThrow();
  for (const end of ends) end.resolve();
  await Promise.all(made.filter((_, index) => index !== 3));
  expect(begun.length).toBe(7);
  expect(answers.ofChat("flow", "id-1")).toEqual(["id-1"]);
  for (const id of ids) answers.release(id);
  expect(answers.unfinished()).toBe(0);
  expect(answers.ofChat("flow", "id-1")).toEqual([]);
});

test("each change is hinted at", async () => {
  const hints = createHints();
  const answers = createAnswersInFlight(1, hints);
  const { signal } = new AbortController();
  const changes = hints.subscribe("a", draftHint("a"));
  await answers.make(place("a"), signal, async (draft) => {
    for (const change of [() => draft.found([]), () => draft.say("x"), () => draft.end()]) {
      const told = changes.next(signal);
      change();
      await told;
    }
  });
  changes.close();
});
