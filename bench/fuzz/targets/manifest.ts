/** `auspex.json`, the file that makes a folder a model version: `readManifestFile`. */
import { AuspexError } from "../../../src/domain/error.ts";
import { readManifestFile } from "../../../src/engine/manifest.ts";
import { schemaFault } from "../../../src/services/input-schema.ts";
import { holds, noPollution, unlessRefused } from "../target.ts";

export const claim =
  "A manifest is refused with the path of what is wrong, or reads the same when it is written anew, and its schema can be applied to an input or is refused by name.";

const isRefusal = (error: unknown): boolean =>
  error instanceof AuspexError &&
  error.code === "invalid_argument" &&
  error.violations.length > 0 &&
  error.violations.length <= 50 &&
  error.violations.every(({ field, description }) => field !== "" && description !== "");

const isInapplicable = (error: unknown): boolean =>
  error instanceof AuspexError && error.code === "failed_precondition";

export function fuzz(data: Buffer): void {
  const file = unlessRefused(isRefusal, () => readManifestFile(data.toString()));
  noPollution();
  if (!file) return;
  const { manifest } = file;
  const { picture, detection, embedding, backbone, runtime, batchDelayMs, ...rest } = manifest;
  const there = Object.entries({ picture, detection, embedding, backbone, runtime, batchDelayMs }).filter(
    ([, value]) => value !== null,
  );
  const text = JSON.stringify({ ...rest, ...Object.fromEntries(there) });
  holds(
    JSON.stringify(readManifestFile(text).manifest) === JSON.stringify(manifest),
    "written anew it is the same",
  );
  unlessRefused(isInapplicable, () => schemaFault(manifest, { inputs: {} }));
  noPollution();
}

export const seeds = (): readonly string[] => [
  '{"task":"tensor"}',
  '{"task":"image-classification","labels":["a","b"],"picture":{"width":8,"height":8,"range":[-1,1],"resize":"cover"},"activation":"softmax"}',
  '{"task":"image-detection","picture":{"width":8,"height":8},"detection":{"boxes":"b","scores":"s","iouThreshold":0.5}}',
  '{"task":"tensor","inputSchema":{"type":"object","properties":{"inputs":{"$ref":"#/$defs/a"}},"$defs":{"a":{"minimum":1}}},"batchMax":4,"batchDelayMs":1}',
  '{"task":"tensor","backbone":"a/b:1","files":{"model.json":"0000000000000000000000000000000000000000000000000000000000000000"}}',
];

export const words = [
  '"inputSchema":{',
  '"pattern":"(a+)+$"',
  '"$ref":"#"',
  '"$id":"x"',
  '"$async":true',
  '"unevaluatedProperties":false',
  '"allOf":[',
  '"if":{',
  '"not":{',
  '"dependentSchemas":{',
  '"$dynamicRef":"#a"',
  '"propertyNames":{',
  '"format":"date"',
  "__proto__",
];
