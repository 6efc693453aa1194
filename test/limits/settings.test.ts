/** Limits of running things, which no single request can pass. */
import { once } from "node:events";
import { connect } from "node:http2";
import { connect as connectSocket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { ChatflowService } from "../../gen/auspex/v1/chatflow_pb.ts";
import { ModelService } from "../../gen/auspex/v1/model_pb.ts";
import { PredictionService, PredictionStatus } from "../../gen/auspex/v1/prediction_pb.ts";
import { TrainingStatus } from "../../gen/auspex/v1/training_pb.ts";
import { clientOf, startServer, type TestServer, until } from "../harness.ts";
import { says, startLlmEndpoint } from "../llm-endpoint.ts";
import { zipOfShapes } from "../pictures.ts";
import { start, trainingClients, upload } from "../training-client.ts";

/** Answers predictions at once, and one that never ends by itself. */
async function startWithFlows(settings: Readonly<Record<string, string>>) {
  await using begun = new AsyncDisposableStack();
  const endpoint = begun.use(await startLlmEndpoint({ quick: says("Yes."), stalls: () => {} }));
  const server = begun.use(
    await startServer({ settings: { CATALOGUE: "0", EGRESS_ALLOW: "127.0.0.1", ...settings } }),
  );
  const flows = clientOf(server, "grpc", ChatflowService);
  const flowOf = async (model: string) => {
    const { chatflow } = await flows.createChatflow({
      name: model,
      definition: { generator: { case: "openai", value: { baseUrl: endpoint.baseUrl, model } } },
    });
    return `chatflow/${chatflow?.id}`;
  };
  const [quick, stalls] = await Promise.all([flowOf("quick"), flowOf("stalls")]);
  const held = begun.move();
  return { server, quick, stalls, [Symbol.asyncDispose]: () => held.disposeAsync() };
}

async function predict(server: TestServer, model: string) {
  const { prediction } = await clientOf(server, "grpc", PredictionService).createPrediction({
    model,
    input: { question: "Is it?" },
  });
  if (!prediction) throw new Error("no prediction was answered");
  return prediction;
}

describe("a setting", () => {
  test("RUN_MAX: a run within it ends by itself, one beyond it fails", async () => {
    await using scene = await startWithFlows({ RUN_MAX: "2s", WAIT_MAX: "1s" });
    const predictions = clientOf(scene.server, "grpc", PredictionService);
    const ended = async (model: string) => {
      const { id } = await predict(scene.server, model);
      return until(async () => {
        const { prediction } = await predictions.getPrediction({ id });
        return prediction && prediction.status > PredictionStatus.STARTED && prediction;
      });
    };
    expect((await ended(scene.quick)).status).toBe(PredictionStatus.SUCCEEDED);
    const late = await ended(scene.stalls);
    expect([late.status, late.error?.message]).toEqual([
      PredictionStatus.FAILED,
      "it ran longer than the server allows (2 s)",
    ]);
  });

  test("MAX_WATCHES: one more is refused, and taken once one has ended", async () => {
    await using scene = await startWithFlows({ MAX_WATCHES: "2" });
    const { id } = await predict(scene.server, scene.stalls);
    const watch = async () => {
      const gone = new AbortController();
      const states = clientOf(scene.server, "grpc", PredictionService).watchPrediction(
        { id },
        { signal: gone.signal },
      );
      // The first state is there once it is taken.
      await states[Symbol.asyncIterator]().next();
      return gone;
    };
    const [first] = [await watch(), await watch()];
    const refused = ConnectError.from(await watch().catch((thrown: unknown) => thrown));
    expect(refused.code).toBe(Code.ResourceExhausted);
    first.abort();
    const again = await until(() => watch().catch(() => undefined));
    again.abort();
  });

  test("MAX_STREAMS: one call more than that is not begun", async () => {
    await using scene = await startWithFlows({ MAX_STREAMS: "2" });
    const session = connect(scene.server.grpcUrl);
    try {
      const [settings] = await once(session, "remoteSettings");
      expect(settings.maxConcurrentStreams).toBe(2);
      const answered: number[] = [];
      const call = (name: number) => {
        const stream = session.request({
          ":method": "POST",
          ":path": "/auspex.v1.ModelService/ListModelAliases",
          "content-type": "application/grpc",
          te: "trailers",
        });
        stream.on("error", () => {});
        stream.on("response", () => answered.push(name));
        return stream.resume();
      };
      // The first two wait for their message, and so the third, which has one, for either of them.
      const [first] = [call(1), call(2)];
      call(3).end(Buffer.alloc(5));
      const elsewhere = clientOf(scene.server, "grpc", ModelService);
      for (let i = 0; i < 20; i++) await elsewhere.listModelAliases({});
      expect(answered).toEqual([]);
      first.end(Buffer.alloc(5));
      await until(() => answered.length === 2);
      expect(answered).toEqual([1, 3]);
    } finally {
      session.destroy();
    }
  });

  test("MAX_CONNECTIONS: one more is closed, on either port", async () => {
    await using server = await startServer({ settings: { CATALOGUE: "0", MAX_CONNECTIONS: "2" } });
    for (const url of [server.url, server.grpcUrl]) {
      const open = async () => {
        const socket = connectSocket(Number(new URL(url).port), "127.0.0.1").on("error", () => {});
        await once(socket, "connect");
        return socket;
      };
      const held = [await open(), await open()];
      const third = await open();
      await once(third, "close");
      expect(held.map(({ closed }) => closed)).toEqual([false, false]);
      for (const socket of held) socket.destroy();
      // There is room again.
      await until(async () => {
        const next = await open();
        const isTaken = await Promise.race([once(next, "close").then(() => false), sleep(200, true)]);
        next.destroy();
        return isTaken;
      });
    }
  });

  test("TRAININGS: so many run at once, and the next one waits", async () => {
    await using server = await startServer({
      settings: { TRAININGS: "1", FEATURE_EXTRACTOR: "auspex/mobilenet-tiny" },
    });
    const clients = trainingClients(server);
    const zip = await zipOfShapes(["circle", "cross"], 6);
    const [one, other] = [await upload(clients, zip), await upload(clients, zip)];
    const trainings = [await start(clients, one.id), await start(clients, other.id)];
    const statuses = () =>
      Promise.all(
        trainings.map(async ({ id }) => {
          const { training } = await clients.trainings.getTraining({ by: { case: "id", value: id } });
          return training?.status;
        }),
      );
    const seen = new Set<string>();
    await until(async () => {
      const now = await statuses();
      seen.add(now.join());
      return now.every((status) => status === TrainingStatus.SUCCEEDED);
    });
    const both = [TrainingStatus.RUNNING, TrainingStatus.RUNNING].join();
    expect([...seen]).not.toContain(both);
    expect([...seen]).toContain([TrainingStatus.RUNNING, TrainingStatus.QUEUED].join());
  });
});
