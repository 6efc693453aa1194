import { describe, test } from "vitest";
import { attr, bools, expectSame, floats, ints } from "../reference.ts";

const picture = floats([2, 3, 5, 4]);
const layouts = Object.entries({ plain: {}, convolved: { convolved: [0] }, open: { open: "all" } } as const);
const float = (value: number) => ({ type: "float32", shape: [], data: Float32Array.of(value) }) as const;
const given = [
  [0, 0, 1, 2, 3, 0, 0, 0],
  [0, 0, 0, 1, 2, 2, 3, 1],
  [0, 0, 0, 0, 0, 0, 0, 0],
  [1, 0, 2, 0, 0, 3, 0, 2],
];

describe.each(layouts)("%s", (_, layout) => {
  test.each(given)("Pad by %i %i, %i %i, %i %i, %i %i", (...pads) =>
    expectSame({ op: "Pad", inputs: [picture, ints(pads, [4, 2])], weights: [1], ...layout }),
  );

  test("PadV2", () =>
    expectSame({
      op: "PadV2",
      inputs: [picture, ints([0, 0, 1, 2, 3, 0, 0, 1], [4, 2]), float(-1.5)],
      weights: [1, 2],
      ...layout,
    }));

  test.each(["REFLECT", "SYMMETRIC"])("MirrorPad %s", (mode) =>
    expectSame({
      op: "MirrorPad",
      inputs: [picture, ints([0, 1, 2, 1, 0, 4, 3, 0], [4, 2])],
      weights: [1],
      attr: { mode: attr.text(mode) },
      ...layout,
    }),
  );
});

describe.each([{}, { convolved: [0] }])("paddings that a run gives, %j", (layout) => {
  const paddings = ints([0, 0, 1, 2, 3, 0, 0, 1], [4, 2]);
  test("Pad", () => expectSame({ op: "Pad", inputs: [picture, paddings], open: "none", ...layout }));
  test("MirrorPad", () =>
    expectSame({
      op: "MirrorPad",
      inputs: [picture, paddings],
      attr: { mode: attr.text("REFLECT") },
      open: "none",
      ...layout,
    }));
});

test("whole numbers and truth values", async () => {
  const pads = ints([1, 2], [1, 2]);
  await expectSame({ op: "Pad", inputs: [ints([5, 6, 7]), pads], weights: [1] });
  await expectSame({ op: "PadV2", inputs: [ints([5, 6, 7]), pads, ints([9], [])], weights: [1, 2] });
  await expectSame({ op: "Pad", inputs: [bools([true, false]), pads], weights: [1] });
  for (const mode of ["REFLECT", "SYMMETRIC"])
    await expectSame({
      op: "MirrorPad",
      inputs: [ints([5, 6, 7]), pads],
      weights: [1],
      attr: { mode: attr.text(mode) },
    });
});
