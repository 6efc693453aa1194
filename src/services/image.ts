/** The operations on pictures that are stored on their own, and the imports that run behind them. */
import type { ImageService } from "../../gen/auspex/v1/image_pb.ts";
import { AuspexError, invalidArgument } from "../domain/error.ts";
import { type ImageId, parseUuid } from "../domain/id.ts";
import type { Image, ImageState } from "../domain/image.ts";
import type { EngineLog } from "../engine/engine.ts";
import type { Operations } from "./call.ts";
import { type InputContext, readImage } from "./input.ts";
import { imageMessage } from "./message.ts";
import { fetchPicture } from "./picture-source.ts";
import { type Limits, validate } from "./validation.ts";

/** Imports that fetch at once: each may hold a picture of the body limit's size. */
const IMPORTS_MAX = 8;
/** Imports that may wait for their turn. */
const IMPORT_QUEUE_MAX = 1000;

export interface ImageOptions {
  readonly input: InputContext;
  readonly limits: Limits;
  readonly now: () => number;
  readonly mintId: () => string;
  /** Aborted when the server stops; unfinished imports begin again with the next start. */
  readonly stopping: AbortSignal;
  readonly log: EngineLog;
}

export interface ImageOperations extends Operations<typeof ImageService> {
  /** Takes up the imports that an earlier process left behind. */
  resume(): Promise<void>;
}

export function createImageOperations(options: ImageOptions): ImageOperations {
  const { input, limits, now, stopping, log } = options;
  const { store, engine, egress } = input;
  const queue: Image[] = [];
  let fetching = 0;

  async function ready(bytes: Uint8Array, signal: AbortSignal): Promise<ImageState> {
    const { mediaType, width, height } = await engine.inspect(bytes, signal);
    const blob = await store.blobs.put(bytes);
    return { kind: "ready", blob, mediaType, width, height, sizeBytes: bytes.length };
  }

  async function runImport(image: Image): Promise<void> {
    let state: ImageState;
    try {
      state = await ready(
        await fetchPicture(image.sourceUrl, egress, input.maxPictureBytes, stopping),
        stopping,
      );
    } catch (error) {
      if (stopping.aborted) return;
      state = { kind: "failed", reason: AuspexError.from(error).message };
    }
    await store.images.settle({ id: image.id, state });
  }

  function pump(): void {
    while (fetching < IMPORTS_MAX && !stopping.aborted) {
      const image = queue.shift();
      if (!image) return;
      fetching++;
      runImport(image)
        .catch((error: unknown) =>
          log.error({ err: error, image: image.id }, "an import could not be settled"),
        )
        .finally(() => {
          fetching--;
          pump();
        });
    }
  }

  return {
    async uploadImage(request, { principal, signal }) {
      validate(request, limits);
      let state: ImageState;
      try {
        state = await ready(request.data, signal);
      } catch (error) {
        const known = AuspexError.from(error);
        if (known.code !== "invalid_argument") throw known;
        throw invalidArgument({ field: "data", reason: "picture", description: known.message });
      }
      const image: Image = {
        id: options.mintId() as ImageId,
        principal: principal.name,
        state,
        sourceUrl: "",
        predictionId: null,
        createdAt: now(),
      };
      await store.images.insert(image);
      return { image: imageMessage(image) };
    },

    async importImage(request, { principal }) {
      validate(request, limits);
      try {
        egress.check(request.url);
      } catch (error) {
        const description = AuspexError.from(error).message;
        throw invalidArgument({ field: "url", reason: "not_allowed", description });
      }
      if (queue.length >= IMPORT_QUEUE_MAX) {
        throw new AuspexError("resource_exhausted", "too many imports are waiting; try again later", {
          retryAfterMs: 1000,
        });
      }
      const image: Image = {
        id: options.mintId() as ImageId,
        principal: principal.name,
        state: { kind: "importing" },
        sourceUrl: request.url,
        predictionId: null,
        createdAt: now(),
      };
      await store.images.insert(image);
      queue.push(image);
      pump();
      return { image: imageMessage(image) };
    },

    async getImage(request, { principal }) {
      validate(request, limits);
      const image = await store.images.get(principal.name, (parseUuid(request.id) ?? request.id) as ImageId);
      if (!image) throw new AuspexError("not_found", `image ${request.id} does not exist`);
      const wanted = request.includeData && image.state.kind === "ready";
      const data = wanted ? await readImage(store, image) : new Uint8Array();
      return { image: imageMessage(image), data: data as Uint8Array<ArrayBuffer> };
    },

    async resume() {
      queue.push(...(await store.images.importing()));
      pump();
    },
  };
}
