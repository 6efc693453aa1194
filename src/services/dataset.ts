/** The operations on datasets and their labels; those on single examples are in `example.ts`. */
import type {
  CreateDatasetRequest,
  DatasetService,
  UploadDatasetRequest,
  ZipSource,
} from "../../gen/auspex/v1/dataset_pb.ts";
import { type Dataset, type DatasetId, type LabelId, NAME_LENGTH_MAX } from "../domain/dataset.ts";
import { AuspexError, invalidArgument } from "../domain/error.ts";
import { parseUuid } from "../domain/id.ts";
import type { Engine } from "../engine/engine.ts";
import type { ImportSource } from "../store/dataset-store.ts";
import type { Store } from "../store/store.ts";
import { anySignal } from "./any-signal.ts";
import type { CallContext, Operations } from "./call.ts";
import { type DatasetImports, datasetKey } from "./dataset-import.ts";
import { datasetMessage, datasetTypeName, labelMessage } from "./dataset-message.ts";
import { numberOf, refusal, unknownDataset } from "./dataset-refusal.ts";
import { deletionMessage } from "./deletion-message.ts";
import type { Egress } from "./egress.ts";
import { createExampleOperations } from "./example.ts";
import type { Hints } from "./hints.ts";
import { decodeNumberToken, pageOf } from "./page-token.ts";
import { type Limits, validate } from "./validation.ts";

const PAGE_SIZE_DEFAULT = 25;

export interface DatasetOptions {
  readonly store: Store;
  readonly engine: Pick<Engine, "inspect">;
  readonly egress: Egress;
  readonly imports: DatasetImports;
  readonly hints: Hints;
  readonly limits: Limits;
  readonly now: () => number;
  readonly mintId: () => string;
  /** Tells the worker that there is something to delete. */
  readonly onDeletion: () => void;
  /** Aborted when the server stops: nobody waits for an import any more. */
  readonly stopping: AbortSignal;
}

export function createDatasetOperations(options: DatasetOptions): Operations<typeof DatasetService> {
  const { store, imports, limits, now } = options;
  const message = (dataset: Dataset) => datasetMessage(dataset, imports.progress(dataset.id));

  /** The zip, durable, or the URL that it is to be fetched from. */
  async function acceptZip(zip: ZipSource | undefined): Promise<ImportSource> {
    imports.refuseWhenFull();
    if (zip?.source.case === "data") return { kind: "blob", blob: await store.blobs.put(zip.source.value) };
    const url = zip?.source.case === "url" ? zip.source.value : "";
    try {
      options.egress.check(url);
    } catch (error) {
      const description = AuspexError.from(error).message;
      throw invalidArgument({ field: "zip.url", reason: "not_allowed", description });
    }
    return { kind: "url", url };
  }

  function newDataset({ type }: CreateDatasetRequest | UploadDatasetRequest, principal: string) {
    // Validated: it is one of the two.
    return { principal, type: datasetTypeName(type) ?? "image", createdAt: now() };
  }

  /** As it is once nothing is imported into it any more, or once nobody waits. */
  async function ended(dataset: Dataset, call: CallContext): Promise<Dataset> {
    const { signal, release } = anySignal(call.signal, options.stopping);
    const changes = options.hints.subscribe(datasetKey(dataset.id));
    try {
      for (;;) {
        const current = await store.datasets.get(dataset.principal, dataset.id);
        if (!current) throw unknownDataset(dataset.id);
        if (current.state.kind !== "importing" || signal.aborted) return current;
        await changes.next(signal);
      }
    } finally {
      release();
      changes.close();
    }
  }

  return {
    ...createExampleOperations(options),

    async createDataset(request, { principal }) {
      validate(request, limits);
      const { name, labels } = request;
      const dataset = await store.datasets.create({ ...newDataset(request, principal.name), name, labels });
      return { dataset: message(dataset) };
    },

    async uploadDataset(request, call) {
      validate(request, limits);
      const source = await acceptZip(request.zip);
      const name = request.name.trim() || nameOf(source);
      const next = { ...newDataset(request, call.principal.name), name, labels: [] };
      const { dataset, begun } = await store.imports.create(next, source);
      imports.add(begun);
      return { dataset: message(request.waitUntilReady ? await ended(dataset, call) : dataset) };
    },

    async addExamples(request, { principal }) {
      validate(request, limits);
      const source = await acceptZip(request.zip);
      const datasetId = numberOf(request.datasetId) as DatasetId;
      const reply = await store.imports.begin({ principal: principal.name, datasetId, source, now: now() });
      if (reply.kind !== "begun") throw refusal(reply, request.datasetId);
      imports.add(reply.begun);
      return { dataset: message(reply.dataset) };
    },

    async getDataset(request, { principal }) {
      validate(request, limits);
      const dataset = await store.datasets.get(principal.name, numberOf(request.id) as DatasetId);
      if (!dataset) throw unknownDataset(request.id);
      return { dataset: message(dataset) };
    },

    async listDatasets(request, { principal }) {
      validate(request, limits);
      const size = request.pageSize || PAGE_SIZE_DEFAULT;
      const datasets = await store.datasets.list({
        principal: principal.name,
        after: decodeNumberToken(request.pageToken) ?? 0,
        skip: request.skip,
        // One more than the page tells whether there is another page.
        limit: size + 1,
      });
      const { page, nextPageToken } = pageOf(datasets, size, ({ id }) => id);
      return {
        datasets: page.map(message),
        nextPageToken,
      };
    },

    async deleteDataset(request, { principal }) {
      validate(request, limits);
      const reply = await store.datasets.delete({
        principal: principal.name,
        id: numberOf(request.id) as DatasetId,
        deletionId: options.mintId(),
        now: now(),
      });
      switch (reply.kind) {
        case "deleted":
          options.onDeletion();
          return { deletion: deletionMessage(reply.deletion) };
        case "training":
          throw new AuspexError(
            "failed_precondition",
            `dataset ${request.id} is being trained from; cancel that, or wait for its end`,
          );
        default:
          throw refusal({ kind: reply.kind }, request.id);
      }
    },

    async getDeletion(request, { principal }) {
      validate(request, limits);
      const deletion = await store.deletions.get(principal.name, parseUuid(request.id) ?? request.id);
      if (!deletion) throw new AuspexError("not_found", `deletion ${request.id} does not exist`);
      return { deletion: deletionMessage(deletion) };
    },

    async createLabel(request, { principal }) {
      validate(request, limits);
      const { name } = request;
      const datasetId = numberOf(request.datasetId) as DatasetId;
      const reply = await store.datasets.createLabel({
        principal: principal.name,
        datasetId,
        name,
        now: now(),
      });
      switch (reply.kind) {
        case "created":
          return { label: labelMessage(reply.label) };
        case "exists":
          throw new AuspexError("already_exists", `dataset ${request.datasetId} has a label ${name}`);
        case "full":
          throw new AuspexError(
            "failed_precondition",
            `dataset ${request.datasetId} has as many labels as it may have`,
          );
        default:
          throw refusal({ kind: reply.kind }, request.datasetId);
      }
    },

    async getLabel(request, { principal }) {
      validate(request, limits);
      const label = await store.datasets.getLabel(principal.name, numberOf(request.id) as LabelId);
      if (!label) throw new AuspexError("not_found", `label ${request.id} does not exist`);
      return { label: labelMessage(label) };
    },
  };
}

/** Of the zip's file without its ending, where a URL says it. */
function nameOf(source: ImportSource): string {
  if (source.kind === "blob") return "dataset";
  const file = new URL(source.url).pathname.split("/").at(-1) ?? "";
  const name = decoded(file)
    .replace(/\.zip$/i, "")
    .trim();
  return name.slice(0, NAME_LENGTH_MAX) || "dataset";
}

/** A percent sign that begins no byte stays as it is. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
