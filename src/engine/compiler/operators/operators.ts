/** Every operator of TensorFlow that compiles, by its name. */
import type { OperatorTable } from "../operator.ts";
import { CONVOLUTION } from "./convolution.ts";
import { ELEMENTWISE } from "./elementwise.ts";
import { TENSOR_ARRAYS } from "./tensor-array.ts";

export const OPERATORS: OperatorTable = { ...CONVOLUTION, ...ELEMENTWISE, ...TENSOR_ARRAYS };
