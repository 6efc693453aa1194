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

export const OPERATORS: OperatorTable = {
  ...ACTIVATION,
  ...ARITHMETIC,
  ...COMPARISON,
  ...CONVOLUTION,
  ...DETECTION,
  ...ELEMENTWISE,
  ...FILL,
  ...GATHER,
  ...IMAGE,
  ...JOIN,
  ...MATRIX,
  ...NORMALIZE,
  ...PAD,
  ...POOL,
  ...REDUCE,
  ...SELECT,
  ...SHAPE,
  ...SLICE,
  ...SPACE,
  ...TENSOR_ARRAYS,
};
