/**
 * An imitation of `@tensorflow/tfjs-node-gpu`: TF.js on its CPU backend, with a GPU that is there as long as the file
 * that FAKE_GPU names is. A process that had it and lost it gets errors from then on, as CUDA gives them after the
 * first; one that starts later finds none.
 */
import { existsSync } from "node:fs";
import "@tensorflow/tfjs-backend-cpu";
import * as core from "@tensorflow/tfjs-core";
import * as layers from "@tensorflow/tfjs-layers";

const isThere = (): boolean => existsSync(process.env.FAKE_GPU ?? "");
const isUsingGpuDevice = isThere();
await core.setBackend("cpu");

function tensor(values: core.TensorLike, shape?: number[], dtype?: core.DataType): core.Tensor {
  if (!isThere()) throw new Error("CUDA error: CUDA_ERROR_LAUNCH_FAILED: unspecified launch failure");
  return core.tensor(values, shape, dtype);
}

export default {
  ...core,
  ...layers,
  loadGraphModel: undefined,
  node: {},
  getBackend: () => "tensorflow",
  findBackend: () => ({ isUsingGpuDevice }),
  tensor,
};
