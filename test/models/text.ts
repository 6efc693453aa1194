/** Writes models of texts for tests: a tokenizer of few words, and graphs whose vectors can be worked out by hand. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { TensorProto_DataType as DataType } from "../../gen/onnx/onnx_pb.ts";
import { type GraphInit, info, int64s, node, onnxModel, tensor, writeOnnx } from "./onnx.ts";

/** Of which the graphs below have vectors for all but the last. */
export const WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "red", "green", "blue", "broken"] as const;

/** What stands in a `tokenizer.json`, in parts of which tests replace some. */
export const TOKENIZER = {
  version: "1.0",
  added_tokens: [],
  normalizer: null,
  pre_tokenizer: { type: "WhitespaceSplit" },
  post_processor: {
    type: "TemplateProcessing",
    single: [special("[CLS]"), { Sequence: { id: "A", type_id: 0 } }, special("[SEP]")],
    pair: [],
    special_tokens: {
      "[CLS]": { id: "[CLS]", ids: [2], tokens: ["[CLS]"] },
      "[SEP]": { id: "[SEP]", ids: [3], tokens: ["[SEP]"] },
    },
  },
  decoder: null,
  model: {
    type: "WordPiece",
    unk_token: "[UNK]",
    continuing_subword_prefix: "##",
    max_input_chars_per_word: 100,
    vocab: Object.fromEntries(WORDS.map((word, id) => [word, id])) as Record<string, unknown>,
  },
};

function special(id: string): object {
  return { SpecialToken: { id, type_id: 0 } };
}

/** Of each word by its number; a padding that is counted would be seen. */
export const VECTORS: readonly (readonly [number, number])[] = [
  [1000, -1000],
  [0, 0],
  [3, 1],
  [1, 3],
  [6, 0],
  [0, 6],
  [-8, 2],
];

const ids = info("input_ids", DataType.INT64, ["rows", "tokens"]);
const mask = info("attention_mask", DataType.INT64, ["rows", "tokens"]);
const types = info("token_type_ids", DataType.INT64, ["rows", "tokens"]);
const table = tensor("table", Float32Array.from(VECTORS.flat()), [VECTORS.length, 2]);
const hidden = info("last_hidden_state", DataType.FLOAT, ["rows", "tokens", 2]);

/** Each token's vector, whatever stands beside it. `broken` is beyond the table and fails the run. */
export const lookup: GraphInit = {
  input: [ids, mask, types],
  output: [hidden],
  initializer: [table],
  node: [node("Gather", ["table", "input_ids"], ["last_hidden_state"], { axis: 0n })],
};

/** Each token's vector in parts of the largest number in all rows, as a graph has it that is quantized while it runs. */
export const scaledByAll: GraphInit = {
  input: [ids, mask],
  output: [hidden],
  initializer: [table],
  node: [
    node("Gather", ["table", "input_ids"], ["each"], { axis: 0n }),
    node("Abs", ["each"], ["sizes"]),
    node("ReduceMax", ["sizes"], ["largest"], { keepdims: 0n }),
    node("Div", ["each", "largest"], ["parts"]),
    node("Relu", ["parts"], ["positive"]),
    node("Add", ["positive", "each"], ["last_hidden_state"]),
  ],
};

/** `lookup` for texts of at most so many tokens: each place has a vector of its own, here of zeros. */
export function withPlaces(places: number): GraphInit {
  return {
    ...lookup,
    initializer: [
      table,
      tensor("places", new Float32Array(places * 2), [places, 2]),
      int64s("axis", [1]),
      int64s("start", [0]),
      int64s("one", [1], true),
      int64s("zero", [0], true),
    ],
    node: [
      node("Gather", ["table", "input_ids"], ["each"], { axis: 0n }),
      node("Shape", ["input_ids"], ["shape"]),
      node("Gather", ["shape", "one"], ["tokens"], { axis: 0n }),
      node("Range", ["zero", "tokens", "one"], ["place"]),
      node("Gather", ["places", "place"], ["own"], { axis: 0n }),
      node("Add", ["each", "own"], ["last_hidden_state"]),
    ],
  };
}

/** A graph that answers with what it was given. */
export const noVectors: GraphInit = {
  input: [ids],
  output: [info("last_hidden_state", DataType.INT64, ["rows", "tokens"])],
  node: [node("Identity", ["input_ids"], ["last_hidden_state"])],
};

export const otherInput: GraphInit = {
  ...lookup,
  input: [ids, info("pixels", DataType.FLOAT, ["rows", 4])],
};

export const fixed: GraphInit = {
  ...lookup,
  input: [info("input_ids", DataType.INT64, ["rows", 128])],
};

export interface TextModel {
  readonly graph?: GraphInit;
  readonly tokenizer?: unknown;
  readonly text?: Readonly<Record<string, unknown>>;
}

/** The files of a version folder. */
export function textFiles({ graph = lookup, tokenizer = TOKENIZER, text }: TextModel = {}) {
  return {
    "model.onnx": onnxModel(graph),
    "tokenizer.json": Buffer.from(typeof tokenizer === "string" ? tokenizer : JSON.stringify(tokenizer)),
    "auspex.json": Buffer.from(JSON.stringify(textManifest(text))),
  };
}

export async function writeText(folder: string, { graph = lookup, tokenizer = TOKENIZER, text }: TextModel) {
  await writeOnnx(folder, onnxModel(graph), textManifest(text));
  await writeFile(join(folder, "tokenizer.json"), JSON.stringify(tokenizer));
}

function textManifest(text: TextModel["text"]) {
  return { task: "text-embedding", text: { maxTokens: 16, normalize: false, ...text } };
}
