/**
 * What each door adds to the same work: a durable create with `wait` on the MLP, through gRPC, Connect, gRPC-Web and
 * the WriftAI REST API of one server, against the bare echo of gRPC and a bare Fastify route of the same JSON.
 */
import { bareFastify, bareGrpc } from "../bare.ts";
import { type Load, throughConnect, throughGrpc, throughGrpcWeb } from "../doors.ts";
import { mlpServers } from "../mlp-server.ts";
import { type Measurement, measure, type Target } from "../rounds.ts";
import type { BenchContext, Goal, Row, RowResult } from "../row.ts";
import { CREATE_PATH, mlpRequest } from "./mlp-create.ts";

const IN_FLIGHT = 64;
const WARM_UP_SECONDS = 2;
/** Main's CPU of a Connect call, of that of the same call over gRPC. */
export const CONNECT_GOAL = 1.5;
/** Main's CPU of a REST create, of a bare route's and the same prediction's. */
const REST_GOAL = 2;
const FLOATS = 64;

/** The same 64 floats as over the RPC doors, with as many digits as a float32 needs. */
function restBody(): Uint8Array {
  const data = Array.from(Float32Array.from({ length: FLOATS }, (_, i) => Math.sin(i)));
  const input = { inputs: { x: { dtype: "float32", shape: [1, FLOATS], data } } };
  return Buffer.from(JSON.stringify({ model: "bench/mlp", input }));
}

function goalsOf([echo, route, grpc, connect, , rest]: readonly Measurement[]): readonly Goal[] {
  if (!echo || !route || !grpc || !connect || !rest) return [];
  const prediction = grpc.mainCpu.median - echo.mainCpu.median;
  return [
    {
      what: "create: main's CPU through Connect, of that through gRPC",
      value: connect.mainCpu.median / grpc.mainCpu.median,
      atMost: CONNECT_GOAL,
    },
    {
      what: "create: main's CPU through REST, of bare Fastify + (gRPC − bare grpc-js)",
      value: rest.mainCpu.median / (route.mainCpu.median + prediction),
      atMost: REST_GOAL,
    },
  ];
}

async function run({ generator, seconds, rounds, progress }: BenchContext): Promise<RowResult> {
  await using cleanUp = new AsyncDisposableStack();
  const servers = cleanUp.use(await mlpServers());
  const server = await servers.start({ WORKERS: "1" });
  const call = { path: CREATE_PATH, request: mlpRequest() };
  const rest: Load = {
    to: {
      kind: "http",
      url: `${server.url}/v1/predictions`,
      headers: { "content-type": "application/json", prefer: "wait=10" },
    },
    request: restBody(),
    expect: "succeeded JSON",
  };
  const doors: readonly (readonly [string, Load])[] = [
    ["gRPC", throughGrpc(server, call)],
    ["Connect", throughConnect(server, call)],
    ["gRPC-Web", throughGrpcWeb(server, call)],
    ["REST (WriftAI)", rest],
  ];
  const sample = async (load: Load) => (await generator.run({ ...load, inFlight: 1, seconds: 0.1 })).response;
  const message = await sample(throughGrpc(server, call));
  const json = await sample(rest);
  const pid = server.process.pid ?? 0;
  const targets: Target[] = [
    cleanUp.use(await bareGrpc(message.length, call.request)).target,
    cleanUp.use(await bareFastify(json, rest.request)).target,
    ...doors.map(([name, load]) => ({ name, pid, load })),
  ];
  const measurements = await measure(generator, targets, {
    inFlight: IN_FLIGHT,
    seconds,
    rounds,
    warmUpSeconds: WARM_UP_SECONDS,
    onRound: (round) => progress(`round ${round} of ${rounds}`),
  });
  return {
    settings: {
      bytes: `${call.request.length} in, ${message.length} out in protobuf; ${rest.request.length} in, ${json.length} out in JSON`,
      server: "one, with 1 worker; the doors in turn",
      rounds: `${rounds} × ${seconds} s for each, in turn, after ${WARM_UP_SECONDS} s of warming up; medians`,
    },
    tables: [{ title: `${IN_FLIGHT} in flight`, measurements }],
    goals: goalsOf(measurements),
  };
}

export const doors: Row = {
  name: "doors",
  title: "a durable create with wait, the MLP, through each door",
  run,
};
