/** TF.js model folders in memory, for tests: graphs node by node, and layers models as Keras describes them. */

export type Attribute = Readonly<Record<string, unknown>>;

export interface GraphNode {
  readonly name: string;
  readonly op: string;
  readonly input?: readonly string[];
  readonly attr?: Readonly<Record<string, Attribute>>;
  /** The contents of a Const. */
  readonly weight?: Weight;
}

export interface Weight {
  readonly dtype: "float32" | "int32";
  readonly shape: readonly number[];
  readonly values: readonly number[];
}

/** The files of a model folder by name, `auspex.json` left out. */
export type Files = Readonly<Record<string, string | Uint8Array>>;

/** -1 is a free size. */
export function placeholder(name: string, shape: readonly number[], dtype = "DT_FLOAT"): GraphNode {
  const dim = shape.map((size) => ({ size: String(size) }));
  return { name, op: "Placeholder", attr: { dtype: { type: dtype }, shape: { shape: { dim } } } };
}

/** A constant: int32, unless said otherwise. */
export function weight(
  name: string,
  values: number | readonly number[],
  shape: readonly number[] = typeof values === "number" ? [] : [values.length],
  dtype: Weight["dtype"] = "int32",
): GraphNode {
  const type = dtype === "int32" ? "DT_INT32" : "DT_FLOAT";
  return {
    name,
    op: "Const",
    attr: { dtype: { type }, value: { tensor: { dtype: type, tensorShape: {} } } },
    weight: { dtype, shape, values: [values].flat() },
  };
}

/** @param more merged into the GraphDef, such as a library of functions */
export function graphFiles(nodes: readonly GraphNode[], more: Attribute = {}): Files {
  const consts = nodes.flatMap(({ name, weight: contents }) => (contents ? [{ name, ...contents }] : []));
  const weights = consts.map(({ name, dtype, shape }) => ({ name, dtype, shape }));
  const data = consts.map(({ dtype, values }) =>
    Buffer.from((dtype === "int32" ? Int32Array.from(values) : Float32Array.from(values)).buffer),
  );
  const node = nodes.map(({ weight: _contents, ...rest }) => rest);
  const model = {
    format: "graph-model",
    modelTopology: { node, versions: { producer: 1 }, ...more },
    weightsManifest: [{ paths: ["weights.bin"], weights }],
  };
  return { "model.json": JSON.stringify(model), "weights.bin": Buffer.concat(data) };
}

/** A functional model of layers without weights, in a row unless they name their inputs. */
export interface Layer {
  readonly className: string;
  readonly name: string;
  readonly config?: Attribute;
  /** Names of layers; default: the one before. */
  readonly from?: readonly string[];
}

/** @param inputShape without the rows */
export function layersFiles(inputShape: readonly number[], layers: readonly Layer[]): Files {
  const input = {
    class_name: "InputLayer",
    name: "x",
    config: { name: "x", batch_input_shape: [null, ...inputShape], dtype: "float32", sparse: false },
    inbound_nodes: [],
  };
  const rest = layers.map(
    ({
      className,
      name,
      config,
      from = [layers[layers.findIndex((l) => l.name === name) - 1]?.name ?? "x"],
    }) => ({
      class_name: className,
      name,
      config: { name, trainable: true, dtype: "float32", ...config },
      inbound_nodes: [from.map((layer) => [layer, 0, 0, {}])],
    }),
  );
  const last = layers.at(-1)?.name ?? "x";
  const config = {
    name: "model",
    layers: [input, ...rest],
    input_layers: [["x", 0, 0]],
    output_layers: [[last, 0, 0]],
  };
  const model = {
    format: "layers-model",
    modelTopology: {
      class_name: "Model",
      config,
      keras_version: "tfjs-layers 4.22.0",
      backend: "tensor_flow.js",
    },
    weightsManifest: [{ paths: ["weights.bin"], weights: [] }],
  };
  return { "model.json": JSON.stringify(model), "weights.bin": new Uint8Array() };
}
