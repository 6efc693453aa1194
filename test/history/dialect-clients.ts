/** Callers over the REST dialects: each does what a program written for that API does. */
import { hs256, nowS } from "../tokens.ts";
import { type Actor, pick, recorded, type Scene } from "./actor.ts";
import type { Operation, Seen, Status, Told } from "./history.ts";

/** An answer whose status says that it was not done. */
class HttpRefusal extends Error {
  override readonly name = "HttpRefusal";
  readonly status: number;
  constructor(status: number, body: string) {
    super(`${status} ${body.slice(0, 200)}`);
    this.status = status;
  }
}

function codeOf(error: unknown): string {
  if (!(error instanceof HttpRefusal)) return "unreachable";
  return error.status === 503 ? "unavailable" : `http_${error.status}`;
}

async function jsonOf<T>(response: Response): Promise<T> {
  const text = await response.text();
  if (!response.ok) throw new HttpRefusal(response.status, text);
  return JSON.parse(text) as T;
}

const POLLS_MAX = 200;
const POLL_MS = 25;
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** What we look at of WriftAI's prediction. */
interface WriftaiPrediction {
  readonly id: string;
  readonly status: Status;
  readonly output: { readonly outputs: { readonly y: { readonly data: readonly number[] } } } | null;
  readonly error: { readonly message: string } | null;
}

function seenOf({ id, status, output, error }: WriftaiPrediction): Seen {
  // This API has no word of its own for it.
  const isCanceled = status === "failed" && error?.message === "canceled";
  return {
    id,
    status: isCanceled ? "canceled" : status,
    revision: undefined,
    attempt: undefined,
    values: output ? Float32Array.from(output.outputs.y.data) : undefined,
    failure: isCanceled ? "" : (error?.message ?? ""),
  };
}

export function wriftaiActor(scene: Scene, name: string): Actor {
  const { target, random, inputs, model } = scene;
  const self = { client: name, door: "wriftai" } as const;
  const call = async (path: string, init?: RequestInit) =>
    jsonOf<WriftaiPrediction>(await fetch(`${target.server.url}/v1/predictions${path}`, init));

  const ask = (operation: Operation, input: number, path: string, init?: RequestInit) =>
    recorded(scene, self, { operation, codeOf, call: () => call(path, init) }, (answer, times) =>
      told(self, operation, input, seenOf(answer), times),
    );

  return {
    ...self,
    async act() {
      const input = pick(random, inputs.length);
      const x = { dtype: "float32", shape: [1, 64], data: [...(inputs[input] ?? [])] };
      const created = await ask("create", input, "", {
        method: "POST",
        headers: { "content-type": "application/json", ...(random() < 0.5 && { prefer: "wait=20" }) },
        body: JSON.stringify({ model, input: { inputs: { x } } }),
      });
      if (!created) return;
      if (random() < 0.1) {
        await fetch(`${target.server.url}/v1/predictions/${created.id}/cancel`, { method: "POST" }).catch(
          () => {},
        );
      }
      for (let polls = 0; polls < POLLS_MAX; polls++) {
        const answer = await ask("get", input, `/${created.id}`);
        if (answer && answer.status !== "pending" && answer.status !== "started") return;
        await sleep(POLL_MS);
      }
    },
  };
}

export function einsteinVisionActor(scene: Scene, name: string): Actor {
  const { target, random, pictures, pictureModel } = scene;
  const self = { client: name, door: "einstein-vision" } as const;
  return {
    ...self,
    async act() {
      const input = pick(random, pictures.length);
      const form = new FormData();
      form.set("modelId", pictureModel);
      form.set("sampleBase64Content", Buffer.from(pictures[input] ?? []).toString("base64"));
      const post = async () =>
        jsonOf<{ readonly probabilities: readonly { readonly label: string }[] }>(
          await fetch(`${target.server.url}/v2/vision/predict`, { method: "POST", body: form }),
        );
      await recorded(scene, self, { operation: "create", codeOf, call: post }, (answer, times) => ({
        ...self,
        ...times,
        kind: "answered",
        about: "picture",
        operation: "create",
        input,
        said: answer.probabilities[0]?.label ?? "",
      }));
    },
  };
}

/** Its answer names the prediction in a header; what became of it is asked over gRPC by whoever checks the run. */
export function einsteinPredictionActor(scene: Scene, name: string, secret: string): Actor {
  const { target, random, pictures, pictureModel } = scene;
  const self = { client: name, door: "einstein-prediction" } as const;
  const images = new Map<number, string>();

  async function post(path: string, body: FormData | URLSearchParams): Promise<Response> {
    const token = hs256({ exp: nowS() + 600, iat: nowS(), user_id: name, abilities: {} }, secret);
    const headers = { authorization: `Token token="${token}"` };
    const url = `${target.server.url}/api/v1${path}`;
    const response = await fetch(url, { method: "POST", headers, body });
    if (!response.ok) throw new HttpRefusal(response.status, await response.text());
    return response;
  }

  /** Uploaded once, and there for good. */
  async function imageOf(input: number): Promise<string> {
    const known = images.get(input);
    if (known !== undefined) return known;
    const form = new FormData();
    form.set("file", new Blob([Buffer.from(pictures[input] ?? [])], { type: "image/jpeg" }), "picture.jpg");
    const { id } = (await (await post("/images", form)).json()) as { readonly id: string };
    images.set(input, id);
    return id;
  }

  return {
    ...self,
    async act() {
      const input = pick(random, pictures.length);
      const call = async () => {
        const imageId = await imageOf(input);
        const response = await post(
          "/einstein_prediction",
          new URLSearchParams({ modelId: pictureModel, imageId }),
        );
        return response.headers.get("x-prediction-id") ?? "";
      };
      await recorded(scene, self, { operation: "create", codeOf, call }, (id, times) =>
        told(self, "create", undefined, acknowledged(id), times),
      );
    },
  };
}

/** Asks in a session of its own, in one piece or as a stream. */
export function studioActor(scene: Scene, name: string): Actor {
  const { target, history, random, chatflow, questions } = scene;
  const self = { client: name, door: "studio" } as const;
  return {
    ...self,
    async act() {
      const input = pick(random, questions.length);
      const streaming = random() < 0.5;
      const began = history.now();
      const note = (id: string, status: Status) =>
        history.record(
          told(self, "create", undefined, acknowledged(id, status), { began, ended: history.now() }),
        );
      const call = async () => {
        const response = await fetch(`${target.server.url}/api/v1/prediction/${chatflow}`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({
            question: questions[input],
            streaming,
            overrideConfig: { sessionId: name },
          }),
        });
        const id = response.headers.get("x-prediction-id") ?? "";
        // A stream is durable from its head on.
        if (streaming && response.ok) note(id, "pending");
        const said = streaming
          ? await streamedText(response)
          : (await jsonOf<{ text: string }>(response)).text;
        note(id, "succeeded");
        return said;
      };
      await recorded(scene, self, { operation: "create", codeOf, call }, (said, times) => ({
        ...self,
        ...times,
        kind: "answered",
        about: "question",
        operation: "create",
        input,
        said,
      }));
    },
  };
}

/** What its tokens come to; rejects for one that does not say its end. */
async function streamedText(response: Response): Promise<string> {
  const text = await response.text();
  if (!response.ok) throw new HttpRefusal(response.status, text);
  const events = text
    .split("\n")
    .filter((line) => line.startsWith("data:"))
    .map(
      (line) => JSON.parse(line.slice("data:".length)) as { readonly event: string; readonly data: unknown },
    );
  const failure = events.find(({ event }) => event === "error");
  if (failure)
    throw new HttpRefusal(/shutting down/.test(String(failure.data)) ? 503 : 500, String(failure.data));
  if (events.at(-1)?.event !== "end") throw new Error("the stream broke off");
  return events.flatMap(({ event, data }) => (event === "token" ? [data] : [])).join("");
}

/** Nothing is known of it but that it is there, and how far it has come. */
function acknowledged(id: string, status: Status = "pending"): Seen {
  return { id, status, revision: undefined, attempt: undefined, values: undefined, failure: "" };
}

function told(
  self: Pick<Told, "client" | "door">,
  operation: Operation,
  input: number | undefined,
  seen: Seen,
  times: Pick<Told, "began" | "ended">,
): Told {
  return {
    ...self,
    ...times,
    kind: "told",
    operation,
    seen,
    input,
    requestId: "",
    stream: undefined,
    afterRevision: undefined,
  };
}
