import { describe, expect, it } from "vitest";
import { readLabels } from "../../catalog/labels.ts";

describe("readLabels", () => {
  it("reads a JSON array", () => {
    expect(readLabels(' ["a", "b"]\n')).toEqual(["a", "b"]);
  });

  it("reads numbered strings out of JavaScript: quotes, escapes, sums", () => {
    const text = `"use strict";
      /* 7: not a label */
      exports.X = { 0: 'jack-o\\'-lantern', 1: "a \\"b\\" \\\\", 2: 'two, ' +
        'parts', 3: 'a: 5: b' };
      //# sourceMappingURL=x.js.map`;
    expect(readLabels(text)).toEqual(["jack-o'-lantern", 'a "b" \\', "two, parts", "a: 5: b"]);
  });

  it("reads numbered objects with display names, from the first number on", () => {
    const text = `exports.CLASSES = {
      1: { name: '/m/01g317', id: 1, displayName: 'person' },
      2: { name: '/m/0199g', id: 2, displayName: "bi" },
      5: {
        displayName: 'car: 6',
        id: 5,
      },
    };`;
    expect(readLabels(text)).toEqual(["person", "bi", "", "", "car: 6"]);
  });

  it.each([
    ["{ 1: { displayName: 'a' }, 1: { displayName: 'b' } }", "label 1 stands where 2 was expected"],
    ["{ 1: { displayName: 'a' }, 13: { displayName: 'b' } }", "label 13 stands where 2 was expected"],
    ["{ 2: { displayName: 'a' }, 1: { displayName: 'b' } }", "label 1 stands where 3 was expected"],
    ["{ 0: 'a', 2: 'c' }", "label 2 stands where 1 was expected"],
    ["{ 0: 'a', 0: 'b' }", "label 0 stands where 1 was expected"],
    ["{ 1: 'a' }", "label 1 stands where 0 was expected"],
    ["{ 0: '\\x41' }", "has the escape \\x, which is not known"],
    ["export default []", "has no labels in a form that is known"],
    ["", "has no labels in a form that is known"],
    ["[1, 2]", "is not an array of strings"],
  ])("refuses %j", (text, why) => {
    expect(() => readLabels(text)).toThrow(why);
  });
});
