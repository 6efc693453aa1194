/** Weights of a layers model by layer and name, each of them once, and none left over: TF.js is as strict. */
import type { ModelFiles } from "../../worker/weights.ts";
import type { Graph } from "../graph.ts";
import { NotCovered, type Shape, type Value } from "../value.ts";
import { readWeights } from "../weight-values.ts";

export interface LayerWeights {
  /** @throws Error when there is none, or one of another shape */
  take(layer: { readonly name: string }, name: string, shape: Shape): Value;
  /** @throws Error naming weights that no layer has taken */
  finish(): void;
}

export function layerWeights(graph: Graph, files: ModelFiles): LayerWeights {
  const read = readWeights(files);
  const names = files.specs.flatMap(({ name, group }) => (group === "optimizer" ? [] : [name]));
  if (names.some((name) => /\/\d+$/.test(name))) throw new NotCovered("weights that are named by number");
  const double = names.toSorted().find((name, i, all) => name === all[i - 1]);
  if (double !== undefined) throw new Error(`there are two weights ${double}`);
  const wanted = new Map(names.map((name) => [withoutCell(name), name]));
  for (const name of names) wanted.set(name, name);
  const taken = new Map<string, { readonly by: object; readonly value: Value }>();
  return {
    take(layer, name, shape) {
      const stored = wanted.get(`${layer.name}/${name}`);
      const found = stored === undefined ? undefined : taken.get(stored);
      // Models inside one another may have layers of the same name; whose weight it is, nobody could tell.
      if (found && found.by !== layer) throw new Error(`two layers ${layer.name} have the weight ${name}`);
      const value = found?.value ?? (stored === undefined ? undefined : constantOf(graph, read(stored)));
      if (stored === undefined || !value) throw new Error(`there is no weight ${layer.name}/${name}`);
      const isAsWanted =
        value.shape.length === shape.length &&
        shape.every((size, axis) => size === null || size === value.shape[axis]);
      if (!isAsWanted) throw new Error(`the weight ${stored} is of [${value.shape}], not [${shape}]`);
      taken.set(stored, { by: layer, value });
      return value;
    },
    finish() {
      const left = names.filter((name) => !taken.has(name));
      if (left.length > 0)
        throw new Error(
          `${left.length} weights belong to no layer, the first ${left.slice(0, 3).join(", ")}`,
        );
    },
  };
}

/** TensorFlow 2.2 and later put the name of a cell between: `layer/cell/kernel`. */
function withoutCell(name: string): string {
  const parts = name.split("/");
  return [...parts.slice(0, -2), ...parts.slice(-1)].join("/");
}

function constantOf(graph: Graph, weight: ReturnType<ReturnType<typeof readWeights>>): Value | undefined {
  return weight && graph.constant(weight.type, weight.shape, weight.data);
}
