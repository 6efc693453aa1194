/**
 * A prediction's input on its two ways: from the request into the row, where pictures become image ids, and from
 * the row into the worker, where image ids and URLs become bytes.
 */
import { createHash } from "node:crypto";
import type { CreatePredictionRequest } from "../../gen/auspex/v1/prediction_pb.ts";
import { AuspexError, invalidArgument } from "../domain/error.ts";
import type { ImageId } from "../domain/id.ts";
import type { Image } from "../domain/image.ts";
import type { Manifest } from "../domain/model.ts";
import type { JsonObject, JsonValue, Payload } from "../domain/payload.ts";
import type { Engine, JobInput } from "../engine/engine.ts";
import type { Store } from "../store/store.ts";
import type { Egress } from "./egress.ts";
import { schemaFault } from "./input-schema.ts";
import { tensorsFromMessage } from "./message.ts";
import { fetchPicture, parsePictureReference } from "./picture-source.ts";

/** The one input key that holds a picture, in every picture task. */
const PICTURE_KEY = "image";

export interface InputContext {
  readonly store: Store;
  readonly engine: Engine;
  readonly egress: Egress;
  readonly maxPictureBytes: number;
}

export interface AcceptedInput {
  /** As the row holds it. */
  readonly payload: Payload;
  /** Picture bytes that came with the request, still to be stored under `imageId`; null without. */
  readonly picture: { readonly bytes: Uint8Array; readonly imageId: ImageId } | null;
}

/**
 * Takes the input out of a request. Bytes under `files.image`, or a data URI as `input.image`, are replaced by the
 * id of an image. What only a look at the model or the picture can tell is left to `check` and to the run.
 */
export function acceptInput(request: CreatePredictionRequest, mintImageId: () => ImageId): AcceptedInput {
  const json: JsonObject = request.input ?? {};
  const tensors = tensorsFromMessage(request.tensors);
  const { [PICTURE_KEY]: file, ...others } = request.files;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) {
    throw invalidArgument({
      field: `files[${JSON.stringify(unknown)}]`,
      reason: "unknown",
      description: `is not an input that takes bytes; ${PICTURE_KEY} is`,
    });
  }
  if (file && PICTURE_KEY in json) {
    throw invalidArgument({
      field: `files["${PICTURE_KEY}"]`,
      reason: "conflict",
      description: `cannot be given together with input.${PICTURE_KEY}`,
    });
  }
  const text = json[PICTURE_KEY];
  const reference = typeof text === "string" ? parsePictureReference(text) : undefined;
  const bytes = file ?? (reference?.kind === "bytes" ? reference.bytes : undefined);
  if (!bytes) return { payload: { json, tensors }, picture: null };
  const imageId = mintImageId();
  return { payload: { json: { ...json, [PICTURE_KEY]: imageId }, tensors }, picture: { bytes, imageId } };
}

/** Whether its picture is yet to be fetched, from its address or from the store. */
export function namesPicture({ payload, picture }: AcceptedInput): boolean {
  return picture === null && typeof payload.json[PICTURE_KEY] === "string";
}

/** Refuses at once a picture that never could be used: an unknown image, an address that may not be reached. */
export async function refuseUnreachable(
  { store, egress }: InputContext,
  principal: string,
  { payload, picture }: AcceptedInput,
): Promise<void> {
  const text = payload.json[PICTURE_KEY];
  if (picture || typeof text !== "string") return;
  const reference = parsePictureReference(text);
  if (reference.kind === "url") {
    try {
      egress.check(reference.url);
    } catch (error) {
      const { message } = AuspexError.from(error);
      throw invalidArgument({ field: `input.${PICTURE_KEY}`, reason: "not_allowed", description: message });
    }
  } else if (reference.kind === "image") {
    const image = await store.images.get(principal, reference.id as ImageId);
    if (!image) throw new AuspexError("not_found", `image ${reference.id} does not exist`);
  }
}

/** The bytes and values that a worker needs. Rejects with what is wrong with the input. */
export async function resolveInput(
  context: InputContext,
  principal: string,
  { payload, picture }: AcceptedInput,
  signal: AbortSignal,
): Promise<JobInput> {
  const { json, tensors } = payload;
  const text = json[PICTURE_KEY];
  if (typeof text !== "string") return { json, tensors, files: {} };
  const bytes = picture?.bytes ?? (await readPicture(context, principal, text, signal));
  return { json, tensors, files: { [PICTURE_KEY]: bytes } };
}

async function readPicture(
  { store, egress, maxPictureBytes }: InputContext,
  principal: string,
  text: string,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const reference = parsePictureReference(text);
  switch (reference.kind) {
    case "bytes":
      return reference.bytes;
    case "url":
      return fetchPicture(reference.url, egress, maxPictureBytes, signal);
    case "image": {
      const image = await store.images.get(principal, reference.id as ImageId);
      if (!image) throw new AuspexError("not_found", `image ${reference.id} does not exist`);
      return readImage(store, image);
    }
    case "invalid":
      throw invalidArgument({
        field: `input.${PICTURE_KEY}`,
        reason: "format",
        description: reference.reason,
      });
    default:
      return reference satisfies never;
  }
}

/** The bytes of a ready image. */
export async function readImage(store: Store, image: Image): Promise<Uint8Array> {
  if (image.state.kind !== "ready") {
    const why = image.state.kind === "failed" ? image.state.reason : "it is still being imported";
    throw new AuspexError("failed_precondition", `image ${image.id} cannot be used: ${why}`);
  }
  const bytes = await store.blobs.get(image.state.blob);
  if (!bytes) throw new AuspexError("internal", `the bytes of image ${image.id} are gone`);
  return bytes;
}

/** `validate_input`: everything that can be known without running the model. */
export async function checkInput(
  { engine }: InputContext,
  manifest: Manifest,
  input: JobInput,
  signal: AbortSignal,
): Promise<void> {
  const json: JsonObject =
    Object.keys(input.tensors).length > 0 && !("inputs" in input.json)
      ? { inputs: {}, ...input.json }
      : input.json;
  const fault = schemaFault(manifest, json);
  if (fault) throw invalidArgument(fault);
  const bytes = input.files[PICTURE_KEY];
  if (bytes) {
    try {
      await engine.inspect(bytes, signal);
    } catch (error) {
      const known = AuspexError.from(error);
      if (known.code !== "invalid_argument") throw known;
      throw invalidArgument({ field: `input.${PICTURE_KEY}`, reason: "picture", description: known.message });
    }
  }
}

/** Same request, same hash: SHA-256 over what the prediction is made of, keys in order. */
export function requestHash(request: CreatePredictionRequest): string {
  const hash = createHash("sha256");
  const { model, input, deadline, validateInput, deferResolution, webhook, tasks } = request;
  hash.update(
    canonical({
      model,
      input: input ?? null,
      deadline: deadline ? `${deadline.seconds}.${deadline.nanos}` : null,
      validateInput,
      deferResolution,
      webhook: webhook ? [webhook.url, webhook.secret, webhook.format] : null,
      // Left out where there are none, as in the hashes of before there were tasks.
      ...(tasks.length > 0 && { tasks }),
      tensors: Object.fromEntries(
        Object.entries(request.tensors).map(([k, t]) => [k, [t.dtype, ...t.shape]]),
      ),
    }),
  );
  for (const [kind, parts] of [
    ["file", Object.entries(request.files)],
    ["tensor", Object.entries(request.tensors).map(([key, { data }]) => [key, data] as const)],
  ] as const) {
    for (const [key, bytes] of [...parts].sort(([a], [b]) => (a < b ? -1 : 1))) {
      hash.update(`\0${kind}\0${key}\0${bytes.length}\0`).update(bytes);
    }
  }
  return hash.digest("hex");
}

/** JSON with the keys of every object in order. */
function canonical(value: JsonValue): string {
  return JSON.stringify(value, (_key, part: JsonValue) =>
    typeof part === "object" && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}
