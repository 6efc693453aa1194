/** Schemas as a hostile or a careless publisher writes them. */
import { expect, test } from "vitest";
import type { Manifest } from "../../src/domain/model.ts";
import type { JsonObject } from "../../src/domain/payload.ts";
import { readManifest } from "../../src/engine/manifest.ts";
import { schemaFault } from "../../src/services/input-schema.ts";

function manifest(inputSchema?: JsonObject): Manifest {
  return readManifest(JSON.stringify({ task: "tensor", ...(inputSchema && { inputSchema }) }));
}

test("a fault is named by its place and keyword", () => {
  expect(schemaFault(manifest(), { inputs: {} })).toBeUndefined();
  expect(schemaFault(manifest(), {})).toMatchObject({ field: "input.inputs", reason: "required" });
  expect(schemaFault(manifest(), { inputs: { x: 1 } })).toMatchObject({ field: "input.inputs.x" });
});

test("two versions may have schemas of the same $id", () => {
  const schema = { $id: "https://example.com/input", type: "object" };
  expect(schemaFault(manifest(schema), {})).toBeUndefined();
  expect(schemaFault(manifest({ ...schema, required: ["a"] }), {})).toMatchObject({ field: "input.a" });
});

test("a pattern that backtracks for years is broken off, and its schema not tried again", () => {
  const slow = manifest({ properties: { s: { pattern: "^(a+)+$" } } });
  expect(schemaFault(slow, { s: "aaa" })).toBeUndefined();
  expect(() => schemaFault(slow, { s: `${"a".repeat(50)}!` })).toThrow(/cannot be applied: took longer/);
  const startedAt = performance.now();
  expect(() => schemaFault(slow, { s: "aaa" })).toThrow(/cannot be applied/);
  expect(performance.now() - startedAt).toBeLessThan(100);
});

test("a schema that refers to itself without end is the model's fault", () => {
  expect(() => schemaFault(manifest({ $ref: "#" }), {})).toThrow(
    expect.objectContaining({ code: "failed_precondition" }),
  );
});
