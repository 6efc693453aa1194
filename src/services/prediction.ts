/** The operations on predictions. A prediction's life is told in `domain/prediction.ts` and run in `runner.ts`. */
import type {
  CancelPredictionRequest,
  CreatePredictionRequest,
  GetPredictionRequest,
  ListPredictionsRequest,
  PredictionService,
  WatchPredictionRequest,
} from "../../gen/auspex/v1/prediction_pb.ts";
import { AuspexError, invalidArgument } from "../domain/error.ts";
import { type ImageId, type PredictionId, parseUuid } from "../domain/id.ts";
import type { Image } from "../domain/image.ts";
import { type ModelVersion, parseModelRef } from "../domain/model.ts";
import { isTerminal, type Prediction, type WebhookTarget } from "../domain/prediction.ts";
import type { NewDelivery } from "../domain/webhook.ts";
import { anySignal } from "./any-signal.ts";
import type { CallContext, Operations } from "./call.ts";
import { durationMs } from "./check.ts";
import type { Hints } from "./hints.ts";
import {
  type AcceptedInput,
  acceptInput,
  checkInput,
  type InputContext,
  refuseUnreachable,
  requestHash,
  resolveInput,
} from "./input.ts";
import { predictionMessage, statusName, summaryMessage, webhookFormatName } from "./message.ts";
import type { ModelDirectory } from "./model-directory.ts";
import { decodePageToken, encodePageToken } from "./page-token.ts";
import type { RateLimiter } from "./rate-limit.ts";
import { failure } from "./run.ts";
import { queueFull, type Runner } from "./runner.ts";
import type { Usage } from "./usage.ts";
import { type Limits, validate } from "./validation.ts";
import type { Watches } from "./watch.ts";

const PAGE_SIZE_DEFAULT = 25;
/** A cancel that loses this many races in a row meets a row that changes all the time: a fault of ours. */
const CANCEL_TRIES = 10;

export interface PredictionOptions {
  readonly input: InputContext;
  readonly directory: ModelDirectory;
  readonly runner: Runner;
  readonly hints: Hints;
  readonly rate: RateLimiter;
  readonly usage: Usage;
  readonly limits: Limits;
  readonly watches: Watches;
  /** Microseconds since the epoch. */
  readonly now: () => number;
  readonly mintId: () => string;
  readonly deliveriesFor: (prediction: Prediction) => readonly NewDelivery[];
  readonly onDeliveries: () => void;
  readonly onSettled: (prediction: Prediction) => void;
  /** Throws `unavailable` while the server starts or stops. */
  readonly refuseUnlessServing: () => void;
  /** Aborted when what runs has had its time to end: answers those who still wait with what there is. */
  readonly ending: AbortSignal;
}

export function createPredictionOperations(options: PredictionOptions): Operations<typeof PredictionService> {
  const { input, directory, runner, hints, limits, now, deliveriesFor } = options;
  const { store, egress } = input;

  async function read(principal: string, id: string): Promise<Prediction> {
    const prediction = await store.predictions.get(principal, (parseUuid(id) ?? id) as PredictionId);
    if (!prediction) throw new AuspexError("not_found", `prediction ${id} does not exist`);
    return prediction;
  }

  // ---- create ------------------------------------------------------------------------------------------------

  /** The version to run, or why there is none where that is to be seen in the prediction. */
  async function resolveModel(
    request: CreatePredictionRequest,
    call: CallContext,
  ): Promise<ModelVersion | AuspexError> {
    try {
      return await directory.resolve(call.principal, request.model);
    } catch (error) {
      if (request.deferResolution && error instanceof AuspexError) return error;
      throw error;
    }
  }

  function refuseOtherTask({ tasks }: CreatePredictionRequest, { manifest }: ModelVersion): void {
    const task = manifest?.task ?? "";
    if (tasks.length === 0 || tasks.includes(task)) return;
    const description = `must include ${task}, which is the model's task`;
    throw invalidArgument({ field: "tasks", reason: "task", description });
  }

  function webhookTarget(request: CreatePredictionRequest): WebhookTarget | null {
    const { webhook } = request;
    if (!webhook) return null;
    try {
      egress.check(webhook.url);
    } catch (error) {
      const description = AuspexError.from(error).message;
      throw invalidArgument({ field: "webhook.url", reason: "not_allowed", description });
    }
    return {
      url: webhook.url,
      secret: webhook.secret,
      format: webhookFormatName(webhook.format) ?? "auspex",
    };
  }

  function draft(
    request: CreatePredictionRequest,
    call: CallContext,
    version: ModelVersion | AuspexError,
    accepted: AcceptedInput,
  ): Prediction {
    const createdAt = now();
    const failed = version instanceof AuspexError;
    const ref = failed ? parseModelRef(request.model) : version;
    return {
      id: options.mintId() as PredictionId,
      principal: call.principal.name,
      model: ref ? `${ref.owner}/${ref.name}` : request.model,
      version: failed ? 0 : version.version,
      status: failed ? "failed" : "pending",
      revision: 1,
      attempt: 0,
      deaths: 0,
      input: accepted.payload,
      output: null,
      error: failed ? failure(version) : null,
      createdAt,
      updatedAt: createdAt,
      startedAt: null,
      endedAt: failed ? createdAt : null,
      setupTime: null,
      executionTime: null,
      deadlineAt: request.deadline ? createdAt + Math.round(durationMs(request.deadline) * 1000) : null,
      requestId: request.requestId,
      requestHash: request.requestId === "" ? "" : requestHash(request),
      webhook: webhookTarget(request),
    };
  }

  /** Stores the picture that came with the request; its row is written with the prediction's. */
  async function storePicture(prediction: Prediction, { picture }: AcceptedInput): Promise<readonly Image[]> {
    if (!picture) return [];
    const blob = await store.blobs.put(picture.bytes);
    const state = {
      kind: "ready",
      blob,
      mediaType: "",
      width: 0,
      height: 0,
      sizeBytes: picture.bytes.length,
    } as const;
    return [
      {
        id: picture.imageId,
        principal: prediction.principal,
        state,
        sourceUrl: "",
        predictionId: prediction.id,
        createdAt: prediction.createdAt,
      },
    ];
  }

  /** Durable first, then run by whoever claims it. */
  async function createWritten(prediction: Prediction, accepted: AcceptedInput): Promise<Prediction> {
    const deliveries = deliveriesFor(prediction);
    const images = await storePicture(prediction, accepted);
    const result = await store.predictions.insert({ prediction, lease: null, deliveries, images });
    switch (result.kind) {
      case "inserted":
        if (deliveries.length > 0) options.onDeliveries();
        if (isTerminal(prediction.status)) options.onSettled(prediction);
        else runner.wake();
        return prediction;
      case "duplicate":
        return repeated(result.existing, prediction.requestHash);
      case "full":
        throw queueFull();
      default:
        return result satisfies never;
    }
  }

  /** What a repeated request id stands for. */
  function repeated(existing: Prediction, hash: string): Prediction {
    if (existing.requestHash === hash) return existing;
    throw new AuspexError(
      "already_exists",
      `request id ${existing.requestId} was used with another request, for prediction ${existing.id}`,
    );
  }

  /** Runs at once and writes one row, at the end or when the wait runs out. */
  async function createUnwritten(
    prediction: Prediction,
    accepted: AcceptedInput,
    waitMs: number,
    call: CallContext,
  ): Promise<Prediction> {
    // The picture reaches the disk while the model runs.
    const images = storePicture(prediction, accepted);
    images.catch(() => {});
    const run = runner.runUnwritten(prediction, accepted, () => images);
    const timer = Promise.withResolvers<"elapsed">();
    const timeout = setTimeout(() => timer.resolve("elapsed"), waitMs);
    const stop = () => timer.resolve("elapsed");
    options.ending.addEventListener("abort", stop, { once: true });
    call.signal.addEventListener("abort", run.abandon, { once: true });
    try {
      const first = await Promise.race([run.settled, timer.promise]);
      if (first !== "elapsed") return first;
      call.signal.removeEventListener("abort", run.abandon);
      return (await run.write(await images)) ?? (await run.settled);
    } finally {
      clearTimeout(timeout);
      options.ending.removeEventListener("abort", stop);
      call.signal.removeEventListener("abort", run.abandon);
    }
  }

  /** Waits for the end of a written one, at most `waitMs`; answers it as it then is. */
  async function waitFor(prediction: Prediction, waitMs: number, call: CallContext): Promise<Prediction> {
    if (waitMs === 0 || isTerminal(prediction.status)) return prediction;
    const timeout = new AbortController();
    const timer = setTimeout(() => timeout.abort(), waitMs);
    const { signal, release } = anySignal(call.signal, timeout.signal, options.ending);
    const changes = hints.subscribe(prediction.id);
    try {
      for (;;) {
        const current = await read(prediction.principal, prediction.id);
        if (isTerminal(current.status) || signal.aborted) return current;
        await changes.next(signal);
      }
    } finally {
      clearTimeout(timer);
      release();
      changes.close();
    }
  }

  async function create(request: CreatePredictionRequest, call: CallContext): Promise<Prediction> {
    validate(request, limits);
    options.refuseUnlessServing();
    options.rate.take(call.principal.name);
    const waitMs = request.wait ? durationMs(request.wait) : 0;
    if (request.requestId !== "") {
      // Looked for before the model and the picture are: a retry may come when those are gone.
      const existing = await store.predictions.getByRequestId(call.principal.name, request.requestId);
      if (existing) return waitFor(repeated(existing, requestHash(request)), waitMs, call);
    }
    const accepted = acceptInput(request, () => options.mintId() as ImageId);
    const version = await resolveModel(request, call);
    if (!(version instanceof AuspexError)) refuseOtherTask(request, version);
    if (!request.deferResolution) await refuseUnreachable(input, call.principal.name, accepted);
    if (request.validateInput && !(version instanceof AuspexError) && version.manifest) {
      const resolved = await resolveInput(input, call.principal.name, accepted, call.signal);
      await checkInput(input, version.manifest, resolved, call.signal);
    }
    if (call.signal.aborted) throw new AuspexError("canceled", "the caller went away");
    const prediction = draft(request, call, version, accepted);
    // Without anybody who waits, or with somebody who may ask for it again or be told of its steps, the row
    // comes first.
    const plain =
      waitMs > 0 && request.requestId === "" && !prediction.webhook && prediction.status === "pending";
    let waited = false;
    const created = await counted(prediction, () => {
      waited = plain && runner.canRunUnwritten();
      return waited
        ? createUnwritten(prediction, accepted, waitMs, call)
        : createWritten(prediction, accepted);
    });
    return waited ? created : waitFor(created, waitMs, call);
  }

  /** Counts towards the quota what the creation ends with, unless that is no new prediction. */
  async function counted(
    { id, principal }: Prediction,
    creation: () => Promise<Prediction>,
  ): Promise<Prediction> {
    const month = await options.usage.take(principal);
    let created: Prediction | undefined;
    try {
      created = await creation();
      return created;
    } finally {
      if (created?.id !== id) options.usage.giveBack(principal, month);
    }
  }

  // ---- list, cancel, watch -------------------------------------------------------------------------------------

  async function list(request: ListPredictionsRequest, call: CallContext) {
    validate(request, limits);
    const size = request.pageSize || PAGE_SIZE_DEFAULT;
    const position = decodePageToken(request.pageToken);
    const forward = position?.direction !== "after";
    const items = await store.predictions.list({
      principal: call.principal.name,
      model: request.model || undefined,
      status: statusName(request.status),
      before: position && forward ? (position.key as PredictionId) : undefined,
      after: position && !forward ? (position.key as PredictionId) : undefined,
      // One more than the page tells whether there is another page in that direction.
      limit: size + 1,
    });
    const more = items.length > size;
    const page = forward ? items.slice(0, size) : items.slice(more ? 1 : 0);
    const [newest, oldest] = [page[0], page.at(-1)];
    const hasOlder = forward ? more : oldest !== undefined;
    const hasNewer = forward ? position !== undefined && newest !== undefined : more;
    return {
      predictions: page.map(summaryMessage),
      nextPageToken: hasOlder && oldest ? encodePageToken({ direction: "before", key: oldest.id }) : "",
      previousPageToken: hasNewer && newest ? encodePageToken({ direction: "after", key: newest.id }) : "",
    };
  }

  async function cancel(request: CancelPredictionRequest, call: CallContext): Promise<Prediction> {
    validate(request, limits);
    for (let tries = 0; tries < CANCEL_TRIES; tries++) {
      const current = await read(call.principal.name, request.id);
      if (isTerminal(current.status)) {
        throw new AuspexError(
          "failed_precondition",
          `prediction ${current.id} has already ${current.status}`,
        );
      }
      const at = now();
      const next: Prediction = {
        ...current,
        status: "canceled",
        revision: current.revision + 1,
        updatedAt: at,
        endedAt: at,
      };
      const guard = { kind: "revision", revision: current.revision } as const;
      const deliveries = deliveriesFor(next);
      if (!(await store.predictions.transition({ next, guard, deliveries }))) continue;
      runner.abort(next.id);
      hints.emit(next.id);
      if (deliveries.length > 0) options.onDeliveries();
      options.onSettled(next);
      return next;
    }
    throw new AuspexError("unavailable", `prediction ${request.id} keeps changing; try again`);
  }

  async function* watch(request: WatchPredictionRequest, call: CallContext) {
    validate(request, limits);
    const states = options.watches.watch(
      {
        id: parseUuid(request.id) ?? request.id,
        afterRevision: request.afterRevision,
        read: () => read(call.principal.name, request.id),
        isEnded: ({ status }: Prediction) => isTerminal(status),
      },
      call,
    );
    for await (const prediction of states) yield { prediction: predictionMessage(prediction) };
  }

  return {
    createPrediction: async (request, call) => ({
      prediction: predictionMessage(await create(request, call)),
    }),
    async getPrediction(request: GetPredictionRequest, call) {
      validate(request, limits);
      return { prediction: predictionMessage(await read(call.principal.name, request.id)) };
    },
    listPredictions: list,
    cancelPrediction: async (request, call) => ({
      prediction: predictionMessage(await cancel(request, call)),
    }),
    watchPrediction: watch,
  };
}
