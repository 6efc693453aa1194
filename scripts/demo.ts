/**
 * A real photograph through every door of a real server, side by side: `npm run demo`. Exits with 0 only if every
 * door said the same of it and every prediction can be found afterwards.
 */
import { readFile } from "node:fs/promises";
import { basename, extname } from "node:path";
import { parseArgs } from "node:util";
import { Code, ConnectError } from "@connectrpc/connect";
import { ModelService } from "../gen/auspex/v1/model_pb.ts";
import { PredictionService } from "../gen/auspex/v1/prediction_pb.ts";
import { clientOf, photograph, startServer, type TestServer } from "../test/harness.ts";
import { type Answer, DEMO_DOORS, MODEL, type Picture } from "./demo-doors.ts";

const HELP = `npm run demo -- [options]

Starts a server on free ports with a throw-away data folder, has it classify one photograph through gRPC, Connect and
REST, prints the answers side by side, and stops it.

  --image <file>   another picture than the zebra (JPEG, PNG, WebP or GIF)
  --help`;

/** Floating-point noise between doors would be a different computation; there is one, so the bound is tight. */
const TOLERANCE = 1e-6;
/** Far above what the slowest machine needs; the demo ends by itself whatever happens. */
const TIME_LIMIT_MS = 120_000;

const MEDIA_TYPES: Readonly<Record<string, string>> = {
  ".jpg": "image/jpeg",
  ".jpeg": "image/jpeg",
  ".png": "image/png",
  ".webp": "image/webp",
  ".gif": "image/gif",
};

/** Something that the person at the keyboard can mend; shown without a stack. */
class Advice extends Error {}

async function readPicture(file: string): Promise<Picture> {
  const mediaType = MEDIA_TYPES[extname(file).toLowerCase()];
  if (!mediaType) throw new Advice(`${file} is not named like a JPEG, PNG, WebP or GIF picture`);
  try {
    return { bytes: await readFile(file), mediaType };
  } catch (error) {
    throw new Advice(`the picture cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
}

async function requireModel(server: TestServer, signal: AbortSignal): Promise<string> {
  try {
    const { model } = await clientOf(server, "grpc", ModelService).getModel({ name: MODEL }, { signal });
    return `${MODEL}, ${model?.task ?? "unknown task"}`;
  } catch (error) {
    if (ConnectError.from(error).code !== Code.NotFound) throw error;
    throw new Advice(
      `the model ${MODEL} is not here yet; fetch it with\n\n  npm run models -- pull ${MODEL}\n`,
    );
  }
}

interface Row {
  readonly door: string;
  readonly milliseconds: number;
  readonly answer: Answer;
}

async function throughEveryDoor(server: TestServer, picture: Picture, signal: AbortSignal): Promise<Row[]> {
  const rows: Row[] = [];
  // One after the other, so that each time is that door's own.
  for (const door of DEMO_DOORS) {
    const began = performance.now();
    try {
      const answer = await door.classify(server, picture, signal);
      rows.push({ door: door.name, milliseconds: performance.now() - began, answer });
    } catch (error) {
      throw new Error(`${door.name}: ${error instanceof Error ? error.message : String(error)}`, {
        cause: error,
      });
    }
  }
  return rows;
}

function table(rows: readonly Row[]): string {
  const cells = [
    ["door", "time", "labels", "on the way"],
    ...rows.map(({ door, milliseconds, answer }) => [
      door,
      `${milliseconds.toFixed(0)} ms`,
      // ImageNet's labels list synonyms; the first one fits a table.
      answer.probabilities.map((p) => `${p.label.split(",", 1)[0]} ${p.probability.toFixed(4)}`).join(" · "),
      answer.seen,
    ]),
  ];
  const widths = [0, 1, 2, 3].map((column) => Math.max(...cells.map((line) => line[column]?.length ?? 0)));
  return cells
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("   ")
        .trimEnd(),
    )
    .join("\n");
}

type Check = readonly [claim: string, holds: boolean];

function sameProbabilities(a: Answer, b: Answer): boolean {
  return (
    a.probabilities.length === b.probabilities.length &&
    a.probabilities.every(
      ({ probability }, i) => Math.abs(probability - (b.probabilities[i]?.probability ?? NaN)) <= TOLERANCE,
    )
  );
}

async function checks(
  server: TestServer,
  rows: readonly Row[],
  signal: AbortSignal,
): Promise<readonly Check[]> {
  const answers = rows.map((row) => row.answer);
  const [first] = answers;
  const labels = ({ probabilities }: Answer): string => probabilities.map((p) => p.label).join("\n");
  const page = await clientOf(server, "grpc", PredictionService).listPredictions(
    { pageSize: 200 },
    { signal },
  );
  const listed = new Set(page.predictions.map((prediction) => prediction.id));
  return [
    ["every door gave the same labels", answers.every((a) => first && labels(a) === labels(first))],
    [
      `probabilities equal to ${TOLERANCE.toExponential()}`,
      answers.every((answer) => first !== undefined && sameProbabilities(answer, first)),
    ],
    ["each is a prediction of its own", new Set(answers.map((answer) => answer.id)).size === rows.length],
    ["all are in ListPredictions", answers.every((answer) => listed.has(answer.id))],
  ];
}

async function demo(file: string): Promise<boolean> {
  const signal = AbortSignal.timeout(TIME_LIMIT_MS);
  const picture = await readPicture(file);
  console.log("starting a server on free ports, with a throw-away data folder …");
  // The webhook listener is on this machine, where the server lets nothing out to unless it is told.
  await using server = await startServer({ settings: { EGRESS_ALLOW: "127.0.0.0/8" } });
  console.log(
    `ready in ${(server.startMs / 1000).toFixed(1)} s: gRPC at ${server.grpcUrl}, HTTP at ${server.url}`,
  );
  console.log(`${await requireModel(server, signal)}, classifies ${basename(file)}\n`);
  const rows = await throughEveryDoor(server, picture, signal);
  console.log(`${table(rows)}\n`);
  const results = await checks(server, rows, signal);
  for (const [claim, holds] of results) console.log(`${holds ? "✓" : "✗ NOT SO:"} ${claim}`);
  const code = await server.terminate();
  console.log(`${code === 0 ? "✓" : "✗ NOT SO:"} the server stopped when asked`);
  return code === 0 && results.every(([, holds]) => holds);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { image: { type: "string" }, help: { type: "boolean", short: "h", default: false } },
  });
  if (values.help) {
    console.log(HELP);
    return;
  }
  if (!(await demo(values.image ?? photograph("zebra")))) process.exitCode = 1;
}

function isUsageError(error: unknown): error is Error {
  return error instanceof Error && "code" in error && String(error.code).startsWith("ERR_PARSE_ARGS");
}

try {
  await main();
} catch (error) {
  if (isUsageError(error)) console.error(`${error.message}\n\n${HELP}`);
  else console.error(error instanceof Advice ? error.message : error);
  process.exitCode = isUsageError(error) ? 2 : 1;
}
