/** Every operator of TensorFlow that compiles, by its name. */
import type { OperatorTable } from "../operator.ts";
import { ACTIVATION } from "./activation.ts";
import { ARITHMETIC } from "./arithmetic.ts";
import { COMPARISON } from "./comparison.ts";
import { CONVOLUTION } from "./convolution.ts";
import { DETECTION } from "./detection.ts";
import { ELEMENTWISE } from "./elementwise.ts";
import { FILL } from "./fill.ts";
import { GATHER } from "./gather.ts";
import { IMAGE } from "./image.ts";
import { JOIN } from "./join.ts";
import { MATRIX } from "./matrix.ts";
import { NORMALIZE } from "./normalize.ts";
import { PAD } from "./pad.ts";
import { POOL } from "./pool.ts";
import { REDUCE } from "./reduce.ts";
import { SELECT } from "./select.ts";
import { SHAPE } from "./shape.ts";
import { SLICE } from "./slice.ts";
import { SPACE } from "./space.ts";
import { TENSOR_ARRAYS } from "./tensor-array.ts";

/** In the order of the page that lists them. */
export const OPERATOR_FAMILIES: Readonly<Record<string, OperatorTable>> = {
  convolution: CONVOLUTION,
  pooling: POOL,
  normalization: NORMALIZE,
  activation: ACTIVATION,
  elementwise: ELEMENTWISE,
  arithmetic: ARITHMETIC,
  comparison: COMPARISON,
  reduction: REDUCE,
  matrix: MATRIX,
  picture: IMAGE,
  detection: DETECTION,
  shape: SHAPE,
  slice: SLICE,
  join: JOIN,
  gather: GATHER,
  selection: SELECT,
  padding: PAD,
  "space and depth": SPACE,
  fill: FILL,
  "arrays of loops": TENSOR_ARRAYS,
};

export const OPERATORS: OperatorTable = Object.assign({}, ...Object.values(OPERATOR_FAMILIES));
