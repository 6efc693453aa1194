/** Parameters of the other dialects, as a form, JSON or URL-encoded. The first line is the Content-Type. */
import type { FastifyRequest } from "fastify";
import { Refused as PredictionRefused } from "../../../src/transports/dialects/einstein-prediction/errors.ts";
import { readParameters } from "../../../src/transports/dialects/einstein-prediction/parameters.ts";
import { Refused as VisionRefused } from "../../../src/transports/dialects/einstein-vision/errors.ts";
import {
  decimalOf,
  filesOf,
  integerOf,
  readForm,
  textOf,
} from "../../../src/transports/dialects/einstein-vision/form.ts";
import { headed, holds, noPollution, unlessRefused, unlessRejected } from "../target.ts";

export const claim =
  "Parameters are refused with a status from 400 to 499, or their numbers are numbers and their texts no longer than the body.";

const VALUES_MAX = 1000;
const isRefusal = (error: unknown): boolean =>
  (error instanceof VisionRefused || error instanceof PredictionRefused) &&
  error.status >= 400 &&
  error.status < 500 &&
  error.message !== "";

export async function fuzz(data: Buffer): Promise<void> {
  const { head, rest } = headed(data);
  const request = { headers: { "content-type": head }, url: "/x", body: rest } as unknown as FastifyRequest;
  for (const encoding of ["form", "form-or-json", "urlencoded"] as const) {
    const form = await unlessRejected(isRefusal, () => readForm(request, encoding, VALUES_MAX));
    if (!form) continue;
    for (const name of form.keys()) {
      const text = unlessRefused(isRefusal, () => textOf(form, name));
      unlessRefused(isRefusal, () => filesOf(form, name));
      const whole = unlessRefused(isRefusal, () => integerOf(name, text, 0));
      holds(whole === undefined || (Number.isSafeInteger(whole) && whole >= 0), "a whole number is one");
      const decimal = unlessRefused(isRefusal, () => decimalOf(name, text));
      holds(!Number.isNaN(decimal), "a number is one");
    }
  }
  const parameters = await unlessRejected(isRefusal, () => readParameters(request, VALUES_MAX));
  holds((parameters?.size ?? 0) <= VALUES_MAX + rest.length, "there are no more parameters than bytes");
  noPollution();
}

const PART = '--b\r\nContent-Disposition: form-data; name="epochs"\r\n\r\n5.0\r\n';

export const seeds = (): readonly string[] => [
  `multipart/form-data; boundary=b\n${PART}--b--\r\n`,
  'application/json\n{"modelId":"x","numResults":5,"learningRate":1e-3,"__proto__":1,"q":null}',
  "application/x-www-form-urlencoded\ngrant_type=a&assertion=b%20c&x=%ff&n=1e999",
  "application/json; charset=utf-8\n[1]",
];

export const words = [
  "1e999",
  "--b",
  'name="',
  "application/json",
  "application/x-www-form-urlencoded",
  "%",
  "&",
  "=",
];
