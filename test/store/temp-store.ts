/** Real stores in folders of their own, and records to put into them. */
import { randomFillSync } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { createIdMinter, type ImageId, type PredictionId } from "../../src/domain/id.ts";
import type { Image } from "../../src/domain/image.ts";
import { EMPTY_PAYLOAD } from "../../src/domain/payload.ts";
import type { Lease, Prediction } from "../../src/domain/prediction.ts";
import type { NewDelivery } from "../../src/domain/webhook.ts";
import { openStore } from "../../src/store/open-store.ts";
import type { InsertResult, Store } from "../../src/store/store.ts";

const mint = createIdMinter((bytes) => {
  randomFillSync(bytes);
});

/** A folder that is gone after the test. */
export function tempFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "auspex-store-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A store that is closed after the test. Without a folder, in one of its own. */
export async function tempStore({ dataDir = tempFolder(), queueMax = 1000 } = {}): Promise<Store> {
  const store = await openStore({ dataDir, queueMax });
  onTestFinished(() => store.close());
  return store;
}

export function newId(): PredictionId {
  return mint(Date.now()) as PredictionId;
}

/** A pending prediction of `alice`, but for what is given. */
export function aPrediction(given: Partial<Prediction> = {}): Prediction {
  return {
    id: newId(),
    principal: "alice",
    model: "auspex/mobilenet",
    version: 1,
    status: "pending",
    revision: 1,
    attempt: 0,
    deaths: 0,
    input: EMPTY_PAYLOAD,
    output: null,
    error: null,
    createdAt: 1_000,
    updatedAt: 1_000,
    startedAt: null,
    endedAt: null,
    setupTime: null,
    executionTime: null,
    deadlineAt: null,
    requestId: "",
    requestHash: "",
    webhook: null,
    ...given,
  };
}

export const SUCCESS = {
  status: "succeeded",
  output: { json: { text: "done" }, tensors: {} },
  endedAt: 9_000,
  updatedAt: 9_000,
} as const satisfies Partial<Prediction>;

export const FAILURE = {
  status: "failed",
  error: { source: "internal", code: "internal", message: "its worker died" },
  endedAt: 9_000,
  updatedAt: 9_000,
} as const satisfies Partial<Prediction>;

export const CANCELLATION = {
  status: "canceled",
  endedAt: 9_000,
  updatedAt: 9_000,
} as const satisfies Partial<Prediction>;

export function aDelivery(prediction: Prediction, given: Partial<NewDelivery> = {}): NewDelivery {
  const revision = given.revision ?? prediction.revision;
  return {
    id: `msg_${prediction.id}_${revision}`,
    predictionId: prediction.id,
    principal: prediction.principal,
    revision,
    url: "https://hooks.example/x",
    secret: "",
    format: "auspex",
    body: `{"revision":${revision}}`,
    terminal: false,
    createdAt: 1_000,
    ...given,
  };
}

export function anImage(given: Partial<Image> = {}): Image {
  return {
    id: mint(Date.now()) as ImageId,
    principal: "alice",
    state: { kind: "ready", blob: "0".repeat(64), mediaType: "", width: 3, height: 2, sizeBytes: 7 },
    sourceUrl: "",
    predictionId: null,
    createdAt: 1_000,
    ...given,
  };
}

export function insert(
  store: Store,
  prediction: Prediction,
  {
    lease = null,
    deliveries = [],
    images = [],
  }: { lease?: Lease | null; deliveries?: NewDelivery[]; images?: Image[] } = {},
): Promise<InsertResult> {
  return store.predictions.insert({ prediction, lease, deliveries, images });
}
