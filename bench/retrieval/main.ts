/** `node bench/retrieval/main.ts`: whether questions find the passages that answer them. README.md beside it. */
import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { createBaseline } from "./baseline.ts";
import { type DocumentationFlow, type FoundPassage, MODES, type Mode, startFlow } from "./flow.ts";
import { DEPTH, type Figures, type Find, figuresOf, find, TOP_K, worst } from "./measure.ts";
import { type AnswerableQuestion, comparable, type Question, readQuestions } from "./questions.ts";

const PASSAGES_MIN = 200;
const WORST = 10;

const HELP = `node bench/retrieval/main.ts [options]

Upserts the project's own documentation into a chatflow of a real server, asks it the questions of questions.json, and
tells how many find a passage that answers, beside BM25 of a library over the same passages.

  --held-out      the half that was set aside, in place of the half for development
  --json <file>   writes the figures, ranks and scores there too
  --help`;

interface ModeResult extends Figures {
  readonly way: string;
  /** Unanswerable questions that found nothing. */
  readonly nothing: number;
  readonly finds: readonly Find[];
  /** What unanswerable questions found. */
  readonly strays: readonly { readonly id: string; readonly found: readonly FoundPassage[] }[];
}

interface Asked {
  readonly questions: readonly AnswerableQuestion[];
  readonly unanswerable: readonly Question[];
}

async function measure(
  way: string,
  { questions, unanswerable }: Asked,
  search: (question: string) => Promise<readonly FoundPassage[]>,
): Promise<ModeResult> {
  const finds: Find[] = [];
  for (const question of questions) finds.push(find(question, await search(question.question)));
  const strays: { id: string; found: readonly FoundPassage[] }[] = [];
  for (const { id, question } of unanswerable) strays.push({ id, found: await search(question) });
  const nothing = strays.filter(({ found }) => found.length === 0).length;
  return { way, ...figuresOf(finds), nothing, finds, strays };
}

async function measureMode(flow: DocumentationFlow, mode: Mode, asked: Asked): Promise<ModeResult> {
  await flow.configure({ mode, topK: DEPTH });
  return await measure(mode, asked, async (question) => (await flow.ask(question)).passages);
}

interface Extractive {
  readonly questions: number;
  readonly inFirstSource: number;
  readonly inText: number;
  /** Unanswerable ones that were told that nothing fits. */
  readonly refused: number;
}

/** A default flow from the question to its answer. */
async function measureAnswers(
  flow: DocumentationFlow,
  { questions, unanswerable }: Asked,
): Promise<Extractive> {
  await flow.configure({ mode: "hybrid", topK: TOP_K });
  let [inFirstSource, inText, refused] = [0, 0, 0];
  for (const question of questions) {
    const { text, passages } = await flow.ask(question.question);
    if (find(question, passages).rank === 1) inFirstSource += 1;
    if (question.answers.some((answer) => comparable(text).includes(comparable(answer.text)))) inText += 1;
  }
  for (const { question } of unanswerable) {
    if ((await flow.ask(question)).passages.length === 0) refused += 1;
  }
  return { questions: questions.length, inFirstSource, inText, refused };
}

function share(count: number, of: number): string {
  return `${(count / of).toFixed(3)} (${count} of ${of})`;
}

function tableText(results: readonly ModeResult[], unanswerable: number): string {
  const rows = results.map(
    ({ way, questions, at1, at4, mrr, nothing }) =>
      `| ${way} | ${share(at1, questions)} | ${share(at4, questions)} | ${mrr.toFixed(3)} | ${nothing} of ${unanswerable} |`,
  );
  return [
    `| found by | recall@1 | recall@${TOP_K} | MRR@${DEPTH} | unanswerable: nothing found |`,
    "|---|---|---|---|---|",
    ...rows,
  ].join("\n");
}

function brief({ file, text, score }: FoundPassage): string {
  const cosine = score === undefined ? "" : ` (${score.toFixed(2)})`;
  return `${file}${cosine}: ${comparable(text).slice(0, 90)}`;
}

function worstText({ way, finds }: ModeResult): string {
  const lines = worst(finds, WORST).flatMap(({ question, rank, found }) => [
    `  ${Number.isFinite(rank) ? `rank ${rank}` : "not found"}: ${question.question} [${question.id}]`,
    `    wanted ${question.answers.map(({ file, text }) => `${file}: ${text}`).join(" or ")}`,
    `    found  ${found[0] ? brief(found[0]) : "nothing"}`,
  ]);
  return [`${way}, the worst:`, ...lines].join("\n");
}

/** A result without the passages' texts; a rank of null says that no right passage was found. */
function recordOf({ finds, strays, ...figures }: ModeResult) {
  const places = (found: readonly FoundPassage[]) => found.map(({ file, score }) => ({ file, score }));
  return {
    ...figures,
    finds: finds.map(({ question, rank, found }) => ({
      id: question.id,
      rank: Number.isFinite(rank) ? rank : null,
      found: places(found),
    })),
    strays: strays.map(({ id, found }) => ({ id, found: places(found) })),
  };
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      "held-out": { type: "boolean", default: false },
      json: { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return;
  }
  const { set, documents } = await readQuestions();
  const half = values["held-out"] ? "held-out" : "development";
  const isAsked = (question: Question) => question.half === half;
  const asked: Asked = {
    questions: set.questions.filter(isAsked),
    unanswerable: set.unanswerable.filter(isAsked),
  };
  await using flow = await startFlow(documents);
  const { passages, upsertSeconds } = flow;
  console.log(
    `${documents.length} documents, ${passages.length} passages (upserted in ${upsertSeconds.toFixed(1)} s); ` +
      `${half}: ${asked.questions.length} questions with answers, ${asked.unanswerable.length} without\n`,
  );
  const baseline = createBaseline(passages, DEPTH);
  const results = [await measure("BM25+ (minisearch)", asked, async (question) => baseline(question))];
  for (const mode of MODES) results.push(await measureMode(flow, mode, asked));
  const answers = await measureAnswers(flow, asked);
  console.log(tableText(results, asked.unanswerable.length));
  console.log(
    `\nextractive answers of a default flow: the first source is right in ${share(answers.inFirstSource, answers.questions)}, ` +
      `the text has the words in ${share(answers.inText, answers.questions)}; ` +
      `${answers.refused} of ${asked.unanswerable.length} unanswerable ones are told that nothing fits`,
  );
  for (const result of results) console.log(`\n${worstText(result)}`);
  if (values.json !== undefined) {
    const report = { half, passages: passages.length, results: results.map(recordOf), answers };
    await writeFile(values.json, `${JSON.stringify(report, null, 2)}\n`);
  }
  if (passages.length < PASSAGES_MIN) {
    console.log(`\nNOT MET  passages: ${passages.length}, at least ${PASSAGES_MIN}`);
    process.exitCode = 1;
  }
}

await main();
