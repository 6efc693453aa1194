import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deflateRawSync } from "node:zlib";
import { expect, onTestFinished, test } from "vitest";
import { AuspexError } from "../../src/domain/error.ts";
import { type LabelledZip, openLabelledZip, type ZipFile, type ZipLimits } from "../../src/services/zip.ts";
import { zipOf } from "../pictures.ts";
import { type RawEntry, rawZip, zip64Claiming } from "../raw-zip.ts";

const MIB = 1024 ** 2;
const LIMITS: ZipLimits = { entries: 20, unpackedBytes: 4 * MIB, ratio: 200, fileBytes: 1000 };
const BYTES = Buffer.from("a picture, for all that a zip knows");
const GOOD: RawEntry = { name: "circle/a.jpg", data: BYTES };

async function opened(bytes: Uint8Array, limits: Partial<ZipLimits> = {}): Promise<LabelledZip> {
  const folder = await mkdtemp(join(tmpdir(), "auspex-zip-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  await writeFile(join(folder, "test.zip"), bytes);
  const zip = await openLabelledZip(join(folder, "test.zip"), { ...LIMITS, ...limits });
  onTestFinished(() => zip.close());
  return zip;
}

async function filesOf(zip: LabelledZip): Promise<readonly ZipFile[]> {
  const files: ZipFile[] = [];
  for await (const file of zip.files()) files.push(file);
  expect(files).toHaveLength(zip.fileCount);
  return files;
}

/** `label/name` of what is taken, `path: reason` of what is skipped. */
async function told(bytes: Uint8Array, limits?: Partial<ZipLimits>): Promise<readonly string[]> {
  const files = await filesOf(await opened(bytes, limits));
  return files.map((file) =>
    file.kind === "example" ? `${file.label}/${file.name}` : `${file.path}: ${file.reason}`,
  );
}

async function refusalOf(bytes: Uint8Array, limits?: Partial<ZipLimits>): Promise<string> {
  const error = await opened(bytes, limits).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(AuspexError);
  const { code, message } = AuspexError.from(error);
  expect(code).toBe("invalid_argument");
  expect(message).toMatch(/^Invalid zip: /);
  return message.slice("Invalid zip: ".length);
}

test("folders are labels; files come in the zip's order with their bytes", async () => {
  const zip = await opened(rawZip([GOOD, { ...GOOD, name: "square/b.jpg", method: 0 }]));
  expect([...zip.labels]).toEqual(["circle", "square"]);
  expect(await filesOf(zip)).toEqual([
    { kind: "example", path: "circle/a.jpg", label: "circle", name: "a.jpg", bytes: BYTES },
    { kind: "example", path: "square/b.jpg", label: "square", name: "b.jpg", bytes: BYTES },
  ]);
});

test.each<readonly [string, readonly string[], readonly string[]]>([
  ["one wrapping folder", ["w/", "w/a/", "w/a/1.jpg", "w/b/2.jpg"], ["a/1.jpg", "b/2.jpg"]],
  [
    "a wrapping folder with a text in it",
    ["w/read.me", "w/a/1.jpg"],
    ["w/read.me: is not in the folder of a label", "a/1.jpg"],
  ],
  [
    "one label with a folder in it",
    ["a/1.jpg", "a/more/2.jpg"],
    ["a/1.jpg", "a/more/2.jpg: lies deeper than in the folder of a label"],
  ],
  ["a single label", ["a/1", "a/2"], ["a/1", "a/2"]],
  ["a file beside the labels", ["1.jpg", "a/2.jpg"], ["1.jpg: is not in the folder of a label", "a/2.jpg"]],
  [
    "what systems leave behind",
    ["__MACOSX/a/._1.jpg", ".git/a", "a/.DS_Store", "a/Thumbs.db", "a/desktop.ini", "a/1.jpg"],
    ["a/1.jpg"],
  ],
  ["resource forks beside a wrapping folder", ["__MACOSX/w/a/._1.jpg", "w/a/1.jpg"], ["a/1.jpg"]],
  [
    "accents in both spellings and blanks around",
    ["e\u0301/1.jpg", "\u00e9 /2.jpg"],
    ["\u00e9/1.jpg", "\u00e9/2.jpg"],
  ],
  ["a long file name, cut", [`a/${"x".repeat(200)}.jpg`], [`a/${"x".repeat(180)}`]],
  ["a label of 180 characters", [`${"x".repeat(180)}/1.jpg`], [`${"x".repeat(180)}/1.jpg`]],
])("layout: %s", async (_name, names, expected) => {
  const entries = names.map((name) => ({ name, data: name.endsWith("/") ? Buffer.alloc(0) : BYTES }));
  expect(await told(rawZip(entries))).toEqual(expected);
});

test("what yazl writes is read", async () => {
  const zip = await zipOf({ "shapes/": BYTES, "shapes/circle/a.jpg": BYTES, "shapes/square/b.jpg": BYTES });
  expect(await told(zip)).toEqual(["circle/a.jpg", "square/b.jpg"]);
});

test("at its limits a zip is taken, one past them it is refused", async () => {
  const many = (count: number) =>
    rawZip(Array.from({ length: count }, (_, index) => ({ name: `a/${index}`, data: BYTES })));
  expect(await told(many(20))).toHaveLength(20);
  expect(await refusalOf(many(21))).toBe("it has 21 entries; at most 20 are allowed");

  const pair = rawZip([GOOD, { ...GOOD, name: "circle/b.jpg" }]);
  const total = 2 * BYTES.length;
  expect(await told(pair, { unpackedBytes: total })).toHaveLength(2);
  expect(await refusalOf(pair, { unpackedBytes: total - 1 })).toBe(
    `unpacked it has more than the ${total - 1} bytes that are allowed`,
  );

  const exact = { name: "a/1000", data: Buffer.alloc(1000, 1) };
  const large = { name: "a/1001", data: Buffer.alloc(1001, 1) };
  expect(await told(rawZip([exact, large]))).toEqual([
    "a/1000",
    "a/1001: has 1001 bytes; at most 1000 are allowed",
  ]);

  const labels = (count: number) =>
    rawZip(Array.from({ length: count }, (_, index) => ({ name: `label ${index}/1.jpg`, data: BYTES })));
  expect((await opened(labels(250), { entries: 1000 })).labels.size).toBe(250);
  expect(await refusalOf(labels(251), { entries: 1000 })).toContain("251 folders of labels; at most 250");

  // A file of 1 MiB is no bomb at any ratio; a larger one is up to the limit.
  const packed = deflateRawSync(Buffer.alloc(2 * MIB));
  const claiming = (size: number) => rawZip([GOOD, { name: "a/zeros", packed, size }]);
  expect(await told(claiming(MIB))).toHaveLength(2);
  expect(await told(claiming(200 * packed.length))).toHaveLength(2);
  expect(await refusalOf(claiming(Math.max(MIB, 200 * packed.length) + 1))).toContain(
    "more than 200 times its size",
  );
});

const HOSTILE: Record<string, readonly [Uint8Array, string]> = {
  nothing: [Buffer.alloc(0), "not a zip"],
  "a text": [Buffer.from("<html>no zip</html>"), "not a zip"],
  "a cut off zip": [rawZip([GOOD]).subarray(0, -30), "not a zip"],
  "an empty zip": [rawZip([]), "no folder with files"],
  "no folders": [rawZip([{ ...GOOD, name: "a.jpg" }]), "no folder with files"],
  "two wrapping folders": [rawZip([{ ...GOOD, name: "v/w/a/1.jpg" }]), "no folder with files"],
  "a name above": [rawZip([{ ...GOOD, name: "../../etc/a.jpg" }]), "relative path"],
  "a name above in the middle": [rawZip([{ ...GOOD, name: "a/../../b.jpg" }]), "relative path"],
  "an absolute name": [rawZip([{ ...GOOD, name: "/etc/a.jpg" }]), "absolute path"],
  "a drive": [rawZip([{ ...GOOD, name: "C:/a/b.jpg" }]), "absolute path"],
  backslashes: [rawZip([{ ...GOOD, name: "a\\..\\b.jpg" }]), "invalid characters"],
  "a name with a NUL": [rawZip([{ ...GOOD, name: "a/b.jpg\0.txt" }]), "control character"],
  "a symbolic link": [
    rawZip([GOOD, { name: "circle/l", data: Buffer.from("/etc/passwd"), mode: 0o120777 }]),
    "link",
  ],
  "a device": [rawZip([{ ...GOOD, mode: 0o020644 }]), "special file"],
  "an encrypted file": [rawZip([{ ...GOOD, flags: 0x801 }]), "is encrypted"],
  "a strongly encrypted file": [rawZip([{ ...GOOD, flags: 0x841 }]), "encryption"],
  "another method": [rawZip([{ ...GOOD, method: 14 }]), "method 14"],
  "the same name twice": [rawZip([GOOD, GOOD]), "in it twice"],
  "a label of 181 characters": [
    rawZip([{ ...GOOD, name: `${"x".repeat(181)}/a.jpg` }]),
    "has 181 characters",
  ],
  "a blank label": [rawZip([{ ...GOOD, name: " /a.jpg" }]), "blank name"],
  "a label with a comma": [rawZip([{ ...GOOD, name: "a,b/a.jpg" }]), "comma"],
  "folders without end": [rawZip([{ ...GOOD, name: `${"a/".repeat(17)}b.jpg` }]), "or 16 folders"],
  "a very long name": [rawZip([{ ...GOOD, name: `a/${"b".repeat(1024)}` }]), "more than 1024 characters"],
  "a bomb": [
    rawZip([{ name: "a/zeros", data: Buffer.alloc(2 * MIB) }]),
    "unpacks to more than 200 times its size",
  ],
  "more than is allowed in many files": [
    rawZip(Array.from({ length: 6 }, (_, index) => ({ name: `a/${index}`, data: Buffer.alloc(MIB) }))),
    "unpacked it has more than",
  ],
  "an end that claims millions of entries": [zip64Claiming(1_000_000n), "it has 1000000 entries"],
  "an end that claims more than a double holds": [zip64Claiming(2n ** 63n), "entries"],
  "fewer entries than its end says": [rawZip([GOOD], { count: 3 }), ""],
  "many files that are one": [
    rawZip([
      { name: "a/0", data: Buffer.from(Array.from({ length: 900 }, (_, i) => (i * i) % 251)) },
      ...Array.from({ length: 19 }, (_, i) => ({
        name: `a/${i + 1}`,
        packedSize: 900,
        size: 900,
        offset: 0,
      })),
    ]),
    "its files share their bytes",
  ],
  "a stored file of two sizes": [rawZip([{ ...GOOD, method: 0, size: 5 }]), "size mismatch"],
};

test.each(Object.entries(HOSTILE))("refused: %s", async (_name, [bytes, reason]) => {
  const began = performance.now();
  expect((await refusalOf(bytes)).toLowerCase()).toContain(reason.toLowerCase());
  expect(performance.now() - began).toBeLessThan(1000);
});

test("a complaint about a long name is short", async () => {
  const name = Buffer.concat([Buffer.from("../"), Buffer.alloc(60_000, 0x61)]);
  expect((await refusalOf(rawZip([{ ...GOOD, name }]))).length).toBeLessThan(400);
});

test("files whose headers lie are skipped, and cost no more than they said", async () => {
  const bomb = deflateRawSync(Buffer.alloc(30 * MIB));
  const zip = rawZip([
    GOOD,
    // Announces 900 bytes and would inflate to 30 MiB; a larger one is not even read.
    { name: "a/bomb", packed: bomb, size: 900 },
    { name: "a/larger", packed: Buffer.alloc(MIB), size: 900 },
    { name: "a/short", packed: deflateRawSync(Buffer.alloc(9000, 1)), size: 900 },
    { name: "a/longer", data: BYTES, size: BYTES.length + 1 },
    { name: "a/checksum", data: BYTES, crc: 1 },
    { name: "a/rubbish", packed: Buffer.from("this is not deflated"), size: 900 },
    { name: "a/elsewhere", data: BYTES, offset: 7 },
    { name: "a/behind", data: BYTES, packedSize: 100_000, size: 900 },
    { name: "a/last", data: BYTES },
  ]);
  expect(await told(zip)).toEqual([
    "circle/a.jpg",
    ...["bomb", "larger", "short", "longer", "checksum", "rubbish", "elsewhere", "behind"].map(
      (name) => `a/${name}: is damaged in the zip`,
    ),
    "a/last",
  ]);
});

test.each([2n ** 53n, 2n ** 57n, 2n ** 64n - 1n])(
  "places in the zip that no file reaches, such as %d, are nothing but wrong",
  async (place) => {
    expect(await refusalOf(zip64Claiming(1n, { record: place }))).toBe("unexpected EOF");
    expect(await refusalOf(zip64Claiming(1n, { directory: place }))).toBe("unexpected EOF");
  },
);
