/** Windows that slide over a picture: how far, how far apart, and what is beyond the edge. */
import type { Attributes } from "../graph.ts";
import type { Call } from "../operator.ts";
import { NotCovered, type Shape } from "../value.ts";
import { channelsLastOnly } from "./data-format.ts";

export type Padding =
  | { readonly kind: "valid" }
  /** As many outputs as the strides leave of the inputs; what cannot be halved goes to the end. */
  | { readonly kind: "same" }
  /** Cells before and after, for each spatial dimension. */
  | { readonly kind: "explicit"; readonly pads: readonly (readonly [number, number])[] };

/** One number for each spatial dimension. */
export interface Window {
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
}

/** The attributes of a convolution's node; they have numbers for all four dimensions. */
export function windowOf(call: Call): Pick<Window, "strides" | "dilations"> & { readonly padding: Padding } {
  channelsLastOnly(call);
  const strides = call.attributes.ints("strides");
  return {
    strides: strides.slice(1, -1),
    dilations: call.attributes
      .ints(
        "dilations",
        strides.map(() => 1),
      )
      .slice(1, -1),
    padding: paddingOf(call),
  };
}

export function paddingOf({ op, attributes }: Call): Padding {
  const name = attributes.text("padding");
  switch (name) {
    case "VALID":
      return { kind: "valid" };
    case "SAME":
      return { kind: "same" };
    case "EXPLICIT": {
      const all = attributes.ints("explicit_paddings");
      const pads = Array.from({ length: all.length / 2 - 2 }, (_, i): [number, number] => [
        all[2 * i + 2] ?? 0,
        all[2 * i + 3] ?? 0,
      ]);
      return { kind: "explicit", pads };
    }
    default:
      throw new NotCovered(`${op} with the padding ${name}`);
  }
}

/** Cells that a window covers, the gaps of its dilation included. */
function reach({ kernel, dilations }: Window, axis: number): number {
  return ((kernel[axis] ?? 1) - 1) * (dilations[axis] ?? 1) + 1;
}

/** The spatial sizes that come out. */
export function slidShape(sizes: Shape, window: Window, padding: Padding): Shape {
  return sizes.map((size, axis) => {
    if (size === null) return null;
    const stride = window.strides[axis] ?? 1;
    if (padding.kind === "same") return Math.ceil(size / stride);
    const [before, after] = padding.kind === "explicit" ? (padding.pads[axis] ?? [0, 0]) : [0, 0];
    const out = Math.floor((size + before + after - reach(window, axis)) / stride) + 1;
    if (out < 1) throw new Error(`a window of ${reach(window, axis)} cells does not fit into ${size}`);
    return out;
  });
}

/** In numbers where they are known, else as ONNX's own rule, which is the same but for windows with gaps. */
export function paddingAttributes(sizes: Shape, window: Window, padding: Padding): Attributes {
  if (padding.kind === "valid") return {};
  const pads = sizes.map((size, axis) =>
    padding.kind === "explicit" ? (padding.pads[axis] ?? [0, 0]) : samePads(size, window, axis),
  );
  const known = pads.flatMap((pair) => (pair ? [pair] : []));
  if (known.length < pads.length) {
    if (window.dilations.some((dilation) => dilation !== 1))
      throw new NotCovered("a window with strides and gaps over a picture of any size");
    return { auto_pad: "SAME_UPPER" };
  }
  return { pads: [...known.map(([before]) => before), ...known.map(([, after]) => after)] };
}

/** Undefined where it depends on the size, and only a run tells that. */
function samePads(size: number | null, window: Window, axis: number): readonly [number, number] | undefined {
  const stride = window.strides[axis] ?? 1;
  // A window of one cell never reaches beyond an edge.
  if (reach(window, axis) === 1) return [0, 0];
  if (size === null && stride !== 1) return undefined;
  // Windows that move cell by cell reach beyond the edges by as much over any size.
  const last = size === null ? 0 : (Math.ceil(size / stride) - 1) * stride - (size - 1);
  const total = Math.max(last + reach(window, axis) - 1, 0);
  return [Math.floor(total / 2), Math.ceil(total / 2)];
}
