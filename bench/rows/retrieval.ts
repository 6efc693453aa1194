/**
 * The search over 100,000 passages: its latency in each mode, how much of the exact answer it finds, and what questions
 * cost the predictions beside them. The first passages are paragraphs of documentation, embedded by auspex/minilm. As
 * there are too few of them, each of the others is made of two: their words, and the middle of their vectors.
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { ChatflowService } from "../../gen/auspex/v1/chatflow_pb.ts";
import { CreatePredictionRequestSchema, PredictionService } from "../../gen/auspex/v1/prediction_pb.ts";
import type { RetrievalMode, RetrieverDefinition } from "../../src/domain/chatflow.ts";
import { openStore } from "../../src/store/open-store.ts";
import type { Store } from "../../src/store/store.ts";
import { clientOf, photograph, startServer, type TestServer } from "../../test/harness.ts";
import { DEFINITION } from "../../test/store/chatflow-records.ts";
import { documentationTexts } from "../documentation-texts.ts";
import type { LoadOrder, LoadResult } from "../load.ts";
import { type Generator, measure, type Target } from "../rounds.ts";
import type { BenchContext, Goal, Row, RowResult, Table } from "../row.ts";
import { percentile } from "../statistics.ts";
import { CREATE_PATH } from "./mlp-create.ts";

const PASSAGES = 100_000;
/** Fifty seconds of two cores. */
const EMBEDDED = 10_000;
/** Of paragraphs that are no passages. */
const QUESTIONS = 200;
const QUESTION_WORDS = 12;
const FOUND = 10;
const MODES = ["hybrid", "vector", "keyword"] as const satisfies readonly RetrievalMode[];
const SEARCH_P95_MS = 80;
const RECALL = 0.95;
/** Each takes a tenth of a second, for every passage is looked at. */
const RECALLED = 100;
/** The predictions' p95 may be half as long again. */
const BESIDE = 0.667;
const QUESTIONS_PER_SECOND = 5;
const IN_FLIGHT = [1, 4] as const;
const WARM_UP_SECONDS = 2;
const FLOW = "bench";
/** Texts of a prediction, and predictions in flight. */
const EMBED = { texts: 64, inFlight: 4 } as const;
const ADDED_AT_ONCE = 100;

interface Entry {
  readonly text: string;
  readonly vector: Float32Array;
}

const RETRIEVER: RetrieverDefinition = {
  model: "auspex/minilm",
  mode: "hybrid",
  topK: 4,
  minScore: null,
  chunkSize: 1000,
  chunkOverlap: 100,
  returnSources: true,
};

// ---- passages ------------------------------------------------------------------------------------------------------

async function embed(
  server: TestServer,
  texts: readonly string[],
  progress: BenchContext["progress"],
): Promise<Entry[]> {
  const predictions = clientOf(server, "grpc", PredictionService);
  const entries: Entry[] = [];
  let next = 0;
  async function work(): Promise<void> {
    while (next < texts.length) {
      const start = next;
      const part = texts.slice(start, start + EMBED.texts);
      next += EMBED.texts;
      const { prediction } = await predictions.createPrediction({
        model: "auspex/minilm",
        input: { texts: part },
        wait: { seconds: 60n },
      });
      const embeddings = prediction?.output?.embeddings;
      if (!Array.isArray(embeddings)) throw new Error(`no embeddings: ${prediction?.error?.message}`);
      for (const [index, text] of part.entries()) {
        entries[start + index] = { text, vector: Float32Array.from(embeddings[index] as number[]) };
      }
      progress(`${next} of ${texts.length} texts embedded`);
    }
  }
  await Promise.all(Array.from({ length: EMBED.inFlight }, work));
  return entries;
}

/** The entries, and as many of pairs of them as are missing. */
function withPairs(entries: readonly Entry[], count: number): Entry[] {
  const all = [...entries];
  for (let index = 0; all.length < count; index++) {
    const round = 1 + Math.floor(index / entries.length);
    const [one, other] = [
      entries[index % entries.length],
      entries[(index * 7 + round * 13) % entries.length],
    ];
    if (!one || !other) throw new Error("there are no entries");
    const vector = one.vector.map((each, at) => each + (other.vector[at] ?? 0));
    const length = Math.hypot(...vector);
    all.push({
      text: `${one.text} ${other.text}`,
      vector: vector.map((each) => each / length),
    });
  }
  return all;
}

async function fill(
  store: Store,
  entries: readonly Entry[],
  progress: BenchContext["progress"],
): Promise<void> {
  const of = { principal: "local", createdAt: 1 };
  const definition = { ...DEFINITION, memory: null, retriever: RETRIEVER };
  const flow = { name: FLOW, version: 1, definition, keys: [], fromFile: false, updatedAt: 1 };
  await store.chatflows.create({ id: FLOW, ...of, ...flow });
  const upsert = { id: "upsert", chatflowId: FLOW, ...of };
  await store.upserts.begin(upsert);
  for (let start = 0; start < entries.length; start += ADDED_AT_ONCE) {
    const passages = entries
      .slice(start, start + ADDED_AT_ONCE)
      .map(({ text, vector }, index) => ({ text, metadata: { source: `${start + index}.md` }, vector }));
    await store.passages.add({ chatflowId: FLOW, chatId: "", upsertId: "upsert", passages });
    progress(`${start} of ${entries.length} passages stored`);
  }
  const counts = { added: entries.length, skipped: 0, addedPassages: [] };
  await store.upserts.end({ upsert: { ...upsert, ...counts }, chatId: "", replaced: [] });
}

// ---- the search alone ----------------------------------------------------------------------------------------------

function search(store: Store, mode: RetrievalMode, { text, vector }: Entry, limit: number) {
  const question = text.split(" ").slice(0, QUESTION_WORDS).join(" ");
  const of = { chatflowId: FLOW, chatId: "" };
  return store.passages.search({ ...of, mode, text: question, vector, limit, minScore: -1 });
}

/** One search after the other. */
function searching(store: Store, mode: RetrievalMode, questions: readonly Entry[]): Target {
  let asked = 0;
  return {
    name: mode,
    pid: process.pid,
    async load({ seconds }): Promise<LoadResult> {
      const times: number[] = [];
      const cpu = process.cpuUsage();
      const began = performance.now();
      while (performance.now() - began < seconds * 1000) {
        const question = questions[asked++ % questions.length];
        if (!question) throw new Error("there are no questions");
        const sent = performance.now();
        await search(store, mode, question, FOUND);
        times.push((performance.now() - sent) * 1000);
      }
      times.sort((a, b) => a - b);
      const { user, system } = process.cpuUsage(cpu);
      const [p50, p95, p99] = [0.5, 0.95, 0.99].map((share) => percentile(times, share));
      return {
        requests: times.length,
        seconds: (performance.now() - began) / 1000,
        p50: p50 ?? Number.NaN,
        p95: p95 ?? Number.NaN,
        p99: p99 ?? Number.NaN,
        cpuMicros: user + system,
        checked: 0,
        response: new Uint8Array(),
      };
    },
  };
}

/** Share of the nearest ten that the search by meaning finds. */
async function recall(store: Store, entries: readonly Entry[], questions: readonly Entry[]): Promise<number> {
  let right = 0;
  for (const question of questions) {
    const cosines = Float32Array.from(entries, ({ vector }) => dot(vector, question.vector));
    // What is as near as the tenth is right, too.
    const tenth = (cosines.toSorted().at(-FOUND) ?? 1) - 1e-5;
    const found = await search(store, "vector", question, FOUND);
    right += found.filter(({ score }) => score !== null && score >= tenth).length;
  }
  return right / (questions.length * FOUND);
}

function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let index = 0; index < a.length; index++) sum += (a[index] ?? 0) * (b[index] ?? 0);
  return sum;
}

// ---- beside predictions --------------------------------------------------------------------------------------------

/** Asks at a steady rate, whatever the answers take, until it is stopped. */
function startAsking(server: TestServer, questions: readonly Entry[]): () => Promise<number> {
  const chatflows = clientOf(server, "grpc", ChatflowService);
  const asked: Promise<unknown>[] = [];
  const timer = setInterval(() => {
    const text = questions[asked.length % questions.length]?.text
      .split(" ")
      .slice(0, QUESTION_WORDS)
      .join(" ");
    const answer = chatflows.createAnswer({ chatflowId: FLOW, question: { text: text ?? "" } });
    // Looked at in the end.
    answer.catch(() => undefined);
    asked.push(answer);
  }, 1000 / QUESTIONS_PER_SECOND);
  return async () => {
    clearInterval(timer);
    await Promise.all(asked);
    return asked.length;
  };
}

function besideTargets(
  server: TestServer,
  generator: Generator,
  image: Uint8Array,
  questions: readonly Entry[],
) {
  const request = toBinary(
    CreatePredictionRequestSchema,
    create(CreatePredictionRequestSchema, {
      model: "auspex/mobilenet",
      files: { image: Uint8Array.from(image) },
      wait: { seconds: 60n },
    }),
  );
  const address = new URL(server.grpcUrl).host;
  const load = {
    to: { kind: "grpc", address, path: CREATE_PATH },
    request,
    expect: "succeeded prediction",
  } as const;
  const pid = server.process.pid ?? 0;
  const beside: Target = {
    name: `beside ${QUESTIONS_PER_SECOND} questions a second`,
    pid,
    async load(round: Pick<LoadOrder, "seconds" | "inFlight">) {
      const stop = startAsking(server, questions);
      try {
        return await generator.run({ ...load, ...round });
      } finally {
        await stop();
      }
    },
  };
  return [{ name: "no questions", pid, load }, beside] as const;
}

// ---- the row -------------------------------------------------------------------------------------------------------

async function run({ generator, seconds, rounds, progress }: BenchContext): Promise<RowResult> {
  const dataDir = await mkdtemp(join(tmpdir(), "auspex-retrieval-"));
  try {
    const texts = await documentationTexts(EMBEDDED + QUESTIONS);
    const embedded = await embedAll(dataDir, texts, progress);
    const questions = embedded.slice(-QUESTIONS);
    const entries = withPairs(embedded.slice(0, -QUESTIONS), PASSAGES);
    const plan = { seconds, rounds, warmUpSeconds: WARM_UP_SECONDS };
    const tables: Table[] = [];
    const goals: Goal[] = [];

    const store = await openStore({ dataDir, queueMax: 1 });
    try {
      await fill(store, entries, progress);
      const measurements = await measure(
        generator,
        MODES.map((mode) => searching(store, mode, questions)),
        { ...plan, inFlight: 1, onRound: (round) => progress(`searches: round ${round} of ${rounds}`) },
      );
      tables.push({ title: "the search alone, one after the other", measurements });
      for (const { name, p95 } of measurements) {
        const what = `${SEARCH_P95_MS} ms of the p95 of a search, ${name}`;
        goals.push({ what, value: (SEARCH_P95_MS * 1000) / p95.median, atLeast: 1 });
      }
      const value = await recall(store, entries, questions.slice(0, RECALLED));
      goals.push({ what: `recall of the exact ${FOUND} nearest`, value, atLeast: RECALL });
    } finally {
      await store.close();
    }

    await using server = await startServer({ dataDir, settings: { WORKERS: "2" } });
    const targets = besideTargets(server, generator, await readFile(photograph("zebra")), questions);
    for (const inFlight of IN_FLIGHT) {
      const onRound = (round: number) => progress(`${inFlight} in flight: round ${round} of ${rounds}`);
      const measurements = await measure(generator, targets, { ...plan, inFlight, onRound });
      tables.push({ title: `predictions, ${inFlight} in flight`, measurements });
      const [without, beside] = measurements.map(({ p95 }) => p95.median);
      const what = `${inFlight} in flight: p95 without questions, of that beside them`;
      goals.push({ what, value: (without ?? Number.NaN) / (beside ?? Number.NaN), atLeast: BESIDE });
    }
    return { settings: settingsOf({ rounds, seconds }), tables, goals };
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
}

async function embedAll(dataDir: string, texts: readonly string[], progress: BenchContext["progress"]) {
  await using server = await startServer({ dataDir, settings: { WORKERS: "2" } });
  const embedded = await embed(server, texts, progress);
  await server.terminate();
  return embedded;
}

function settingsOf({
  rounds,
  seconds,
}: {
  rounds: number;
  seconds: number;
}): Readonly<Record<string, string>> {
  return {
    passages: `${PASSAGES} of one flow: ${EMBEDDED} paragraphs of documentation, the rest made of two each`,
    questions: `${QUESTIONS} other paragraphs, their first ${QUESTION_WORDS} words`,
    predictions:
      "zebra.jpg on auspex/mobilenet, 2 workers; a question is embedded by them, searched for and answered",
    rounds: `${rounds} × ${seconds} s for each, in turn, after ${WARM_UP_SECONDS} s of warming up; medians`,
  };
}

export const retrieval: Row = {
  name: "retrieval",
  title: "the search over 100,000 passages, and predictions beside it",
  run,
};
