/**
 * Models that are published as JavaScript modules: the topology as an object literal, each weight file as a base64
 * text. They are read as text and never run.
 */

const TOPOLOGY = /\b\w+\.exports=(\{(?:modelTopology|format):[\s\S]*\})\},\{\}\]\},\{\},\[1\]\)/;
const SHARD = /\b\w+\.exports="([A-Za-z0-9+/]*={0,2})"/;

/** One piece of a minified literal that JSON writes in another way, or a string, which both write alike. */
const PIECE = /"(?:[^"\\]|\\.)*"|!0|!1|[A-Za-z_$][\w$]*(?=:)|(?<!\d)\.\d+/g;

/** The `model.json` in a module. @throws Error when there is none, or when it is no plain literal */
export function readTopology(source: string): unknown {
  const literal = TOPOLOGY.exec(source)?.[1];
  if (literal === undefined) throw new Error("the module exports no topology");
  return JSON.parse(literal.replace(PIECE, asJson));
}

function asJson(piece: string): string {
  if (piece === "!0") return "true";
  if (piece === "!1") return "false";
  if (piece.startsWith(".")) return `0${piece}`;
  return piece.startsWith('"') ? piece : `"${piece}"`;
}

/** The bytes of a weight file in a module. @throws Error when there are none */
export function readShard(source: string): Buffer {
  const text = SHARD.exec(source)?.[1];
  if (text === undefined) throw new Error("the module exports no base64 text");
  return Buffer.from(text, "base64");
}
