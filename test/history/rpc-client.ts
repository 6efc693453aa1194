/** A caller over gRPC, Connect or gRPC-Web: creates, retries, watches with drops, gets and cancels. */
import { type Client, Code, ConnectError } from "@connectrpc/connect";
import { type Prediction, PredictionService, PredictionStatus } from "../../gen/auspex/v1/prediction_pb.ts";
import { DataType } from "../../gen/auspex/v1/tensor_pb.ts";
import { clientOf, type Door, type TestServer } from "../harness.ts";
import { type Actor, pick, recorded, type Scene } from "./actor.ts";
import { isTerminal, type Operation, type Seen, type Status, type Told } from "./history.ts";

const STATUS: Readonly<Record<PredictionStatus, Status | undefined>> = {
  [PredictionStatus.UNSPECIFIED]: undefined,
  [PredictionStatus.PENDING]: "pending",
  [PredictionStatus.STARTED]: "started",
  [PredictionStatus.SUCCEEDED]: "succeeded",
  [PredictionStatus.FAILED]: "failed",
  [PredictionStatus.CANCELED]: "canceled",
};

export function seenOf(prediction: Prediction): Seen {
  const status = STATUS[prediction.status];
  if (!status) throw new Error(`prediction ${prediction.id} has no status`);
  const output = prediction.outputTensors.y;
  return {
    id: prediction.id,
    status,
    revision: prediction.revision,
    attempt: prediction.attempt,
    values: output && valuesOf(output.data),
    failure: prediction.error?.message ?? "",
  };
}

function valuesOf(bytes: Uint8Array): Float32Array {
  // A copy, for a message's bytes begin anywhere.
  return new Float32Array(bytes.slice().buffer);
}

/** Tries of a create whose answer never came; each asks for the same prediction. */
const CREATE_TRIES = 40;
const RETRY_MS = 50;
const WATCHES_MAX = 40;

/** Whether the server may not have taken it, or the answer was lost: the same request may be sent again. */
const RETRIED: ReadonlySet<Code> = new Set([
  Code.Unavailable,
  Code.Canceled,
  Code.Unknown,
  Code.Internal,
  Code.Aborted,
]);

function codeOf(error: unknown): string {
  const { code, rawMessage } = ConnectError.from(error);
  // What Node says of a connection that broke; a server that stops says so in words of its own.
  const broken = /ECONN|EPIPE|socket|closed|reset|hang up|GOAWAY|stream|aborted|http\/2/i.test(rawMessage);
  return code === Code.Unavailable && !broken
    ? "unavailable"
    : broken
      ? "unreachable"
      : (Code[code] ?? "unknown");
}

export function rpcActor(scene: Scene, door: Door, name: string): Actor {
  const { target, history, random, inputs, model } = scene;
  const self = { client: name, door } as const;
  let client: { readonly of: TestServer; readonly stub: Client<typeof PredictionService> } | undefined;
  /** Of the server as it is now: a new one has other ports. */
  const connect = () => {
    const { server } = target;
    if (client?.of !== server) client = { of: server, stub: clientOf(server, door, PredictionService) };
    return client.stub;
  };
  let count = 0;

  interface Shown {
    readonly input: number | undefined;
    readonly requestId?: string;
  }

  const tell =
    (operation: Operation, { input, requestId = "" }: Shown) =>
    (answer: { prediction?: Prediction | undefined }, times: Pick<Told, "began" | "ended">) =>
      answer.prediction && {
        ...self,
        ...times,
        kind: "told" as const,
        operation,
        seen: seenOf(answer.prediction),
        input,
        requestId,
        stream: undefined,
        afterRevision: undefined,
      };

  async function create(input: number, wait: boolean): Promise<Prediction | undefined> {
    const requestId = wait && random() < 0.5 ? "" : `${name}-${++count}`;
    const values = inputs[input] ?? new Float32Array();
    const request = {
      model,
      tensors: {
        x: { dtype: DataType.FLOAT32, shape: [1, values.length], data: new Uint8Array(values.buffer) },
      },
      requestId,
      ...(wait && { wait: { seconds: 20n } }),
      ...(scene.webhook !== undefined && random() < 0.3 && { webhook: { url: scene.webhook } }),
    };
    for (let tries = 0; tries < CREATE_TRIES; tries++) {
      let again = false;
      const answer = await recorded(
        scene,
        self,
        {
          operation: "create",
          requestId,
          call: () => connect().createPrediction(request),
          codeOf(error) {
            again = RETRIED.has(ConnectError.from(error).code);
            return codeOf(error);
          },
        },
        tell("create", { input, requestId }),
      );
      // Without a request id a second one would be another prediction.
      if (answer || !again || requestId === "") return answer?.prediction;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
    return undefined;
  }

  /** To the end, over as many streams as it takes; leaves some of them by itself. */
  async function watch(id: string, input: number): Promise<void> {
    let afterRevision: number | undefined;
    for (let tries = 0; tries < WATCHES_MAX; tries++) {
      const stream = history.nextStream();
      const drop = new AbortController();
      const resumed = afterRevision;
      const began = history.now();
      try {
        const messages = connect().watchPrediction(
          { id, ...(resumed !== undefined && { afterRevision: resumed }) },
          { signal: drop.signal },
        );
        for await (const { prediction } of messages) {
          if (!prediction) continue;
          const seen = seenOf(prediction);
          const ended = history.now();
          history.record({
            ...self,
            kind: "told",
            operation: "watch",
            began,
            ended,
            seen,
            input,
            requestId: "",
            stream,
            afterRevision: resumed,
          });
          afterRevision = seen.revision;
          if (!isTerminal(seen.status) && random() < 0.2) drop.abort();
        }
        if (!drop.signal.aborted) {
          history.record({
            ...self,
            kind: "stream_ended",
            began,
            ended: history.now(),
            id,
            stream,
            afterRevision: resumed,
          });
          return;
        }
      } catch (error) {
        if (!drop.signal.aborted) {
          const ended = history.now();
          history.record({
            ...self,
            kind: "refused",
            operation: "watch",
            began,
            ended,
            code: codeOf(error),
            requestId: "",
          });
        }
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }

  const get = (id: string, input: number) =>
    recorded(
      scene,
      self,
      { operation: "get", codeOf, call: () => connect().getPrediction({ id }) },
      tell("get", { input }),
    );

  const cancel = (id: string, input: number) =>
    recorded(
      scene,
      self,
      { operation: "cancel", codeOf, call: () => connect().cancelPrediction({ id }) },
      tell("cancel", { input }),
    );

  return {
    ...self,
    async act() {
      const input = pick(random, inputs.length);
      const prediction = await create(input, random() < 0.4);
      if (!prediction) return;
      const what = random();
      if (what < 0.15) await cancel(prediction.id, input);
      if (what < 0.6) await watch(prediction.id, input);
      await get(prediction.id, input);
    },
  };
}
