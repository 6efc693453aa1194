/**
 * How predictions come to be: of models and of chatflows, written first or run first (see `runner.ts`). An answer of a
 * chatflow is always written first: whoever watches or aborts it has to find its row.
 */
import type { CreatePredictionRequest } from "../../gen/auspex/v1/prediction_pb.ts";
import type { Chatflow } from "../domain/chatflow.ts";
import { AuspexError, invalidArgument } from "../domain/error.ts";
import { FleetingSet } from "../domain/fleeting.ts";
import type { ImageId, PredictionId } from "../domain/id.ts";
import type { Image } from "../domain/image.ts";
import { parseModelRef } from "../domain/model.ts";
import { EMPTY_PAYLOAD, type Payload } from "../domain/payload.ts";
import { isTerminal, type Prediction, type WebhookTarget } from "../domain/prediction.ts";
import { CHATFLOW_OWNER } from "../domain/principal.ts";
import type { NewDelivery } from "../domain/webhook.ts";
import type { Admission } from "./admission.ts";
import { anySignal } from "./any-signal.ts";
import type { CallContext } from "./call.ts";
import { durationMs } from "./check.ts";
import type { AnswerIntake } from "./flow/answer-intake.ts";
import type { AnswersInFlight } from "./flow/answers-in-flight.ts";
import type { Asked } from "./flow/asked.ts";
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
import { webhookFormatName } from "./message.ts";
import { failure } from "./outcome.ts";
import { readPrediction } from "./prediction-cancel.ts";
import { blankPrediction } from "./prediction-draft.ts";
import { flowRef, type ResolveTarget, type Target, versionOf } from "./prediction-target.ts";
import { queueFull } from "./queue-full.ts";
import type { RateLimiter } from "./rate-limit.ts";
import type { Runner } from "./runner.ts";
import type { Usage } from "./usage.ts";
import { type Limits, validate } from "./validation.ts";

export interface CreationOptions {
  readonly input: InputContext;
  readonly resolveTarget: ResolveTarget;
  readonly intake: AnswerIntake;
  readonly inFlight: AnswersInFlight;
  readonly runner: Runner;
  readonly admission: Admission;
  readonly hints: Hints;
  readonly rate: RateLimiter;
  readonly usage: Usage;
  readonly limits: Limits;
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

/** An answer that is to be made. */
export interface NewAnswer {
  readonly flow: Chatflow;
  readonly asked: Asked;
  readonly deadlineMs: number;
  /** Idempotency key; "" for none. */
  readonly requestId: string;
  /** Of the request that it was made with. */
  readonly requestHash: string;
}

export interface PredictionCreation {
  create(request: CreatePredictionRequest, call: CallContext): Promise<Prediction>;
  /** Durable when it resolves, and begun. Under the flow's principal, whoever asks. */
  createAnswer(answer: NewAnswer): Promise<Prediction>;
  /** Waits for the end of a written one, at most `waitMs`; answers it as it then is. */
  waitFor(prediction: Prediction, waitMs: number, call: CallContext): Promise<Prediction>;
}

export function createPredictionCreation(options: CreationOptions): PredictionCreation {
  const { input, intake, inFlight, runner, hints, limits, now, deliveriesFor } = options;
  const { store, egress } = input;
  /** What ends the waits of unwritten ones. A listener of the signal, once gone, would still hold the next one. */
  const waits = new FleetingSet<() => void>();
  options.ending.addEventListener("abort", () => {
    for (const stop of waits.values()) stop();
  });

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
    target: Target,
    payload: Payload,
  ): Prediction {
    const createdAt = now();
    const error = target.kind === "unresolved" ? target.error : undefined;
    const ref = target.kind === "model" ? target.version : parseModelRef(request.model);
    return {
      ...blankPrediction(options.mintId() as PredictionId, call.principal.name, createdAt),
      model: ref ? `${ref.owner}/${ref.name}` : request.model,
      version: versionOf(target),
      ...(error && { status: "failed", error: failure(error), endedAt: createdAt }),
      input: payload,
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

  /** Durable first, then run here or by whoever claims it; answered as it was made. */
  async function createWritten(prediction: Prediction, images: readonly Image[]): Promise<Prediction> {
    const deliveries = deliveriesFor(prediction);
    const result = await runner.write({ prediction, deliveries, images });
    switch (result.kind) {
      case "inserted":
        if (deliveries.length > 0) options.onDeliveries();
        if (isTerminal(prediction.status)) options.onSettled(prediction);
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
  function repeated(existing: Prediction, hash: string, requestId = existing.requestId): Prediction {
    if (existing.requestHash === hash) return existing;
    throw new AuspexError(
      "already_exists",
      `request id ${requestId} was used with another request, for prediction ${existing.id}`,
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
    const first = Promise.withResolvers<Prediction | "elapsed">();
    run.settled.then(first.resolve, first.reject);
    const elapse = () => first.resolve("elapsed");
    const timeout = setTimeout(elapse, waitMs);
    const wait = waits.add(elapse);
    call.signal.addEventListener("abort", run.abandon, { once: true });
    try {
      const settled = await first.promise;
      if (settled !== "elapsed") return settled;
      call.signal.removeEventListener("abort", run.abandon);
      return (await run.write(await images)) ?? (await run.settled);
    } finally {
      clearTimeout(timeout);
      waits.leave(wait);
      call.signal.removeEventListener("abort", run.abandon);
    }
  }

  async function waitFor(prediction: Prediction, waitMs: number, call: CallContext): Promise<Prediction> {
    if (waitMs === 0 || isTerminal(prediction.status)) return prediction;
    const timeout = new AbortController();
    const timer = setTimeout(() => timeout.abort(), waitMs);
    const { signal, release } = anySignal(call.signal, timeout.signal, options.ending);
    const changes = hints.subscribe(prediction.id);
    try {
      for (;;) {
        const current = await readPrediction(store.predictions, prediction.principal, prediction.id);
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
    const flow = flowRef(request.model);
    const accepted = flow ? undefined : acceptInput(request, () => options.mintId() as ImageId);
    const target = await options.resolveTarget(request, flow, call);
    // Without anybody who waits, or with somebody who may ask for it again or be told of its steps, the row
    // comes first.
    const plain = waitMs > 0 && request.requestId === "" && !request.webhook;
    if (plain && target.kind === "model") options.admission(target.version, waitMs, call);
    if (accepted) await checkAccepted(request, call, target, accepted);
    if (call.signal.aborted) throw new AuspexError("canceled", "the caller went away");
    const prediction = draft(request, call, target, accepted?.payload ?? EMPTY_PAYLOAD);
    if (target.kind === "flow")
      return waitFor(await createFlowPrediction(prediction, target.flow, target.asked), waitMs, call);
    if (!accepted) return counted(prediction, () => createWritten(prediction, []));
    let waited = false;
    const created = await counted(prediction, async () => {
      waited = plain && target.kind === "model" && runner.canRunUnwritten(accepted);
      return waited
        ? createUnwritten(prediction, accepted, waitMs, call)
        : createWritten(prediction, await storePicture(prediction, accepted));
    });
    return waited ? created : waitFor(created, waitMs, call);
  }

  /** What can be refused of an input before there is a prediction. */
  async function checkAccepted(
    request: CreatePredictionRequest,
    { principal, signal }: CallContext,
    target: Target,
    accepted: AcceptedInput,
  ): Promise<void> {
    if (!request.deferResolution) await refuseUnreachable(input, principal.name, accepted);
    if (!request.validateInput || target.kind !== "model" || !target.version.manifest) return;
    const resolved = await resolveInput(input, principal.name, accepted, signal);
    await checkInput(input, target.version.manifest, resolved, signal);
  }

  async function createFlowPrediction(
    prediction: Prediction,
    flow: Chatflow,
    asked: Asked,
  ): Promise<Prediction> {
    return counted(prediction, async () => {
      let created: Prediction | undefined;
      inFlight.admit({ predictionId: prediction.id, chatflowId: flow.id, chatId: asked.chatId });
      try {
        const { input: json, images } = await intake.store(prediction, flow, asked);
        created = await createWritten({ ...prediction, input: { json, tensors: {} } }, images);
        return created;
      } finally {
        if (created?.id !== prediction.id) inFlight.release(prediction.id);
      }
    });
  }

  async function createAnswer(answer: NewAnswer): Promise<Prediction> {
    const { flow, asked, deadlineMs, requestId, requestHash: hash } = answer;
    const { principal } = flow;
    options.refuseUnlessServing();
    options.rate.take(principal);
    // Whoever may ask must not meet the principal's own request ids, nor those of other flows.
    const ownRequestId = requestId === "" ? "" : `${CHATFLOW_OWNER}/${flow.id}/${requestId}`;
    if (ownRequestId !== "") {
      const existing = await store.predictions.getByRequestId(principal, ownRequestId);
      if (existing) return repeated(existing, hash, requestId);
    }
    const createdAt = now();
    const prediction: Prediction = {
      ...blankPrediction(options.mintId() as PredictionId, principal, createdAt),
      model: `${CHATFLOW_OWNER}/${flow.id}`,
      version: flow.version,
      deadlineAt: createdAt + Math.round(deadlineMs * 1000),
      requestId: ownRequestId,
      requestHash: requestId === "" ? "" : hash,
    };
    return createFlowPrediction(prediction, flow, asked);
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

  return { create, createAnswer, waitFor };
}
