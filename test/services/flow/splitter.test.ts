import { describe, expect, test } from "vitest";
import { split, splitText } from "../../../src/services/flow/splitter.ts";

const passages = (text: string, size: number, overlap = 0): readonly string[] => [
  ...splitText(text, { size, overlap, max: Number.POSITIVE_INFINITY }),
];

/** Words of fixed widths, so that lengths can be counted. */
const sentence = (n: number): string => `Sentence ${n} has some words in it.`;

describe("where texts are cut", () => {
  test("a text that fits is one passage, to the character", () => {
    expect(passages("x".repeat(100), 100)).toEqual(["x".repeat(100)]);
    expect(passages("x".repeat(101), 100)).toEqual(["x".repeat(100), "x"]);
  });

  test("between paragraphs first, as many together as fit", () => {
    const [a, b, c] = ["a".repeat(40), "b".repeat(40), "c".repeat(40)];
    expect(passages(`${a}\n\n${b}\n\n${c}`, 82)).toEqual([`${a}\n\n${b}`, c]);
    expect(passages(`${a}\n\n${b}\n\n${c}`, 81)).toEqual([a, b, c]);
  });

  test("else between lines, then sentences, then words", () => {
    expect(passages("one line\nanother line\nlast", 21)).toEqual(["one line\nanother line", "last"]);
    expect(passages(`${sentence(1)} ${sentence(2)} ${sentence(3)}`, 70)).toEqual([
      `${sentence(1)} ${sentence(2)}`,
      sentence(3),
    ]);
    expect(passages("alpha beta gamma delta", 11)).toEqual(["alpha beta", "gamma delta"]);
  });

  test("a sentence does not end with an abbreviation's number or a decimal point", () => {
    expect(passages("It takes 2.5 ms on one core. It takes less on two.", 30)).toEqual([
      "It takes 2.5 ms on one core.",
      "It takes less on two.",
    ]);
  });

  test("never inside a surrogate pair", () => {
    for (const size of [3, 4, 5, 100]) {
      const cut = passages("😀".repeat(120), size);
      expect(cut.every((passage) => passage.isWellFormed() && passage.length <= size)).toBe(true);
      expect(cut.join("")).toBe("😀".repeat(120));
    }
  });

  test("code is kept whole where it fits, blank lines in it or not", () => {
    const code = "```sh\nnpm ci\n\nnpm start\n```";
    const before = "Some text that comes before the code, and is a paragraph.";
    expect(passages(`${before}\n\n${code}\n\nAfter it.`, 60)).toEqual([before, `${code}\n\nAfter it.`]);
    const cut = passages(`${before}\n\n${code}`, 20);
    expect(cut).toContain("```sh\nnpm ci");
    expect(cut.every((passage) => passage.length <= 20)).toBe(true);
  });
});

describe("what neighbours share", () => {
  test("whole sentences, at most so many characters", () => {
    const text = [1, 2, 3, 4].map(sentence).join(" ");
    expect(passages(text, 75, 34)).toEqual([
      `${sentence(1)} ${sentence(2)}`,
      `${sentence(2)} ${sentence(3)}`,
      `${sentence(3)} ${sentence(4)}`,
    ]);
    expect(passages(text, 75, 33)[1]).not.toContain("Sentence 2");
  });

  test("nothing where there is no room, and a passage never outgrows its size", () => {
    const text = Array.from({ length: 200 }, (_, n) => `${"word ".repeat((n * 7) % 23)}end ${n}.`).join("\n");
    for (const [size, overlap] of [
      [100, 49],
      [137, 60],
      [1000, 100],
    ] as const) {
      const cut = passages(text, size, overlap);
      expect(Math.max(...cut.map(({ length }) => length))).toBeLessThanOrEqual(size);
      // Every passage is a piece of the text, and together they are all of it.
      let from = 0;
      for (const passage of cut) {
        const at = text.indexOf(passage, Math.max(0, from - overlap));
        expect(at).toBeGreaterThanOrEqual(Math.max(0, from - overlap - 1));
        expect(text.slice(from, Math.max(from, at)).trim()).toBe("");
        from = at + passage.length;
      }
      expect(text.slice(from).trim()).toBe("");
    }
  });
});

test("a part's passages keep its metadata, and too many are refused, to the passage", () => {
  const parts = [
    { text: "alpha beta", metadata: { heading: "A" } },
    { text: "gamma", metadata: { heading: "B" } },
  ];
  const three = [
    { text: "alpha", metadata: { heading: "A" } },
    { text: "beta", metadata: { heading: "A" } },
    { text: "gamma", metadata: { heading: "B" } },
  ];
  expect(split(parts, { size: 6, overlap: 0, max: 3 })).toEqual(three);
  expect(() => split(parts, { size: 6, overlap: 0, max: 2 })).toThrow("it has more than 2 passages");
});
