/** What the compiler from TF.js to ONNX covers, as a page of the docs, from the tables that it compiles by. */
import { LAYER_FAMILIES } from "../src/engine/compiler/layers/layers.ts";
import { OPERATOR_FAMILIES } from "../src/engine/compiler/operators/operators.ts";

function table(what: string, families: Readonly<Record<string, Readonly<Record<string, unknown>>>>): string {
  const rows = Object.entries(families).map(([family, members]) => {
    const names = Object.keys(members)
      .sort()
      .map((name) => `\`${name}\``);
    return `| ${family} | ${names.join(", ")} |`;
  });
  return [`| | ${what} |`, "|---|---|", ...rows].join("\n");
}

const count = (families: Readonly<Record<string, object>>): number =>
  Object.values(families).reduce((sum, members) => sum + Object.keys(members).length, 0);

export function coveragePage(): string {
  return `# What compiles to ONNX

Written by \`npm run generate\` from the compiler's own tables; not to be edited.

A TensorFlow.js model whose operators or layers are all listed here is compiled to ONNX when it is loaded, and runs in
ONNX Runtime at native speed. One that has another operator, or a form of these that is not covered, is served by the
next runtime, and its state names the operator (\`ModelService.GetModelVersion\`, \`notes\`).

## Operators of graph models (${count(OPERATOR_FAMILIES)})

\`Const\`, placeholders, \`Identity\`, \`IdentityN\`, \`StopGradient\` and the loops of TensorFlow 1 (\`Enter\`, \`Merge\`,
\`Switch\`, \`LoopCond\`, \`NextIteration\`, \`Exit\`) are part of the graph's form, and compile as well.

${table("operators", OPERATOR_FAMILIES)}

## Layers of layers models (${count(LAYER_FAMILIES)})

Besides \`InputLayer\`, and models nested in models, shared ones too.

${table("layers", LAYER_FAMILIES)}
`;
}
