/**
 * SavedModels as tfjs-node opens them. It tells more of them than its model object shows: names as the signature has
 * them, which calls go by, and the types that TF.js itself lacks.
 */
import type * as tf from "@tensorflow/tfjs-core";

/** The part of `tf.node` that is used here. */
export interface SavedModelReader {
  getMetaGraphsFromSavedModel(folder: string): Promise<readonly MetaGraph[]>;
  loadSavedModel(folder: string, tags: string[], signature: string): Promise<OpenSavedModel>;
}

interface MetaGraph {
  readonly tags: readonly string[];
  readonly signatureDefs: Readonly<Record<string, SignatureDef>>;
}

interface SignatureDef {
  readonly inputs: Readonly<Record<string, TensorInfo>>;
  readonly outputs: Readonly<Record<string, TensorInfo>>;
}

interface TensorInfo {
  /** TF.js's nearest type. */
  readonly dtype: string;
  /** TensorFlow's type, e.g. `DT_UINT8`. */
  readonly tfDtype: string;
  /** Declared as numbers, and really messages of TensorFlow's TensorShapeProto; -1 is a free dimension. */
  readonly shape: readonly (number | { getSize(): number })[];
}

interface OpenSavedModel {
  predict(inputs: Record<string, tf.Tensor>): tf.Tensor | tf.Tensor[] | Record<string, tf.Tensor>;
  dispose(): void;
}

export interface SavedModel {
  readonly inputs: readonly SavedTensor[];
  readonly outputs: readonly SavedTensor[];
  /** Tensors by the names above. */
  predict(inputs: Record<string, tf.Tensor>): Record<string, tf.Tensor>;
  dispose(): void;
}

interface SavedTensor {
  readonly name: string;
  /** TF.js's, or `uint8`. An `int64` tensor goes as `int32`. */
  readonly dtype: string;
  readonly shape: readonly number[];
}

/** What TensorFlow's exporters call the graph and the signature that are for serving. */
const SERVING_TAG = "serve";
const SERVING_SIGNATURE = "serving_default";

/** @throws Error with a sentence that says what is wrong with the model */
export async function openSavedModel(node: SavedModelReader, folder: string): Promise<SavedModel> {
  const graphs = await node.getMetaGraphsFromSavedModel(folder);
  const graph = graphs.find(({ tags }) => tags.includes(SERVING_TAG));
  if (!graph) throw new Error(`the SavedModel has no graph with the tag ${SERVING_TAG}`);
  const names = Object.keys(graph.signatureDefs);
  // A model with one signature leaves no doubt about which is meant, whatever its name.
  const name = names.length === 1 ? (names[0] ?? "") : SERVING_SIGNATURE;
  const signature = graph.signatureDefs[name];
  if (!signature) {
    throw new Error(
      `the SavedModel has no signature ${SERVING_SIGNATURE}, but ${names.join(", ") || "none"}`,
    );
  }
  const outputs = savedTensors(signature.outputs);
  const unreadable = outputs.find(({ dtype }) => dtype === "uint8");
  if (unreadable) {
    throw new Error(`the output ${unreadable.name} is of type uint8, which tfjs-node cannot read: cast it`);
  }
  const model = await node.loadSavedModel(folder, [...graph.tags], name);
  const hasInt64 = Object.values(signature.outputs).some(({ tfDtype }) => tfDtype === "DT_INT64");
  return {
    inputs: savedTensors(signature.inputs),
    outputs,
    predict(inputs) {
      checkInt64(signature.inputs, inputs);
      const answer = hasInt64 ? withoutWarnings(() => model.predict(inputs)) : model.predict(inputs);
      // Named inputs are answered by named outputs.
      return answer as Record<string, tf.Tensor>;
    },
    dispose: () => model.dispose(),
  };
}

function savedTensors(infos: Readonly<Record<string, TensorInfo>>): SavedTensor[] {
  return Object.entries(infos).map(([name, { dtype, tfDtype, shape }]) => ({
    name,
    dtype: tfDtype === "DT_UINT8" ? "uint8" : dtype,
    shape: shape.map((size) => (typeof size === "number" ? size : size.getSize())),
  }));
}

/** tfjs-node 4.22 leaves the upper half of each int64 element 0: of a negative number it makes a large one. */
function checkInt64(infos: SignatureDef["inputs"], inputs: Readonly<Record<string, tf.Tensor>>): void {
  for (const [name, { tfDtype }] of Object.entries(infos)) {
    if (tfDtype === "DT_INT64" && inputs[name]?.dataSync().some((value) => value < 0)) {
      throw new Error(`the input ${name} is negative, which tfjs-node gets wrong in int64`);
    }
  }
}

/** tfjs-node warns on every run that an int64 output comes as a BigInt64Array, which is dealt with here. */
function withoutWarnings<T>(work: () => T): T {
  const { warn } = console;
  console.warn = () => undefined;
  try {
    return work();
  } finally {
    console.warn = warn;
  }
}
