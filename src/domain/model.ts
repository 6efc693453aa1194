/** Models, their versions, and what an `auspex.json` says of one. */
import type { JsonObject } from "./payload.ts";
import { CATALOGUE_OWNER, type Principal, RESERVED_OWNERS } from "./principal.ts";

export const TASKS = [
  "image-classification",
  "image-multi-label",
  "image-detection",
  "text-embedding",
  "tensor",
] as const;
export type Task = (typeof TASKS)[number];

export const RUNTIMES = ["tfjs-node-gpu", "onnxruntime", "tfjs-node", "tfjs-wasm"] as const;
export type RuntimeName = (typeof RUNTIMES)[number];

const NAME = "[a-z0-9][a-z0-9._-]{0,63}";
/** One part of `owner/name`. */
export const NAME_PART = new RegExp(`^${NAME}$`);
const MODEL_REF = new RegExp(`^(${NAME})/(${NAME})(?::([1-9][0-9]{0,8}))?$`);

/** What a caller asks for: the latest ready version when `version` is undefined. */
export interface ModelRef {
  readonly owner: string;
  readonly name: string;
  readonly version: number | undefined;
}

/** Reads `owner/name` or `owner/name:version`; undefined when the text has neither form. */
export function parseModelRef(text: string): ModelRef | undefined {
  const [, owner, name, version] = MODEL_REF.exec(text) ?? [];
  if (!owner || !name) return undefined;
  return { owner, name, version: version ? Number(version) : undefined };
}

/** Whether a model may be known by this text beside its name: other systems' ids, which have no slash. */
export function isOutsideId(text: string): boolean {
  return /^[A-Za-z0-9._-]{1,64}$/.test(text);
}

/** Whether the principal may see and run models of this owner. */
export function mayUse(principal: Principal, owner: string): boolean {
  return principal.open || owner === CATALOGUE_OWNER || owner === principal.name;
}

/** Whether the principal may publish and delete under this owner. */
export function mayPublish(principal: Principal, owner: string): boolean {
  return !RESERVED_OWNERS.has(owner) && (principal.open || owner === principal.name);
}

/** How a picture becomes the model's input tensor. */
export interface PictureSpec {
  /** Pixels. */
  readonly width: number;
  readonly height: number;
  /** Channel values 0…255 are mapped linearly onto this range, e.g. [-1, 1]. */
  readonly range: readonly [number, number];
  readonly resize: "stretch" | "cover" | "contain";
}

/**
 * Where a detector's outputs hold what it found, before non-maximum suppression: one box for each of its anchors, and
 * one score for each anchor and label.
 */
export interface DetectionSpec {
  /** Names of the outputs, without a final `:0`. */
  readonly boxes: string;
  readonly scores: string;
  /**
   * The order of a box's four numbers, edges in parts of the model's picture, 0…1 from the top left: `yxyx` is
   * [ymin, xmin, ymax, xmax].
   */
  readonly boxForm: "yxyx" | "xyxy";
  /** Of two boxes of one label that overlap by more than this (intersection over union), the better one stays. */
  readonly iouThreshold: number;
  /** Detections that are reported of one picture. */
  readonly maxDetections: number;
}

/** How a text becomes numbers that a model takes, and what the model makes of them one vector. */
export interface TextSpec {
  /** The tokenizer's file in the model folder, in the form of Hugging Face's `tokenizer.json`. */
  readonly tokenizer: string;
  /** Of one text, with what the tokenizer puts around it; what a longer text has beyond is left out. */
  readonly maxTokens: number;
  /** Of a text's tokens: the mean of their vectors, or the vector of the first one. */
  readonly pooling: "mean" | "first";
  /** Whether vectors are scaled to length 1 (L2), so that their dot product is the cosine. */
  readonly normalize: boolean;
}

/** The contents of `auspex.json`, complete: the reader fills in the defaults. */
export interface Manifest {
  readonly task: Task;
  readonly description: string;
  /** SPDX expression. */
  readonly licence: string;
  readonly source: string;
  /** Class names by output index; [] for tasks without classes. */
  readonly labels: readonly string[];
  /** Required for picture tasks. */
  readonly picture: PictureSpec | null;
  /** What still has to be applied to the model's output to get probabilities. */
  readonly activation: "none" | "softmax" | "sigmoid";
  /** Required for `image-detection`; null for every other task. */
  readonly detection: DetectionSpec | null;
  /** Required for `text-embedding`; null for every other task. */
  readonly text: TextSpec | null;
  readonly batchMax: number;
  /** How long a batch that is not full waits for more; null for what the server is set to. */
  readonly batchDelayMs: number | null;
  /** JSON Schema 2020-12 of the JSON input and output. */
  readonly inputSchema: JsonObject;
  readonly outputSchema: JsonObject;
  /** Name of the graph node or layer whose output is the picture's embedding; null when none is known. */
  readonly embedding: string | null;
  /** `owner/name:version` whose embedding the model takes; null when it takes what its callers send. */
  readonly backbone: string | null;
  /** Pins the runtime; null for the best that can run it. */
  readonly runtime: RuntimeName | null;
}

export type VersionState =
  | { readonly kind: "loading" }
  | { readonly kind: "ready"; readonly runtime: RuntimeName; readonly notes: readonly string[] }
  | { readonly kind: "failed"; readonly reason: string };

export interface ModelVersion {
  readonly owner: string;
  readonly name: string;
  readonly version: number;
  readonly state: VersionState;
  /** null when `auspex.json` could not be read. */
  readonly manifest: Manifest | null;
  /** Microseconds since the epoch: when its folder was published. */
  readonly createdAt: number;
  /** SHA-256 over file names and bytes, lower-case hex; "" until computed. */
  readonly digest: string;
}
