/** Convolutions run backwards, from few pixels to many. */
import type { Graph } from "../graph.ts";
import { NotCovered, type Value } from "../value.ts";
import type { Padding } from "./window.ts";

export interface TransposedOptions {
  readonly strides: readonly number[];
  readonly padding: Padding;
  readonly bias?: Value | undefined;
  /**
   * The spatial sizes that come out. Several of them give as many pixels when a convolution of these strides runs
   * forwards. Default: as Keras has them, `size · stride` with the padding "same", and whatever the kernel reaches
   * beyond that without.
   */
  readonly sizes?: readonly number[] | undefined;
}

/**
 * The cells that no kernel reaches hold the bias alone.
 * @param x [rows, …spatial, in]
 * @param filter [...spatial, out, in]
 */
export function transposedConvolution(
  graph: Graph,
  x: Value,
  filter: Value,
  { strides, padding, bias, sizes }: TransposedOptions,
): Value {
  if (padding.kind === "explicit") throw new NotCovered("a transposed convolution with explicit padding");
  const rank = filter.shape.length;
  const kernel = filter.shape.slice(0, -2).map((size) => {
    if (size === null) throw new NotCovered("a transposed convolution with a kernel of unknown size");
    return size;
  });
  const spatial = x.shape.slice(1, -1);
  const windows = kernel.map((cells, axis) => {
    const size = spatial[axis] ?? null;
    return grown(size, cells, strides[axis] ?? 1, padding.kind === "same", sizes?.[axis]);
  });
  const order = [rank - 1, rank - 2, ...kernel.map((_, axis) => axis)];
  return graph.node(
    "ConvTranspose",
    [graph.channelsFirst(x), graph.transpose(filter, order), bias],
    {
      type: x.type,
      shape: [x.shape[0] ?? null, ...windows.map(({ size }) => size), filter.shape[rank - 2] ?? null],
      layout: "channels-first",
    },
    {
      kernel_shape: kernel,
      strides,
      pads: [
        ...windows.map(({ cut }) => Math.floor(cut / 2)),
        ...windows.map(({ cut }) => Math.ceil(cut / 2)),
      ],
      output_padding: windows.map(({ more }) => more),
    },
  );
}

/** One axis: its size afterwards, what is cut off from what the kernels reach, and what is beyond their reach. */
function grown(
  from: number | null,
  kernel: number,
  stride: number,
  isSame: boolean,
  wanted: number | undefined,
): { readonly size: number | null; readonly cut: number; readonly more: number } {
  const beyond = kernel - stride;
  if (wanted === undefined) {
    const cut = isSame ? Math.max(beyond, 0) : 0;
    const size = from === null ? null : from * stride + Math.max(beyond, 0) - cut;
    return { size, cut, more: Math.max(-beyond, 0) };
  }
  const forwards = isSame ? Math.ceil(wanted / stride) : Math.ceil((wanted - kernel + 1) / stride);
  if (from !== null && from !== forwards)
    throw new Error(`${from} pixels do not become ${wanted} by a stride of ${stride}`);
  const reach = (forwards - 1) * stride + kernel;
  const cut = isSame ? Math.max(reach - wanted, 0) : 0;
  return { size: wanted, cut, more: wanted - reach + cut };
}
