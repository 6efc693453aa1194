/** Every operator of TensorFlow that compiles, by its name. */
import type { OperatorTable } from "../operator.ts";
import { CONVOLUTION } from "./convolution.ts";
import { ELEMENTWISE } from "./elementwise.ts";
import { FILL } from "./fill.ts";
import { GATHER } from "./gather.ts";
import { JOIN } from "./join.ts";
import { PAD } from "./pad.ts";
import { SELECT } from "./select.ts";
import { SHAPE } from "./shape.ts";
import { SLICE } from "./slice.ts";
import { SPACE } from "./space.ts";
import { TENSOR_ARRAYS } from "./tensor-array.ts";

export const OPERATORS: OperatorTable = {
  ...CONVOLUTION,
  ...ELEMENTWISE,
  ...FILL,
  ...GATHER,
  ...JOIN,
  ...PAD,
  ...SELECT,
  ...SHAPE,
  ...SLICE,
  ...SPACE,
  ...TENSOR_ARRAYS,
};
