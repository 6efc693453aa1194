/**
 * The doors themselves: GetPrediction of a finished prediction, the cheapest unary call, whose answer has 256 bytes and
 * 10 KiB, through each door, against the least that each protocol's library does for as many bytes. And WatchPrediction of
 * it, the shortest stream: one message and the end.
 */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  CreatePredictionRequestSchema,
  CreatePredictionResponseSchema,
  GetPredictionRequestSchema,
  PredictionService,
  WatchPredictionRequestSchema,
} from "../../gen/auspex/v1/prediction_pb.ts";
import { DataType } from "../../gen/auspex/v1/tensor_pb.ts";
import type { TestServer } from "../../test/harness.ts";
import { bareConnect, bareConnectGrpc, bareFastify, bareGrpc, bareHttp2 } from "../bare.ts";
import {
  type Load,
  throughConnect,
  throughConnectJson,
  throughConnectStream,
  throughGrpc,
  throughGrpcWeb,
} from "../doors.ts";
import { mlpServers } from "../mlp-server.ts";
import { type Generator, type Measurement, measure, type Target } from "../rounds.ts";
import type { BenchContext, Goal, Row, RowResult, Table } from "../row.ts";
import { CONNECT_GOAL } from "./doors.ts";
import { CREATE_PATH } from "./mlp-create.ts";

const IN_FLIGHT = 64;
const WARM_UP_SECONDS = 0.5;
/** So many short calls need no longer rounds. */
const SHARE_OF_ROUND = 0.5;
/** Floats that a prediction takes in, so that it has about as many bytes. */
const SIZES = [
  { title: "256 B", model: "small", floats: 18 },
  { title: "10 KiB", model: "large", floats: 2514 },
] as const;
const OUTPUTS = 4;
const { typeName, method } = PredictionService;
const GET_PATH = `/${typeName}/${method.getPrediction.name}`;
const WATCH_PATH = `/${typeName}/${method.watchPrediction.name}`;

const sample = async (generator: Generator, load: Load): Promise<Uint8Array> =>
  (await generator.run({ ...load, inFlight: 1, seconds: 0.05 })).response;

/** Makes a prediction of that size and answers its id. */
async function predict(
  server: TestServer,
  generator: Generator,
  model: string,
  floats: number,
): Promise<string> {
  // Halves are as short in JSON as they are in bytes.
  const input = new Float32Array(floats).fill(0.5);
  const request = create(CreatePredictionRequestSchema, {
    model: `bench/${model}`,
    tensors: { x: { dtype: DataType.FLOAT32, shape: [1, floats], data: new Uint8Array(input.buffer) } },
    wait: { seconds: 10n },
  });
  const bytes = toBinary(CreatePredictionRequestSchema, request);
  const answer = await sample(generator, throughGrpc(server, { path: CREATE_PATH, request: bytes }));
  return fromBinary(CreatePredictionResponseSchema, answer).prediction?.id ?? "";
}

interface Sized {
  readonly table: Table;
  readonly goals: readonly Goal[];
  readonly bytes: string;
}

async function measureSize(
  context: BenchContext,
  server: TestServer,
  { title, model, floats }: (typeof SIZES)[number],
): Promise<Sized> {
  const { generator, rounds, progress } = context;
  const seconds = context.seconds * SHARE_OF_ROUND;
  await using cleanUp = new AsyncDisposableStack();
  const id = await predict(server, generator, model, floats);
  const request = toBinary(GetPredictionRequestSchema, create(GetPredictionRequestSchema, { id }));
  const call = { path: GET_PATH, request };
  const rest: Load = {
    to: { kind: "http", method: "GET", url: `${server.url}/v1/predictions/${id}`, headers: {} },
    request: new Uint8Array(),
    expect: "succeeded JSON",
  };
  const message = await sample(generator, throughGrpc(server, call));
  const json = await sample(generator, rest);
  const floors = [
    await bareGrpc(message.length, request),
    await bareHttp2(message.length, request),
    await bareConnect(message, call),
    await bareConnectGrpc(message, call),
    await bareFastify(json),
  ];
  for (const floor of floors) cleanUp.use(floor);
  const pid = server.process.pid ?? 0;
  const doors: readonly (readonly [string, Load])[] = [
    ["gRPC", throughGrpc(server, call)],
    ["Connect", throughConnect(server, call)],
    ["Connect, JSON", throughConnectJson(server, GET_PATH, { id })],
    ["gRPC-Web", throughGrpcWeb(server, call)],
    ["REST (WriftAI)", rest],
  ];
  const targets: readonly Target[] = [
    ...floors.map(({ target }) => target),
    ...doors.map(([name, load]) => ({ name, pid, load })),
  ];
  const measurements = await measure(generator, targets, {
    inFlight: IN_FLIGHT,
    seconds,
    rounds,
    warmUpSeconds: WARM_UP_SECONDS,
    onRound: (round) => progress(`${title}: round ${round} of ${rounds}`),
  });
  return {
    table: { title: `${title}, ${IN_FLIGHT} in flight`, measurements },
    goals: [connectGoal(title, measurements)],
    bytes: `${message.length} out in protobuf, ${json.length} in REST's JSON`,
  };
}

function connectGoal(title: string, measurements: readonly Measurement[]): Goal {
  const cpuOf = (name: string): number =>
    measurements.find((measurement) => measurement.name === name)?.mainCpu.median ?? Number.NaN;
  return {
    what: `${title}: main's CPU through Connect, of that through gRPC`,
    value: cpuOf("Connect") / cpuOf("gRPC"),
    atMost: CONNECT_GOAL,
  };
}

async function measureWatch(context: BenchContext, server: TestServer): Promise<Sized> {
  const { generator, rounds, progress } = context;
  const title = "a watch, 256 B";
  await using cleanUp = new AsyncDisposableStack();
  const [{ model, floats }] = SIZES;
  const id = await predict(server, generator, model, floats);
  const request = toBinary(WatchPredictionRequestSchema, create(WatchPredictionRequestSchema, { id }));
  const call = { path: WATCH_PATH, request };
  const message = await sample(generator, throughGrpc(server, call));
  const pid = server.process.pid ?? 0;
  const targets: readonly Target[] = [
    cleanUp.use(await bareGrpc(message.length, request)).target,
    { name: "gRPC", pid, load: throughGrpc(server, call) },
    { name: "Connect", pid, load: throughConnectStream(server, call) },
    { name: "gRPC-Web", pid, load: throughGrpcWeb(server, call) },
  ];
  const measurements = await measure(generator, targets, {
    inFlight: IN_FLIGHT,
    seconds: context.seconds * SHARE_OF_ROUND,
    rounds,
    warmUpSeconds: WARM_UP_SECONDS,
    onRound: (round) => progress(`${title}: round ${round} of ${rounds}`),
  });
  return {
    table: { title: `${title}, ${IN_FLIGHT} in flight`, measurements },
    goals: [connectGoal(title, measurements)],
    bytes: `${message.length} out in protobuf, and the stream's end`,
  };
}

async function run(context: BenchContext): Promise<RowResult> {
  await using servers = await mlpServers(
    SIZES.map(({ model, floats }) => ({ name: model, sizes: [floats, OUTPUTS] })),
  );
  const server = await servers.start({ WORKERS: "1" });
  const sized: Sized[] = [];
  for (const size of SIZES) sized.push(await measureSize(context, server, size));
  sized.push(await measureWatch(context, server));
  const { rounds } = context;
  const seconds = context.seconds * SHARE_OF_ROUND;
  return {
    settings: {
      bytes: sized.map(({ bytes }) => bytes).join("; "),
      server: "one; the doors in turn, each call reads the prediction from the store",
      rounds: `${rounds} × ${seconds} s for each, in turn, after ${WARM_UP_SECONDS} s of warming up; medians`,
    },
    tables: sized.map(({ table }) => table),
    goals: sized.flatMap(({ goals }) => goals),
  };
}

export const echo: Row = {
  name: "echo",
  title:
    "GetPrediction and WatchPrediction of a finished prediction through each door, against bare libraries",
  run,
};
