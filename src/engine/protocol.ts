/**
 * Everything that main and a worker say to each other, for both sides. Main calls, the worker answers each call
 * once, under the call's id; beyond that the worker only says that it is up, and how many tensors it holds.
 *
 * How bytes cross was measured (`node bench/hop.ts`: an MLP 64-128-128-10 in wasm, 64 in flight, batches of up to
 * 32, two cores). CPU µs per request of both processes together, and requests per second:
 *
 *     Node's IPC channel, serialization "advanced", one tensor per batch   28.2   38,100
 *     the same, one tensor per item                                        29.9   34,100
 *     a pipe of our own, JSON head and raw bytes, one tensor               29.8   35,000
 *     a pipe of our own, v8.serialize frames, one tensor                   32.0   32,300
 *
 * Some 23 µs of each are the model itself. So: Node's own channel, no framing of ours, rows joined before they
 * cross.
 */
import type { ErrorCode, FieldViolation } from "../domain/error.ts";
import type { Manifest, RuntimeName } from "../domain/model.ts";
import type { JsonObject } from "../domain/payload.ts";
import type { Tensor, Tensors } from "../domain/tensor.ts";
import type { PictureInfo } from "./engine.ts";
import type { Signature } from "./signature.ts";
import type { FitExamples, FitRequest, FitStep } from "./trainer.ts";

/** Settings of a worker, as JSON in its first argument. */
export interface WorkerSettings {
  /** Pins the runtime for every model; null: best first. */
  readonly runtime: string | null;
  /** That a model runs on, where its runtime has threads. */
  readonly threads: number;
  /** Width × height above which a picture is refused from its header. */
  readonly maxPixels: number;
  /** Resident bytes past which the worker ends itself with `MEMORY_SIGNAL`. */
  readonly memoryBytes: number;
}

/**
 * How a worker that outgrew its memory ends, so that main can tell it from a crash. Node gives this signal no
 * meaning, and nobody else sends it.
 */
export const MEMORY_SIGNAL = "SIGUSR2";

/**
 * The exit code of a worker whose WebAssembly trapped: the memory that its models share is then in no known state.
 * Node itself ends with codes below 16.
 */
export const TRAP_EXIT_CODE = 70;

/** The exit code of a worker whose GPU has stopped answering it. */
export const GPU_EXIT_CODE = 71;

/** The calls, by kind: what main sends and what the worker answers. */
export interface Calls {
  /** Loads a version, warms it up, checks its output. Refused with the reason when it cannot serve. */
  readonly load: {
    readonly request: LoadRequest;
    readonly answer: LoadedVersion;
  };
  readonly unload: { readonly request: { readonly key: string }; readonly answer: null };
  /** One batch of a picture task; one outcome per item, in their order. */
  readonly pictures: {
    readonly request: { readonly key: string; readonly items: readonly PictureItem[] };
    readonly answer: readonly Outcome<JsonObject>[];
  };
  /** One batch of texts; one outcome per item, in their order: float32, a row for each of its texts. */
  readonly texts: {
    readonly request: { readonly key: string; readonly items: readonly (readonly string[])[] };
    readonly answer: readonly Outcome<Tensor>[];
  };
  /** One batch of the tensor task, rows of items of equal form joined; one outcome per group, in their order. */
  readonly tensors: {
    readonly request: { readonly key: string; readonly groups: readonly TensorGroup[] };
    readonly answer: readonly TensorGroupOutcome[];
  };
  readonly inspect: { readonly request: { readonly bytes: Uint8Array }; readonly answer: PictureInfo };
  /** What a loaded version sees in pictures; one outcome per picture, in their order. */
  readonly embed: {
    readonly request: { readonly key: string; readonly images: readonly Uint8Array[] };
    readonly answer: readonly Outcome<Float32Array>[];
  };
  /** Begins a fit; its examples follow in pieces, so that no message is as large as all of them. */
  readonly fitOpen: { readonly request: FitPlan; readonly answer: null };
  readonly fitExamples: { readonly request: FitPiece; readonly answer: null };
  /** Goes on with the fit for a while; `checkpoint`, when it is the first time, is where it goes on from. */
  readonly fitRun: { readonly request: FitTurn; readonly answer: readonly FitStep[] };
  readonly fitClose: { readonly request: { readonly id: number }; readonly answer: null };
}

export type CallKind = keyof Calls;

/** The files of a version. */
export interface ModelSource {
  readonly key: string;
  /** Absolute. */
  readonly folder: string;
  readonly manifest: Manifest;
  /** Of the files; sources of one key and one digest are the same model. */
  readonly digest: string;
}

export interface LoadRequest extends ModelSource {
  /** The model whose embedding this one takes; null when it takes what its callers send. */
  readonly backbone: ModelSource | null;
  /** What an earlier load found out, which then need not be tried again; null at the first. */
  readonly known: Signature | null;
}

export interface LoadedVersion {
  readonly runtime: RuntimeName;
  /** Why runtimes earlier in the order of choice were passed over, and what else is worth knowing. */
  readonly notes: readonly string[];
  readonly signature: Signature;
}

export interface PictureItem {
  readonly image: Uint8Array;
  /** How many classes or detections to report; more than there are means all. */
  readonly topK: number;
  /** The least probable detection to report, 0…1. Classes are reported however improbable. */
  readonly minScore: number;
}

export interface FitPlan extends Omit<FitRequest, "extractor" | "train" | "test" | "checkpoint"> {
  /** Among the fits that a worker has open. */
  readonly id: number;
  readonly trainRows: number;
  readonly testRows: number;
}

/** The next rows of one part of the examples. */
export interface FitPiece extends FitExamples {
  readonly id: number;
  readonly part: "train" | "test";
}

export interface FitTurn {
  readonly id: number;
  readonly checkpoint: Uint8Array | null;
  /** Milliseconds after which it answers, with the epochs that have ended by then. */
  readonly forMs: number;
}

export interface TensorGroup {
  /** Rows of each item, in order; their sum is every tensor's first dimension. */
  readonly rows: readonly number[];
  readonly tensors: Tensors;
}

export type TensorGroupOutcome =
  /** The group ran as one; the outputs' rows are in the items' order. */
  | { readonly kind: "joined"; readonly tensors: Tensors }
  /** It could not, so each item ran alone. */
  | { readonly kind: "each"; readonly outcomes: readonly Outcome<Tensors>[] };

export type Outcome<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: WireError };

/** An AuspexError as it crosses. */
export interface WireError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly violations: readonly FieldViolation[];
}

export type ToWorker = {
  [K in CallKind]: { readonly kind: K; readonly id: number; readonly request: Calls[K]["request"] };
}[CallKind];

/** A call that is over. */
interface Done {
  readonly id: number;
  /** Milliseconds that the worker took for it. */
  readonly ranMs: number;
}

export type FromWorker =
  /** Sent once, when calls are taken. */
  | { readonly kind: "up" }
  | ({ readonly kind: "answer"; readonly answer: Calls[CallKind]["answer"] } & Done)
  | ({ readonly kind: "refusal"; readonly error: WireError } & Done)
  /** After a call that left more or fewer tensors in memory than there were. */
  | { readonly kind: "tensors"; readonly count: number };
