/** The question set: what it asks, of which documents, and what a passage that answers must contain. */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

export const ROOT = join(import.meta.dirname, "..", "..");

export type Half = "development" | "held-out";

export interface Question {
  readonly id: string;
  readonly half: Half;
  readonly question: string;
}

/** A right passage is of one of these files and contains the text beside it. */
export interface Answer {
  readonly file: string;
  readonly text: string;
}

export interface AnswerableQuestion extends Question {
  /** How it is asked, e.g. `how-to`, `limit`, `error`. */
  readonly kind: string;
  readonly answers: readonly Answer[];
}

export interface QuestionSet {
  /** Decides the halves, see `halvesOf`. */
  readonly seed: number;
  /** Paths from the root of the project. */
  readonly documents: readonly string[];
  readonly questions: readonly AnswerableQuestion[];
  /** Nothing in the documents answers these. */
  readonly unanswerable: readonly Question[];
}

export interface SourceDocument {
  readonly file: string;
  readonly text: string;
}

/** Spaces, line breaks and backticks are no part of what is compared: readers of documents may change them. */
export function comparable(text: string): string {
  return text.replaceAll("`", "").replaceAll(/\s+/g, " ");
}

export function isRight(question: AnswerableQuestion, passage: { file: string; text: string }): boolean {
  const text = comparable(passage.text);
  return question.answers.some(
    (answer) => answer.file === passage.file && text.includes(comparable(answer.text)),
  );
}

/** The first half of the ids, in the order of their hashes with the seed, is for development. */
function halvesOf(ids: readonly string[], seed: number): ReadonlyMap<string, Half> {
  const rank = (id: string) => createHash("sha256").update(`${seed}:${id}`).digest("hex");
  const dealt = [...ids].sort((a, b) => (rank(a) < rank(b) ? -1 : 1));
  const middle = Math.ceil(dealt.length / 2);
  return new Map(dealt.map((id, place) => [id, place < middle ? "development" : "held-out"]));
}

/** What is wrong with the set beside the documents as they are now; [] when nothing is. */
function complaintsOf(set: QuestionSet, documents: readonly SourceDocument[]): readonly string[] {
  const texts = new Map(documents.map(({ file, text }) => [file, comparable(text)]));
  const gone = set.questions.flatMap(({ id, answers }) =>
    answers
      .filter(({ file, text }) => !texts.get(file)?.includes(comparable(text)))
      .map(({ file, text }) => `${id}: ${file} does not say ${JSON.stringify(text)} any more`),
  );
  const moved = [set.questions, set.unanswerable].flatMap((questions: readonly Question[]) => {
    const halves = halvesOf(
      questions.map(({ id }) => id),
      set.seed,
    );
    return questions.filter(({ id, half }) => halves.get(id) !== half).map(({ id }) => `${id}: wrong half`);
  });
  return [...gone, ...moved];
}

/** @throws Error that names each question whose answer is gone from its file */
export async function readQuestions(): Promise<{
  readonly set: QuestionSet;
  readonly documents: readonly SourceDocument[];
}> {
  const set: QuestionSet = JSON.parse(await readFile(join(import.meta.dirname, "questions.json"), "utf8"));
  const documents = await Promise.all(
    set.documents.map(async (file) => ({ file, text: await readFile(join(ROOT, file), "utf8") })),
  );
  const complaints = complaintsOf(set, documents);
  if (complaints.length > 0) throw new Error(`the questions need care:\n  ${complaints.join("\n  ")}`);
  return { set, documents };
}
