/**
 * Reads `auspex.json`, the file that makes a folder a model version: checks all of it, fills in the task's
 * defaults, and names every complaint at once.
 */
import { Ajv2020, type ErrorObject } from "ajv/dist/2020.js";
import { type AuspexError, type FieldViolation, invalidArgument } from "../domain/error.ts";
import {
  type DetectionSpec,
  type Manifest,
  type PictureSpec,
  parseModelRef,
  RUNTIMES,
  TASKS,
  type Task,
  type TextSpec,
} from "../domain/model.ts";
import type { JsonObject } from "../domain/payload.ts";
import { TASK_SCHEMAS } from "./task-schemas.ts";
import { TimeLimitPassed, withTimeLimit } from "./time-limit.ts";

export const MANIFEST_FILE = "auspex.json";

/** Bytes of an `auspex.json`: room for 20,000 labels, and nothing that would stall the main thread. */
export const MANIFEST_BYTES_MAX = 1024 * 1024;

/** Complaints about one file: whoever wrote half a million wrong labels is helped by the first ones. */
const COMPLAINTS_MAX = 50;

/** For compiling a schema, which costs some 10 ms; this long nothing else runs. */
const SCHEMA_COMPILE_MS = 2000;

/** The upper end of AUSPEX_BATCH_MAX: a larger batch gains nothing and costs memory. */
const BATCH_MAX_LIMIT = 1024;

/** The upper end of AUSPEX_BATCH_DELAY: what waits longer wants a queue and no delay. */
const BATCH_DELAY_MAX_MS = 1000;

/** Pixels along one side of a model's input: 4096² × 3 float32 channels are already 192 MiB. */
const PICTURE_SIDE_MAX = 4096;

/** Ten times what detectors are commonly measured by; an answer of some 130 KB. */
const DETECTIONS_MAX = 1000;

const DETECTION_DEFAULTS = {
  boxForm: "yxyx",
  iouThreshold: 0.5,
  // As COCO counts.
  maxDetections: 100,
} as const satisfies Partial<DetectionSpec>;

/** What the models of the longest published contexts take; nothing that a person reads at once is as long. */
const TEXT_TOKENS_MAX = 8192;

const TEXT_DEFAULTS = {
  tokenizer: "tokenizer.json",
  pooling: "mean",
  normalize: true,
} as const satisfies Partial<TextSpec>;

/** A file inside a model folder, by its path from there: plain names, folders only as SavedModels have them. */
export const MODEL_FILE_NAME =
  /^(?:[A-Za-z0-9][A-Za-z0-9._+-]{0,127}\/){0,3}[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$/;

interface TaskDefaults {
  readonly isPicture: boolean;
  /**
   * Items in a batch. A MobileNet on a CPU takes as long for each of 8 pictures as for each of 32, and 32 hold up the
   * next ones for four times as long, in twice the memory (311 MB for a worker with 8, 674 MB with 32).
   */
  readonly batchMax: number;
}

const TASK_DEFAULTS = {
  "image-classification": { isPicture: true, batchMax: 8 },
  "image-multi-label": { isPicture: true, batchMax: 8 },
  "image-detection": { isPicture: true, batchMax: 8 },
  // By weight, which is 1 for each 256 characters begun: 32 questions, or some 8 pages, which take 0.02 and 0.1 s.
  "text-embedding": { isPicture: false, batchMax: 32 },
  // Half of what `room` asks for, so that main prepares one batch while the worker runs another: an MLP at 64 in
  // flight answers 15 to 30 % more than with 64 to a batch, where the two take turns.
  tensor: { isPicture: false, batchMax: 32 },
} as const satisfies Record<Task, TaskDefaults>;

/** The file as it is written: what it leaves out is filled in. */
type ManifestText = Partial<Omit<Manifest, "picture" | "detection" | "text" | "task">> & {
  readonly task: Task;
  readonly picture?: (Pick<PictureSpec, "width" | "height"> & Partial<PictureSpec>) | null;
  readonly detection?: (Pick<DetectionSpec, "boxes" | "scores"> & Partial<DetectionSpec>) | null;
  readonly text?: (Pick<TextSpec, "maxTokens"> & Partial<TextSpec>) | null;
  readonly files?: Readonly<Record<string, string>>;
};

export interface ManifestFile {
  readonly manifest: Manifest;
  /** SHA-256, lower-case hex, by file name, of those files that `files` names. */
  readonly checksums: ReadonlyMap<string, string>;
}

const PICTURE_TASKS = TASKS.filter((task) => TASK_DEFAULTS[task].isPicture);

const ajv = new Ajv2020({ allErrors: true, strict: true, allowUnionTypes: true, strictRequired: false });

const LENIENT = { strict: false, validateFormats: false, logger: false } as const;

/** Holds callers' schemas to what a schema is; stops at the first fault. */
const metaSchema = new Ajv2020(LENIENT);

const tensorName = { type: "string", minLength: 1, maxLength: 500 };
const side = { type: "integer", minimum: 1, maximum: PICTURE_SIDE_MAX };
const matches = ajv.compile<ManifestText>({
  type: "object",
  required: ["task"],
  properties: {
    task: { enum: TASKS },
    description: { type: "string", maxLength: 1000 },
    licence: { type: "string", maxLength: 200 },
    source: { type: "string", maxLength: 1000 },
    labels: { type: "array", items: { type: "string" } },
    picture: {
      type: ["object", "null"],
      required: ["width", "height"],
      properties: {
        width: side,
        height: side,
        range: { type: "array", items: { type: "number" }, minItems: 2, maxItems: 2 },
        resize: { enum: ["stretch", "cover", "contain"] },
      },
      additionalProperties: false,
    },
    activation: { enum: ["none", "softmax", "sigmoid"] },
    detection: {
      type: ["object", "null"],
      required: ["boxes", "scores"],
      properties: {
        boxes: tensorName,
        scores: tensorName,
        boxForm: { enum: ["yxyx", "xyxy"] },
        iouThreshold: { type: "number", minimum: 0, maximum: 1 },
        maxDetections: { type: "integer", minimum: 1, maximum: DETECTIONS_MAX },
      },
      additionalProperties: false,
    },
    text: {
      type: ["object", "null"],
      required: ["maxTokens"],
      properties: {
        tokenizer: { type: "string", maxLength: 500 },
        maxTokens: { type: "integer", minimum: 1, maximum: TEXT_TOKENS_MAX },
        pooling: { enum: ["mean", "first"] },
        normalize: { type: "boolean" },
      },
      additionalProperties: false,
    },
    batchMax: { type: "integer", minimum: 1, maximum: BATCH_MAX_LIMIT },
    batchDelayMs: { type: ["number", "null"], minimum: 0, maximum: BATCH_DELAY_MAX_MS },
    inputSchema: { type: "object" },
    outputSchema: { type: "object" },
    embedding: { ...tensorName, type: ["string", "null"] },
    backbone: { type: ["string", "null"] },
    runtime: { enum: [...RUNTIMES, null] },
    files: {
      type: "object",
      propertyNames: { pattern: MODEL_FILE_NAME.source },
      additionalProperties: { type: "string", pattern: "^[0-9a-f]{64}$" },
    },
  },
  additionalProperties: false,
  allOf: [
    {
      if: isOneOf(PICTURE_TASKS),
      // biome-ignore lint/suspicious/noThenProperty: JSON Schema's own keyword
      then: {
        required: ["labels", "picture"],
        properties: { labels: { type: "array", minItems: 1 }, picture: { type: "object" } },
      },
    },
    {
      if: isOneOf(["image-detection"]),
      // biome-ignore lint/suspicious/noThenProperty: JSON Schema's own keyword
      then: { required: ["detection"], properties: { detection: { type: "object" } } },
    },
    {
      if: isOneOf(["text-embedding"]),
      // biome-ignore lint/suspicious/noThenProperty: JSON Schema's own keyword
      then: { required: ["text"], properties: { text: { type: "object" } } },
    },
  ],
});

function isOneOf(tasks: readonly Task[]): object {
  return { properties: { task: { enum: tasks } }, required: ["task"] };
}

/**
 * The manifest alone, complete.
 *
 * @throws AuspexError `invalid_argument` with every complaint, each named by its path in the file
 */
export function readManifest(text: string): Manifest {
  return readManifestFile(text).manifest;
}

/** The manifest, and the checksums that the file gives. Throws as `readManifest` does. */
export function readManifestFile(text: string): ManifestFile {
  const value = parse(text);
  const violations: FieldViolation[] = [];
  if (!matches(value)) {
    for (const error of matches.errors ?? []) {
      const repeats = error.keyword === "if" || error.propertyName !== undefined;
      if (!repeats) violations.push(violation(error));
    }
    throw refusal(violations.slice(0, COMPLAINTS_MAX));
  }
  const range = value.picture?.range ?? [0, 1];
  if (range[0] >= range[1])
    violations.push(complaint("picture.range", "must be [low, high] with low < high"));
  if (value.detection && value.task !== "image-detection")
    violations.push(complaint("detection", "is for the task image-detection alone"));
  violations.push(...textFaults(value), ...backboneFaults(value));
  for (const key of ["inputSchema", "outputSchema"] as const) {
    const wrong = schemaFault(value[key]);
    if (wrong !== undefined) violations.push(complaint(key, wrong));
  }
  if (violations.length > 0) throw refusal(violations);
  return { manifest: complete(value), checksums: new Map(Object.entries(value.files ?? {})) };
}

function textFaults({ task, text = null, embedding, backbone }: ManifestText): readonly FieldViolation[] {
  if (task !== "text-embedding")
    return text === null ? [] : [complaint("text", "is for the task text-embedding alone")];
  const isPlain = MODEL_FILE_NAME.test(text?.tokenizer ?? TEXT_DEFAULTS.tokenizer);
  return [
    ...(isPlain ? [] : [complaint("text.tokenizer", "is not a plain file name")]),
    ...(embedding == null ? [] : [complaint("embedding", "is for models of pictures alone")]),
    ...(backbone == null ? [] : [complaint("backbone", "is for models of pictures alone")]),
  ];
}

function backboneFaults({ backbone = null, embedding = null }: ManifestText): readonly FieldViolation[] {
  if (backbone === null) return [];
  const isVersion = parseModelRef(backbone)?.version !== undefined;
  return [
    ...(isVersion ? [] : [complaint("backbone", "must be owner/name:version")]),
    ...(embedding === null
      ? []
      : [complaint("embedding", "is the backbone's own, and not to be named here")]),
  ];
}

function parse(text: string): unknown {
  const bytes = Buffer.byteLength(text);
  if (bytes > MANIFEST_BYTES_MAX) {
    throw refusal([
      complaint(MANIFEST_FILE, `has ${bytes} bytes; at most ${MANIFEST_BYTES_MAX} are allowed`),
    ]);
  }
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw refusal([
      complaint(MANIFEST_FILE, `is not JSON: ${error instanceof Error ? error.message : String(error)}`),
    ]);
  }
}

function complete(value: ManifestText): Manifest {
  const { task } = value;
  return {
    task,
    description: value.description ?? "",
    licence: value.licence ?? "",
    source: value.source ?? "",
    labels: value.labels ?? [],
    picture: value.picture ? { range: [0, 1], resize: "stretch", ...value.picture } : null,
    activation: value.activation ?? "none",
    detection: value.detection ? { ...DETECTION_DEFAULTS, ...value.detection } : null,
    text: value.text ? { ...TEXT_DEFAULTS, ...value.text } : null,
    batchMax: value.batchMax ?? TASK_DEFAULTS[task].batchMax,
    batchDelayMs: value.batchDelayMs ?? null,
    inputSchema: value.inputSchema ?? TASK_SCHEMAS[task].input,
    outputSchema: value.outputSchema ?? TASK_SCHEMAS[task].output,
    embedding: value.embedding ?? null,
    backbone: value.backbone ?? null,
    runtime: value.runtime ?? null,
  };
}

/** Why a caller could not be held to this schema; undefined when it is a good one. */
function schemaFault(schema: JsonObject | undefined): string | undefined {
  if (schema === undefined) return undefined;
  try {
    metaSchema.validateSchema(schema, true);
    // An instance of its own: a schema's $id must not stay behind and clash with the next version's.
    const own = new Ajv2020({ ...LENIENT, validateSchema: false });
    const check = withTimeLimit(SCHEMA_COMPILE_MS, () => own.compile(schema));
    // Ajv's own extension: such a check answers a promise, whose rejection would find nobody waiting.
    return "$async" in check ? "must not have $async, which is no part of JSON Schema" : undefined;
  } catch (error) {
    if (error instanceof TimeLimitPassed)
      return `is too large or too intricate: compiling it ${error.message}`;
    return `is not a JSON Schema (2020-12): ${error instanceof Error ? error.message : String(error)}`;
  }
}

function violation({ keyword, instancePath, params, message }: ErrorObject): FieldViolation {
  const path = instancePath
    .split("/")
    .slice(1)
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
  switch (keyword) {
    case "required":
      return complaint(fieldPath([...path, String(params.missingProperty)]), "is required", "required");
    case "additionalProperties":
      return complaint(
        fieldPath([...path, String(params.additionalProperty)]),
        "is not a known key",
        "unknown",
      );
    case "propertyNames":
      return complaint(fieldPath([...path, String(params.propertyName)]), "is not a plain file name");
    case "enum":
      return complaint(fieldPath(path), `must be one of ${params.allowedValues.map(String).join(", ")}`);
    case "pattern":
      return complaint(fieldPath(path), "must be a SHA-256 of 64 lower-case hex digits");
    default:
      return complaint(fieldPath(path), message ?? "is wrong");
  }
}

/** `picture.range[0]`, `files["a.bin"]`; the whole file for no path at all. */
function fieldPath(parts: readonly string[]): string {
  if (parts.length === 0) return MANIFEST_FILE;
  const path = parts.map((part) => {
    if (/^[0-9]+$/.test(part)) return `[${part}]`;
    return /^[A-Za-z_][A-Za-z0-9_]*$/.test(part) ? `.${part}` : `[${JSON.stringify(part)}]`;
  });
  return path.join("").replace(/^\./, "");
}

function complaint(field: string, description: string, reason = "invalid"): FieldViolation {
  return { field, description, reason };
}

function refusal(violations: readonly FieldViolation[]): AuspexError {
  const [first = complaint(MANIFEST_FILE, "is wrong"), ...rest] = violations;
  return invalidArgument(first, ...rest);
}
