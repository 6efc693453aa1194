/** What the calls about datasets send: zips, pictures, types, ids. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { FastifyRequest } from "fastify";
import {
  type DatasetType,
  ExampleSource,
  type ZipSourceSchema,
} from "../../../../gen/auspex/v1/dataset_pb.ts";
import { badParameter, refuse } from "./errors.ts";
import { type Form, filesOf, pathPart, textOf, wholeNumber } from "./form.ts";
import { TYPE_NAMES } from "./render.ts";
import { checkPicture } from "./request.ts";

/** Bytes of an example's or a feedback's picture, as documented (1 MB). */
export const EXAMPLE_BYTES_MAX = 1024 ** 2;

/** A number of a path; what is none is nobody's. */
export function pathId(request: FastifyRequest, name: string): bigint {
  const id = wholeNumber(pathPart(request, name));
  if (id === undefined) throw refuse("notFound");
  return BigInt(id);
}

/** Pictures with one label each unless told: the older clients do not say. */
export function decodeType(form: Form): DatasetType {
  const text = textOf(form, "type") ?? "image";
  for (const [type, name] of TYPE_NAMES) if (name === text) return type;
  throw badParameter("type", `must be one of: ${[...TYPE_NAMES.values()].join(", ")}`);
}

/** Exactly one of a file and an address. */
export function decodeZip(form: Form): MessageInitShape<typeof ZipSourceSchema> {
  const url = textOf(form, "path");
  const [file, ...others] = filesOf(form, "data");
  if (others.length > 0 || (file && url !== undefined)) throw refuse("zipDuplicated");
  if (file) return { source: { case: "data", value: file.bytes as Uint8Array<ArrayBuffer> } };
  if (url === undefined) throw refuse("zipMissing");
  return { source: { case: "url", value: url } };
}

/** What a dataset without a name takes its name from; "" where the file has none that says anything. */
export function zipName(form: Form): string {
  const fileName = form.get("data")?.[0]?.fileName.trim() ?? "";
  return /^(.+)\.zip$/i.exec(fileName)?.[1] ?? "";
}

/** The one picture of an example. */
export function decodePicture(form: Form): Uint8Array<ArrayBuffer> {
  const [file, ...others] = filesOf(form, "data");
  if (!file) throw refuse("exampleIncomplete");
  if (others.length > 0) throw refuse("fileDuplicated");
  return checkPicture("data", file.bytes, EXAMPLE_BYTES_MAX);
}

const SOURCES: ReadonlyMap<string, ExampleSource> = new Map<string, ExampleSource>([
  ["upload", ExampleSource.UPLOAD],
  ["feedback", ExampleSource.FEEDBACK],
  ["all", ExampleSource.ALL],
]);

export function decodeSource(text: string | null): ExampleSource {
  const source = SOURCES.get(text?.trim() || "upload");
  if (source === undefined) throw badParameter("source", `must be one of: ${[...SOURCES.keys()].join(", ")}`);
  return source;
}
