/**
 * Writes graph models in the form that the TF.js converter writes: a GraphDef as JSON, constants in weight files.
 * Weights are random, from a seed, and scaled so that activations stay near 1 from layer to layer.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { elementCount } from "../../src/domain/tensor.ts";

/** Bytes of a weight file, as the converter cuts them. */
const SHARD_BYTES = 4 * 1024 * 1024;

export interface Graph {
  /** `model.json`. */
  readonly model: object;
  /** Names and bytes of the weight files. */
  readonly shards: ReadonlyMap<string, Buffer>;
}

export async function writeGraph({ model, shards }: Graph, folder: string): Promise<void> {
  for (const [name, bytes] of shards) await writeFile(join(folder, name), bytes);
  await writeFile(join(folder, "model.json"), JSON.stringify(model));
}

type GraphDtype = "float32" | "int32";

const DT = { float32: "DT_FLOAT", int32: "DT_INT32" } as const;

/** An attribute of a node: `AttrValue` of TensorFlow's attr_value.proto, in its JSON form. */
type Attribute = Readonly<Record<string, unknown>>;

export const attribute = {
  type: (dtype: GraphDtype): Attribute => ({ type: DT[dtype] }),
  /** Bytes, and so base64 in JSON. */
  text: (value: string): Attribute => ({ s: Buffer.from(value).toString("base64") }),
  texts: (values: readonly string[]): Attribute => ({
    list: { s: values.map((value) => Buffer.from(value).toString("base64")) },
  }),
  flag: (value: boolean): Attribute => ({ b: value }),
  /** 64-bit numbers are texts in JSON. */
  int: (value: number): Attribute => ({ i: String(value) }),
  ints: (values: readonly number[]): Attribute => ({ list: { i: values.map(String) } }),
  float: (value: number): Attribute => ({ f: value }),
  shape: (sizes: readonly (number | null)[]): Attribute => ({ shape: shape(sizes) }),
};

function shape(sizes: readonly (number | null)[]): object {
  return { dim: sizes.map((size) => ({ size: String(size ?? -1) })) };
}

interface Weight {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: GraphDtype;
}

/** A graph in the making. Nodes are named by whoever adds them, in the order in which they can run. */
export class GraphBuilder {
  readonly #nodes: object[] = [];
  readonly #weights: Weight[] = [];
  readonly #bytes: Buffer[] = [];
  readonly #inputs: [string, object][] = [];
  readonly #random: () => number;

  constructor(seed: number) {
    this.#random = normals(seed);
  }

  /** An input with a free first dimension. Answers its name, as all of these do. */
  placeholder(name: string, sizes: readonly number[]): string {
    const free = [null, ...sizes];
    this.#inputs.push([name, { name: `${name}:0`, dtype: DT.float32, tensorShape: shape(free) }]);
    return this.node(name, "Placeholder", [], {
      dtype: attribute.type("float32"),
      shape: attribute.shape(free),
    });
  }

  node(
    name: string,
    op: string,
    input: readonly string[],
    attr: Readonly<Record<string, Attribute>>,
  ): string {
    this.#nodes.push({ name, op, ...(input.length > 0 ? { input } : {}), attr });
    return name;
  }

  constant(name: string, dtype: GraphDtype, sizes: readonly number[], values: Iterable<number>): string {
    const data = dtype === "int32" ? Int32Array.from(values) : Float32Array.from(values);
    if (data.length !== elementCount(sizes)) throw new Error(`${name} has ${data.length} values`);
    this.#weights.push({ name, shape: sizes, dtype });
    this.#bytes.push(Buffer.from(data.buffer));
    const tensor = { dtype: DT[dtype], tensorShape: sizes.length === 0 ? {} : shape(sizes) };
    return this.node(name, "Const", [], { dtype: attribute.type(dtype), value: { tensor } });
  }

  /** Normally distributed around 0. */
  random(name: string, sizes: readonly number[], deviation: number): string {
    const values = Float32Array.from({ length: elementCount(sizes) }, () => this.#random() * deviation);
    return this.constant(name, "float32", sizes, values);
  }

  /** @param outputs nodes whose values have these sizes after the free one */
  build(outputs: readonly string[], sizes: readonly number[]): Graph {
    const bytes = Buffer.concat(this.#bytes);
    const count = Math.ceil(bytes.length / SHARD_BYTES);
    const shards = new Map(
      Array.from({ length: count }, (_, i) => [
        `group1-shard${i + 1}of${count}.bin`,
        bytes.subarray(i * SHARD_BYTES, (i + 1) * SHARD_BYTES),
      ]),
    );
    const tensorShape = shape([null, ...sizes]);
    const answers = outputs.map((name) => [name, { name: `${name}:0`, dtype: DT.float32, tensorShape }]);
    const model = {
      format: "graph-model",
      generatedBy: "auspex bench/zoo",
      convertedBy: null,
      signature: { inputs: Object.fromEntries(this.#inputs), outputs: Object.fromEntries(answers) },
      modelTopology: { node: this.#nodes, library: {}, versions: { producer: 1286 } },
      weightsManifest: [{ paths: [...shards.keys()], weights: this.#weights }],
    };
    return { model, shards };
  }
}

/**
 * Standard normal numbers by the Box-Muller transform, from the generator mulberry32: the same on every machine.
 */
function normals(seed: number): () => number {
  let state = seed >>> 0;
  const uniform = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return (((bits ^ (bits >>> 14)) >>> 0) + 1) / 2 ** 32;
  };
  return () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}
