/**
 * A run: a real server under the load of callers over every door, whatever a test does to it meanwhile, and what the
 * checker says of it afterwards.
 */
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ChatflowService, Retriever_Mode } from "../../gen/auspex/v1/chatflow_pb.ts";
import { PredictionService } from "../../gen/auspex/v1/prediction_pb.ts";
import { DataType } from "../../gen/auspex/v1/tensor_pb.ts";
import {
  clientOf,
  DOORS,
  photograph,
  type ServerOptions,
  startServer,
  type TestServer,
  until,
} from "../harness.ts";
import { writeMlp } from "../models/mlp.ts";
import { writeText } from "../models/text.ts";
import { childrenOf, residentBytes } from "../processes.ts";
import { type Actor, play, type Scene, seeded } from "./actor.ts";
import { check, type Expected, type Violation } from "./checker.ts";
import {
  einsteinPredictionActor,
  einsteinVisionActor,
  studioActor,
  wriftaiActor,
} from "./dialect-clients.ts";
import { type FinalState, readFinalState } from "./final-state.ts";
import { createHistory, type Event, type History, isTerminal, type Probed } from "./history.ts";
import { rpcActor, seenOf } from "./rpc-client.ts";

const MODEL = "local/mlp";
/** Of few words and two numbers a text: a flow has to have one, also where words alone answer. */
const TEXT_MODEL = "local/text";
const PICTURE_MODEL = "auspex/mobilenet-tiny";
const PHOTOGRAPHS = ["zebra", "panda"] as const;
const INPUTS = 24;
const DOCUMENT = `# Animals

Zebras have stripes, and no two have the same.

# Bamboo

Pandas eat bamboo for twelve hours a day.

# Sleep

Horses doze standing up.
`;
const QUESTIONS = ["What do pandas eat each day?", "Which animals have stripes?", "How do horses doze?"];
const PROBE_EVERY_MS = 25;
/** Resident: what a loaded server has, and as much again. */
const MEMORY_MAX = 700 * 1024 ** 2;
/** Long enough for a lease to run out and the work to be done again. */
const SETTLE_MS = 60_000;

export interface RunOptions {
  readonly seed?: number;
  /** Beside those of every run. */
  readonly settings?: Readonly<Record<string, string>>;
  /** How its process is made. */
  readonly launch?: (dataDir: string) => Pick<ServerOptions, "launcher" | "nodeArgs">;
  /** Callers of each door. */
  readonly actorsPerDoor?: number;
  readonly memoryMax?: number;
  /** What befalls the server while its callers go on. The run is over when it resolves. */
  readonly fault: (run: Run) => Promise<void>;
}

export interface Run {
  readonly history: History;
  /** As it stands now. */
  readonly server: TestServer;
  /** Resolves once so many more predictions have been told of. */
  toldMore(count: number): Promise<void>;
  /** Starts the server again on the same data folder; it must be down. */
  restart(): Promise<TestServer>;
}

export interface Verdict {
  readonly events: readonly Event[];
  readonly final: FinalState;
  readonly violations: readonly Violation[];
  /** Predictions that clients were told of. */
  readonly predictions: number;
}

export async function run(options: RunOptions): Promise<Verdict> {
  const models = await mkdtemp(join(tmpdir(), "auspex-models-"));
  const dataDir = await mkdtemp(join(tmpdir(), "auspex-history-"));
  await writeMlp(join(models, MODEL, "1"), { sizes: [64, 512, 512, 10] });
  await writeText(join(models, TEXT_MODEL, "1"), {});
  const history = createHistory();
  const receiver = await receiveWebhooks(history);
  const start = () =>
    startServer({
      ...options.launch?.(dataDir),
      dataDir,
      settings: {
        CATALOGUE: PICTURE_MODEL,
        MODELS_DIR: models,
        EGRESS_ALLOW: "127.0.0.0/8",
        LEASE: "2s",
        ...options.settings,
      },
    });
  const target = { server: await start() };
  try {
    const random = seeded(options.seed ?? 1);
    const inputs = Array.from({ length: INPUTS }, () =>
      Float32Array.from({ length: 64 }, () => random() * 2 - 1),
    );
    const pictures = await Promise.all(PHOTOGRAPHS.map((name) => readFile(photograph(name))));
    const chatflow = await makeFlow(target.server);
    const scene: Scene = {
      chatflow,
      questions: QUESTIONS,
      target,
      history,
      random,
      inputs,
      pictures,
      model: MODEL,
      pictureModel: PICTURE_MODEL,
      webhook: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`,
    };
    const expected: Expected = {
      ...(await answers(target.server, scene)),
      memoryMax: options.memoryMax ?? MEMORY_MAX,
    };
    await makeHistory(scene, target, start, options);
    const final = await settle(target.server, history);
    const violations = check(history.events, final, expected);
    return { events: history.events, final, violations, predictions: final.predictions.size };
  } finally {
    await target.server[Symbol.asyncDispose]();
    receiver.closeAllConnections();
    receiver.close();
    await rm(models, { recursive: true, force: true });
    await rm(dataDir, { recursive: true, force: true });
  }
}

async function makeHistory(
  scene: Scene,
  target: { server: TestServer },
  start: () => Promise<TestServer>,
  { fault, actorsPerDoor = 2 }: RunOptions,
): Promise<void> {
  const { history } = scene;
  const over = new AbortController();
  const playing = play(actorsOf(scene, actorsPerDoor), over.signal);
  const watching = watchServer(history, target, over.signal);
  try {
    await fault({
      history,
      get server() {
        return target.server;
      },
      async toldMore(count) {
        const enough = history.ids.size + count;
        await until(() => history.ids.size >= enough);
      },
      async restart() {
        target.server = await start();
        return target.server;
      },
    });
  } finally {
    over.abort();
    await Promise.all([playing, watching]);
  }
}

function actorsOf(scene: Scene, count: number): readonly Actor[] {
  const times = <T>(make: (index: number) => T): T[] =>
    Array.from({ length: count }, (_, index) => make(index));
  return [
    ...DOORS.flatMap((door) => times((i) => rpcActor(scene, door, `${door}-${i}`))),
    ...times((i) => wriftaiActor(scene, `wriftai-${i}`)),
    einsteinVisionActor(scene, "einstein-vision"),
    ...times((i) => studioActor(scene, `studio-${i}`)),
    einsteinPredictionActor(scene, "einstein-prediction", "any secret does where nobody asks who signed"),
  ];
}

/** What a quiet server answers to each input, one at a time. */
async function answers(server: TestServer, scene: Scene): Promise<Pick<Expected, "values" | "words">> {
  const client = clientOf(server, "grpc", PredictionService);
  const values: Float32Array[] = [];
  for (const input of scene.inputs) {
    const { prediction } = await client.createPrediction({
      model: scene.model,
      tensors: { x: { dtype: DataType.FLOAT32, shape: [1, 64], data: new Uint8Array(input.buffer) } },
      wait: { seconds: 20n },
    });
    values.push((prediction && seenOf(prediction).values) ?? new Float32Array());
  }
  const labels: string[] = [];
  for (const image of scene.pictures) {
    const { prediction } = await client.createPrediction({
      model: scene.pictureModel,
      files: { image: new Uint8Array(image) },
      wait: { seconds: 20n },
    });
    const { probabilities = [] } = (prediction?.output ?? {}) as { probabilities?: { label: string }[] };
    labels.push(probabilities[0]?.label ?? "");
  }
  const flows = clientOf(server, "grpc", ChatflowService);
  const texts: string[] = [];
  for (const text of scene.questions) {
    const { answer } = await flows.createAnswer({ chatflowId: scene.chatflow, question: { text } });
    texts.push(answer?.text ?? "");
  }
  return { values, words: { picture: labels, question: texts } };
}

/** Answers by words alone, which is as quick as can be. */
async function makeFlow(server: TestServer): Promise<string> {
  const flows = clientOf(server, "grpc", ChatflowService);
  const { chatflow } = await flows.createChatflow({
    name: "of the run",
    definition: {
      memory: { window: 4 },
      retriever: { mode: Retriever_Mode.KEYWORD, model: TEXT_MODEL },
      generator: { case: "extractive", value: { sentences: 1 } },
    },
  });
  const content = new TextEncoder().encode(DOCUMENT);
  const id = chatflow?.id ?? "";
  await flows.upsertDocuments({ chatflowId: id, documents: [{ name: "animals.md", content }] });
  return id;
}

/** Asks for its health and looks at its memory, over and over. */
async function watchServer(
  history: History,
  target: { readonly server: TestServer },
  over: AbortSignal,
): Promise<void> {
  while (!over.aborted) {
    const { server } = target;
    const pid = server.process.pid ?? 0;
    const before = childrenOf(pid).length;
    const began = history.now();
    const health = await fetch(`${server.url}/readyz`, { signal: AbortSignal.timeout(5000) }).then<
      Probed["health"],
      Probed["health"]
    >(
      ({ ok }) => (ok ? "serving" : "not_serving"),
      () => "unreachable",
    );
    const ended = history.now();
    const after = childrenOf(pid).length;
    history.record({ kind: "probed", began, ended, health, workers: Math.max(before, after) });
    try {
      history.record({ kind: "measured", at: ended, bytes: residentBytes(pid) });
    } catch {
      // It is down.
    }
    await new Promise((resolve) => setTimeout(resolve, PROBE_EVERY_MS));
  }
}

async function receiveWebhooks(history: History): Promise<Server> {
  const server = createServer(async (request, response) => {
    const parts: Buffer[] = [];
    try {
      for await (const part of request) parts.push(part);
    } catch {
      // The server went away in the middle of it, and will send it again.
      return;
    }
    const { id, status, revision } = JSON.parse(Buffer.concat(parts).toString());
    history.record({
      kind: "delivered",
      at: history.now(),
      webhookId: String(request.headers["webhook-id"]),
      predictionId: id,
      status: String(status).replace("PREDICTION_STATUS_", "").toLowerCase() as "succeeded",
      revision,
    });
    response.writeHead(204).end();
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

/** Until all that clients were told of has ended, or it is plain that it does not. */
async function settle(server: TestServer, { ids }: History): Promise<FinalState> {
  const latest = performance.now() + SETTLE_MS;
  for (;;) {
    const final = await readFinalState(server, ids);
    const open = [...final.predictions.values()].filter(({ status }) => !isTerminal(status));
    if (open.length === 0 || performance.now() > latest) return final;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}
