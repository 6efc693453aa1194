/** TF.js runs pictures channels last; a graph may say otherwise, and is then not compiled. */
import type { Call } from "../operator.ts";
import { NotCovered } from "../value.ts";

export function channelsLastOnly({ op, attributes }: Call): void {
  const format = attributes.text("data_format", "NHWC");
  if (format.startsWith("NC")) throw new NotCovered(`${op} with the data format ${format}`);
}
