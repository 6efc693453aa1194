/**
 * `relu6(x + 3) / 6`, which MobileNet v3 has by the dozen, takes three nodes as it is written. ONNX has one for it,
 * HardSigmoid, which ONNX Runtime draws into a convolution, or leaves in its blocks of channels: MobileNet v3-small
 * takes 1.34 ms for a picture by it, and 1.63 ms by the three.
 */
import type { Graph } from "../graph.ts";
import type { Value } from "../value.ts";

/** x by `x + 3`, and by `relu6(x + 3)`. */
const raised = new WeakMap<Value, Value>();
const limited = new WeakMap<Value, Value>();

/** How far from 1/6 a factor is still meant to be that: what float32 tells apart, a few times over. */
const FACTOR_ERROR_MAX = 1e-7;

/** Notes what a sum was made of. @returns the sum */
export function noteSum(sum: Value, [a, b]: readonly [Value, Value]): Value {
  if (onlyNumber(b) === 3) raised.set(sum, a);
  else if (onlyNumber(a) === 3) raised.set(sum, b);
  return sum;
}

/** Notes what was kept between 0 and 6. @returns the result */
export function noteRelu6(result: Value, of: Value): Value {
  const x = raised.get(of);
  if (x) limited.set(result, x);
  return result;
}

/** The one node for `value · factor`; undefined where it is something else. */
export function hardSigmoid(graph: Graph, value: Value, factor: number | undefined): Value | undefined {
  const x = limited.get(value);
  if (!x || factor === undefined || Math.abs(factor - 1 / 6) > FACTOR_ERROR_MAX) return undefined;
  const { type, shape, layout } = x;
  return graph.node(
    "HardSigmoid",
    [x],
    { type, shape, layout },
    { alpha: { float: 1 / 6 }, beta: { float: 0.5 } },
  );
}

/** The number that a scalar of float32 is, if it is known; one in more dimensions would change shapes. */
export function onlyNumber({ type, shape, constant }: Value): number | undefined {
  return type === "float32" && shape.length === 0 && constant ? Number(constant[0]) : undefined;
}
