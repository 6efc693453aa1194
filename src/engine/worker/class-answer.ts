/** Classification: labels with probabilities, the most probable first. */
import type { Manifest } from "../../domain/model.ts";
import { elementCount } from "../../domain/tensor.ts";
import type { Outcome } from "../protocol.ts";
import type { Signature } from "../signature.ts";
import { modelFault } from "../wire-error.ts";
import { activate } from "./activation.ts";
import { type ReadAnswers, rowsOf } from "./picture-answer.ts";

/** @throws Error when no output fits the labels */
export function createClassAnswers(signature: Signature, manifest: Manifest): ReadAnswers {
  const output = classOutput(signature, manifest);
  const { labels } = manifest;
  // A label "" is a class that is never reported: it takes its part of the softmax and is then left out.
  const reported = labels.flatMap((label, i) => (label === "" ? [] : [i]));
  return (outputs, rows) =>
    rowsOf(outputs, output, rows, labels.length).map((scores) => ({ topK }) => {
      const values = activate(scores, manifest.activation);
      if (!values.every(Number.isFinite)) return NOT_A_NUMBER;
      const order = reported.toSorted((a, b) => (values[b] ?? 0) - (values[a] ?? 0) || a - b);
      const probabilities = order
        .slice(0, topK)
        .map((i) => ({ label: labels[i] ?? "", probability: values[i] ?? 0 }));
      return { ok: true, value: { probabilities } };
    });
}

const NOT_A_NUMBER: Outcome<never> = {
  ok: false,
  error: modelFault("it gave a probability that is not a number"),
};

/** The output with one value per label and row. */
function classOutput({ outputs }: Signature, { labels }: Manifest): string {
  const fitting = outputs.filter(({ shape }) => elementCount(shape.slice(1).map(Number)) === labels.length);
  if (fitting[0]) return fitting[0].name;
  const sizes = outputs.map(({ name, shape }) => `${name} has ${elementCount(shape.slice(1).map(Number))}`);
  throw new Error(`auspex.json has ${labels.length} labels, and the output ${sizes.join(", ")} classes`);
}
