/** What a question is searched for. */
import type { SaidMessage } from "../../domain/chatflow.ts";
import type { SeenPicture } from "./generator.ts";

/** Words that say how something is asked, not what about. English: in other languages a follow-up stands for itself. */
const EMPTY_WORDS: ReadonlySet<string> = new Set(
  (
    "a about again all also am an and any are as at be because been but by can could did do does else example " +
    "explain few for from further give had has have he her here him his how i if in into is it its just know let " +
    "like many may me mean means might more most much my no nor not now of off ok okay on one ones or other our out " +
    "please really same say she should show so some still such tell than thank thanks that the their them then " +
    "there these they thing things this those to too us very was we well were what when where which while who whom " +
    "whose why will with would yes you your"
  ).split(" "),
);

/** A question with this many words of its own stands for itself. */
const OWN_WORDS_MIN = 2;
/** A longer one means something even if we know none of its words. */
const FOLLOW_UP_WORDS_MAX = 8;

/** Words that carry what is asked about, lower case. */
export function contentWords(text: string): readonly string[] {
  return wordsOf(text).filter((word) => !EMPTY_WORDS.has(word));
}

function wordsOf(text: string): readonly string[] {
  return text.toLowerCase().match(/[\p{L}\p{N}_]+/gu) ?? [];
}

/**
 * The question, together with the one before it where it says hardly anything by itself ("and why?"), and with what
 * its pictures show.
 */
export function searchText(
  question: string,
  said: readonly SaidMessage[],
  pictures: readonly SeenPicture[],
): string {
  const labels = pictures.flatMap((picture) => picture.labels);
  const words = wordsOf(question);
  const isFollowUp =
    labels.length === 0 &&
    words.length <= FOLLOW_UP_WORDS_MAX &&
    contentWords(question).length < OWN_WORDS_MIN;
  const before = isFollowUp ? said.findLast(({ role }) => role === "user")?.content : undefined;
  return [before, question, labels.join(", ")].filter((part) => part).join("\n");
}
