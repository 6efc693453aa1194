/** The operations on single examples, and what they share with feedback: a picture is proved before it is kept. */
import type { DatasetService } from "../../gen/auspex/v1/dataset_pb.ts";
import type { DatasetId, ExampleId, LabelId } from "../domain/dataset.ts";
import { AuspexError, invalidArgument } from "../domain/error.ts";
import type { Engine } from "../engine/engine.ts";
import type { NewExample } from "../store/dataset-store.ts";
import type { Store } from "../store/store.ts";
import type { Operations } from "./call.ts";
import { exampleMessage, sourceFilter } from "./dataset-message.ts";
import { numberOf, refusal, unknownDataset } from "./dataset-refusal.ts";
import { decodeNumberToken, pageOf } from "./page-token.ts";
import { type Limits, validate } from "./validation.ts";

const PAGE_SIZE_DEFAULT = 100;

export interface ExampleOptions {
  readonly store: Store;
  readonly engine: Pick<Engine, "inspect">;
  readonly limits: Limits;
  readonly now: () => number;
}

type ExampleOperations = Pick<
  Operations<typeof DatasetService>,
  "createExample" | "getExample" | "listExamples" | "deleteExample"
>;

/**
 * Decodes a picture and makes its bytes durable. Rejects with `invalid_argument` for one that cannot be read.
 *
 * @param name "" takes the picture's hash
 */
export async function acceptPicture(
  { store, engine }: Pick<ExampleOptions, "store" | "engine">,
  name: string,
  data: Uint8Array,
  signal: AbortSignal,
): Promise<NewExample> {
  try {
    const info = await engine.inspect(data, signal);
    const blob = await store.blobs.put(data);
    return { name: name || blob, blob, sizeBytes: data.length, ...info };
  } catch (error) {
    const known = AuspexError.from(error);
    if (known.code !== "invalid_argument") throw known;
    throw invalidArgument({ field: "data", reason: "picture", description: known.message });
  }
}

function unknownExample(id: bigint): AuspexError {
  return new AuspexError("not_found", `example ${id} does not exist`);
}

function unknownLabel(id: bigint): AuspexError {
  return new AuspexError("not_found", `label ${id} does not exist`);
}

export function createExampleOperations({ store, engine, limits, now }: ExampleOptions): ExampleOperations {
  return {
    async createExample(request, { principal, signal }) {
      validate(request, limits);
      const reply = await store.examples.insert({
        principal: principal.name,
        datasetId: numberOf(request.datasetId) as DatasetId,
        labelId: numberOf(request.labelId) as LabelId,
        source: "upload",
        example: await acceptPicture({ store, engine }, request.name, request.data, signal),
        now: now(),
      });
      switch (reply.kind) {
        case "inserted":
        case "found":
          return { example: exampleMessage(reply.example) };
        case "unknown_label":
          throw unknownLabel(request.labelId);
        case "name_taken":
          throw new Error("only feedback has unique names");
        default:
          throw refusal({ kind: reply.kind }, request.datasetId);
      }
    },

    async getExample(request, { principal }) {
      validate(request, limits);
      const example = await store.examples.get(principal.name, numberOf(request.id) as ExampleId);
      if (!example) throw unknownExample(request.id);
      const data = request.includeData ? await store.blobs.get(example.blob) : new Uint8Array();
      if (!data) throw new Error(`the picture of example ${example.id} is not in the store`);
      return { example: exampleMessage(example), data: data as Uint8Array<ArrayBuffer> };
    },

    async listExamples(request, { principal }) {
      validate(request, limits);
      const { datasetId, labelId } = request;
      const size = request.pageSize || PAGE_SIZE_DEFAULT;
      const examples = await store.examples.list({
        principal: principal.name,
        datasetId: datasetId === 0n ? undefined : (numberOf(datasetId) as DatasetId),
        labelId: labelId === 0n ? undefined : (numberOf(labelId) as LabelId),
        source: sourceFilter(request.source),
        after: decodeNumberToken(request.pageToken) ?? 0,
        skip: request.skip,
        // One more than the page tells whether there is another page.
        limit: size + 1,
      });
      if (!examples) throw labelId === 0n ? unknownDataset(datasetId) : unknownLabel(labelId);
      const { page, nextPageToken } = pageOf(examples, size, ({ id }) => id);
      return {
        examples: page.map(exampleMessage),
        nextPageToken,
      };
    },

    async deleteExample(request, { principal }) {
      validate(request, limits);
      const id = numberOf(request.id) as ExampleId;
      if (!(await store.examples.delete({ principal: principal.name, id, now: now() }))) {
        throw unknownExample(request.id);
      }
      return {};
    },
  };
}
