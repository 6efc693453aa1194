/** What a picture task makes of its model's outputs. */
import type { JsonObject } from "../../domain/payload.ts";
import type { Outcome, PictureItem } from "../protocol.ts";
import type { HostTensors } from "./runtime.ts";

/** One picture's part of the outputs, to be said in the form that the item asks for. */
export type PictureAnswer = (item: PictureItem) => Outcome<JsonObject> | Promise<Outcome<JsonObject>>;

/**
 * One answer for each row, in their order.
 *
 * @throws Error when the outputs do not have as many rows
 */
export type ReadAnswers = (outputs: HostTensors, rows: number) => readonly PictureAnswer[];

/** The values of each row of an output. @throws Error when there are not `rows` of `width` values */
export function rowsOf(
  outputs: HostTensors,
  name: string,
  rows: number,
  width: number,
): readonly Float32Array[] {
  const data = outputs[name]?.data;
  if (data?.length !== rows * width) {
    throw new Error(
      `the model gave ${data?.length} values in ${name} for ${rows} pictures, and not ${rows * width}`,
    );
  }
  const all = data instanceof Float32Array ? data : Float32Array.from(data);
  return Array.from({ length: rows }, (_, row) => all.subarray(row * width, (row + 1) * width));
}
