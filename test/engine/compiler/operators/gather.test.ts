import { describe, expect, test } from "vitest";
import { compileGraphModel } from "../../../../src/engine/compiler/graph-model.ts";
import { attr, bools, expectSame, floats, type GraphCase, ints, modelOf, runOnnx } from "../reference.ts";

const picture = floats([3, 5, 7, 4]);
const layouts = Object.entries({ plain: {}, convolved: { convolved: [0] }, open: { open: "all" } } as const);
const number = (value: number) => ints([value], []);

describe.each(layouts)("%s", (_, layout) => {
  describe.each([0, 1, 2, -1])("GatherV2 along %i", (axis) => {
    test.each([[[]], [[1]], [[4]], [[2, 2]]])("indices of shape %j", (shape) => {
      const indices = ints(
        [2, 0, 1, 2].slice(
          0,
          shape.reduce((a, b) => a * b, 1),
        ),
        shape,
      );
      return expectSame({
        op: "GatherV2",
        inputs: [picture, indices, number(axis)],
        weights: [2],
        ...layout,
      });
    });
  });

  test("Gather", () => expectSame({ op: "Gather", inputs: [picture, ints([2, 0])], ...layout }));

  test.each([
    [1, 1],
    [2, 1],
    [3, 1],
    [2, 2],
    [-1, 2],
  ])("GatherV2 along %i of %i batch axes", (axis, batch) => {
    const shape = [3, 5, 2].slice(0, batch + 1);
    const size = shape.reduce((a, b) => a * b, 1);
    return expectSame({
      op: "GatherV2",
      inputs: [
        picture,
        ints(
          Array.from({ length: size }, (_, i) => (i * 3) % 4),
          shape,
        ),
        number(axis),
      ],
      weights: [2],
      attr: { batch_dims: attr.int(batch) },
      ...layout,
    });
  });

  test.each([1, 2, 3, 4])("GatherNd into %i axes", (depth) =>
    expectSame({
      op: "GatherNd",
      inputs: [
        picture,
        ints([[2, 4, 6, 3].slice(0, depth), [0, 1, 2, 0].slice(0, depth)].flat(), [2, depth]),
      ],
      weights: [1],
      ...layout,
    }),
  );

  test("TensorScatterUpdate", () =>
    expectSame({
      op: "TensorScatterUpdate",
      inputs: [picture, ints([2, 1, 0, 3], [2, 2]), floats([2, 7, 4], 2)],
      weights: [1],
      ...layout,
    }));
});

test("as many indices as only a run tells", () =>
  expectSame({ op: "GatherNd", inputs: [floats([4, 3]), ints([1, 3, 0], [3, 1])] }));

test("whole numbers and truth values are gathered", async () => {
  await expectSame({
    op: "GatherV2",
    inputs: [ints([5, 6, 7]), ints([2, 0]), number(0)],
    weights: [0, 1, 2],
  });
  await expectSame({ op: "GatherV2", inputs: [ints([5, 6, 7]), ints([2, 0]), number(0)], weights: [1, 2] });
  await expectSame({ op: "GatherV2", inputs: [bools([true, false]), ints([1]), number(0)], weights: [2] });
  await expectSame({ op: "GatherNd", inputs: [ints([5, 6, 7]), ints([2, 0], [2, 1])] });
});

describe("an index below zero is refused, as in TF.js", () => {
  const picking = (index: number, weights: readonly number[]): GraphCase => ({
    op: "GatherV2",
    inputs: [floats([3, 2]), ints([index, 1]), ints([0], [])],
    weights,
  });
  test("that a run gives", async () => {
    const { files, feeds, outputs } = modelOf(picking(-1, [0, 2]));
    await expect(runOnnx(compileGraphModel(files), feeds, outputs)).rejects.toThrow("out of data bounds");
    await expect(expectSame(picking(-1, [0, 2]))).rejects.toThrow("the index value -1 is not in [0, 2]");
  });
  test("that the model has", () => {
    expect(() => compileGraphModel(modelOf(picking(-1, [0, 1, 2])).files)).toThrow(
      "the index -1 is negative",
    );
  });
});

describe("ScatterNd", () => {
  test("updates for one place add up", () =>
    expectSame({
      op: "ScatterNd",
      inputs: [ints([1, 3, 1], [3, 1]), floats([3, 2]), ints([5, 2])],
      weights: [2],
    }));
  test("of whole numbers", () =>
    expectSame({
      op: "ScatterNd",
      inputs: [ints([1, 0, 2, 1, 1, 0], [3, 2]), ints([5, 6, 7]), ints([3, 2])],
      weights: [2],
    }));
  test("into a shape that a run gives", () =>
    expectSame({
      op: "ScatterNd",
      inputs: [ints([1, 3], [2, 1]), floats([2, 2]), ints([5, 2])],
      open: "none",
    }));
});

test("TensorScatterUpdate of whole numbers", () =>
  expectSame({
    op: "TensorScatterUpdate",
    inputs: [ints([1, 2, 3, 4]), ints([1, 3], [2, 1]), ints([9, 8])],
  }));

describe("SparseToDense", () => {
  const shape = ints([4, 3]);
  const fallback = ints([-1], []);
  test("a list of indices", () =>
    expectSame({
      op: "SparseToDense",
      inputs: [ints([0, 1, 2, 0, 3, 2], [3, 2]), shape, ints([5, 6, 7]), fallback],
      weights: [1, 3],
    }));
  test("into a shape that a run gives", () =>
    expectSame({
      op: "SparseToDense",
      inputs: [ints([0, 1, 2, 0], [2, 2]), shape, ints([5, 6]), fallback],
      open: "none",
    }));
  test("one value for all", () =>
    expectSame({
      op: "SparseToDense",
      inputs: [ints([0, 1, 2, 0], [2, 2]), shape, ints([5], []), fallback],
      weights: [1, 3],
    }));
  test("numbers as indices", () =>
    expectSame({
      op: "SparseToDense",
      inputs: [
        ints([3, 1]),
        ints([5]),
        floats([2]),
        { type: "float32", shape: [], data: Float32Array.of(-1) },
      ],
      weights: [1, 3],
    }));
  test("one index", () =>
    expectSame({
      op: "SparseToDense",
      inputs: [ints([3], []), ints([5]), ints([9], []), fallback],
      weights: [1, 3],
    }));
});
