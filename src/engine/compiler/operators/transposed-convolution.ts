/** Convolutions run backwards, from few pixels to many. */
import type { Graph } from "../graph.ts";
import { NotCovered, type Value } from "../value.ts";
import type { Padding } from "./window.ts";

export interface TransposedOptions {
  readonly strides: readonly number[];
  readonly padding: Padding;
  readonly bias?: Value | undefined;
}

/**
 * As Keras sizes its output: `size · stride` with the padding "same", and whatever the kernel reaches beyond that
 * without. The cells that no kernel reaches hold the bias alone.
 * @param x [rows, …spatial, in]
 * @param filter [...spatial, out, in]
 */
export function transposedConvolution(
  graph: Graph,
  x: Value,
  filter: Value,
  { strides, padding, bias }: TransposedOptions,
): Value {
  if (padding.kind === "explicit") throw new NotCovered("a transposed convolution with explicit padding");
  const rank = filter.shape.length;
  const kernel = filter.shape.slice(0, -2).map((size) => {
    if (size === null) throw new NotCovered("a transposed convolution with a kernel of unknown size");
    return size;
  });
  const beyond = kernel.map((size, axis) => size - (strides[axis] ?? 1));
  const cut = beyond.map((more) => (padding.kind === "same" ? Math.max(more, 0) : 0));
  const grown = x.shape.slice(1, -1).map((size, axis) => {
    if (size === null) return null;
    return size * (strides[axis] ?? 1) + Math.max(beyond[axis] ?? 0, 0) - (cut[axis] ?? 0);
  });
  const order = [rank - 1, rank - 2, ...kernel.map((_, axis) => axis)];
  return graph.node(
    "ConvTranspose",
    [graph.channelsFirst(x), graph.transpose(filter, order), bias],
    {
      type: x.type,
      shape: [x.shape[0] ?? null, ...grown, filter.shape[rank - 2] ?? null],
      layout: "channels-first",
    },
    {
      kernel_shape: kernel,
      strides,
      pads: [...cut.map((cells) => Math.floor(cells / 2)), ...cut.map((cells) => Math.ceil(cells / 2))],
      output_padding: beyond.map((more) => Math.max(-more, 0)),
    },
  );
}
