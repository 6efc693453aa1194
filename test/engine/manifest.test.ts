import { describe, expect, it } from "vitest";
import { AuspexError } from "../../src/domain/error.ts";
import { TASKS } from "../../src/domain/model.ts";
import { MANIFEST_BYTES_MAX, readManifest, readManifestFile } from "../../src/engine/manifest.ts";
import { TASK_SCHEMAS } from "../../src/engine/task-schemas.ts";

const PICTURE = { task: "image-classification", labels: ["cat", "dog"], picture: { width: 8, height: 4 } };

const DETECTOR = { ...PICTURE, task: "image-detection", detection: { boxes: "b", scores: "s" } };

const TEXT = { task: "text-embedding", text: { maxTokens: 128 } };

/** The complaints about a manifest, as `field: description`. */
function complaints(manifest: unknown): string[] {
  try {
    readManifest(typeof manifest === "string" ? manifest : JSON.stringify(manifest));
  } catch (error) {
    if (!(error instanceof AuspexError)) throw error;
    expect(error.code).toBe("invalid_argument");
    return error.violations.map((v) => `${v.field}: ${v.description}`).sort();
  }
  return [];
}

describe("readManifest", () => {
  it("fills in the defaults of each task", () => {
    expect(readManifest('{"task":"tensor"}')).toEqual({
      task: "tensor",
      description: "",
      licence: "",
      source: "",
      labels: [],
      picture: null,
      activation: "none",
      detection: null,
      text: null,
      batchMax: 32,
      batchDelayMs: null,
      inputSchema: TASK_SCHEMAS.tensor.input,
      outputSchema: TASK_SCHEMAS.tensor.output,
      embedding: null,
      backbone: null,
      runtime: null,
    });
    const picture = readManifest(JSON.stringify(PICTURE));
    expect(picture.picture).toEqual({ width: 8, height: 4, range: [0, 1], resize: "stretch" });
    expect(picture.batchMax).toBe(8);
    expect(picture.inputSchema).toBe(TASK_SCHEMAS["image-classification"].input);
  });

  it("keeps what is given, and reads back what it wrote", () => {
    const given = {
      ...PICTURE,
      description: "two pets",
      licence: "MIT",
      source: "here",
      picture: { width: 8, height: 4, range: [-1, 1], resize: "cover" },
      activation: "softmax",
      detection: null,
      text: null,
      batchMax: 3,
      batchDelayMs: 2.5,
      inputSchema: { type: "object", properties: { image: { type: "string" } } },
      outputSchema: { type: "object" },
      embedding: "pool",
      backbone: null,
      runtime: "tfjs-wasm",
    };
    const manifest = readManifest(JSON.stringify(given));
    expect(manifest).toEqual(given);
    expect(readManifest(JSON.stringify(manifest))).toEqual(manifest);
    const tensor = readManifest('{"task":"tensor"}');
    expect(readManifest(JSON.stringify(tensor))).toEqual(tensor);
  });

  it("names every complaint at once, by its path", () => {
    expect(
      complaints({
        task: "image-classification",
        labels: ["a", 1],
        picture: { width: 0, height: 1.5, range: [0], shape: "round" },
        activation: "relu",
        batchMax: "8",
        runtime: "jvm",
        colour: "red",
      }),
    ).toEqual([
      "activation: must be one of none, softmax, sigmoid",
      "batchMax: must be integer",
      "colour: is not a known key",
      "labels[1]: must be string",
      "picture.height: must be integer",
      "picture.range: must NOT have fewer than 2 items",
      "picture.shape: is not a known key",
      "picture.width: must be >= 1",
      "runtime: must be one of tfjs-node-gpu, onnxruntime, tfjs-node, tfjs-wasm, null",
    ]);
  });

  it("refuses an unknown task and says which there are", () => {
    expect(complaints({ task: "poetry" })).toEqual([`task: must be one of ${TASKS.join(", ")}`]);
    expect(complaints({})).toEqual(["task: is required"]);
  });

  it.each(["image-classification", "image-multi-label"])("needs labels and a picture for %s", (task) => {
    expect(complaints({ task })).toEqual(["labels: is required", "picture: is required"]);
    expect(complaints({ task, labels: [], picture: null })).toEqual([
      "labels: must NOT have fewer than 1 items",
      "picture: must be object",
    ]);
  });

  it("has a backbone by its version, and then no embedding of its own", () => {
    const on = (backbone: unknown, more: object = {}) => complaints({ ...PICTURE, backbone, ...more });
    expect(on("auspex/mobilenet:1")).toEqual([]);
    for (const wrong of [
      "",
      "auspex/mobilenet",
      "mobilenet:1",
      "auspex/mobilenet:0",
      "auspex/mobilenet:latest",
    ])
      expect(on(wrong)).toEqual(["backbone: must be owner/name:version"]);
    expect(on(1)).toEqual(["backbone: must be string,null"]);
    expect(on("auspex/mobilenet:1", { embedding: "pool" })).toEqual([
      "embedding: is the backbone's own, and not to be named here",
    ]);
  });

  it("fills in what a detector leaves out", () => {
    expect(readManifest(JSON.stringify(DETECTOR)).detection).toEqual({
      boxes: "b",
      scores: "s",
      boxForm: "yxyx",
      iouThreshold: 0.5,
      maxDetections: 100,
    });
    const given = { boxes: "b", scores: "s", boxForm: "xyxy", iouThreshold: 0, maxDetections: 1 };
    const manifest = readManifest(JSON.stringify({ ...DETECTOR, detection: given }));
    expect(manifest.detection).toEqual(given);
    expect(readManifest(JSON.stringify(manifest))).toEqual(manifest);
  });

  it("needs a detector's outputs described, and no other task's", () => {
    const { detection, ...rest } = DETECTOR;
    expect(complaints(rest)).toEqual(["detection: is required"]);
    expect(complaints({ ...rest, detection: null })).toEqual(["detection: must be object"]);
    expect(complaints({ ...PICTURE, detection })).toEqual([
      "detection: is for the task image-detection alone",
    ]);
    expect(complaints({ ...rest, detection: { boxes: "", boxForm: "cxcywh", iou: 1 } })).toEqual([
      "detection.boxForm: must be one of yxyx, xyxy",
      "detection.boxes: must NOT have fewer than 1 characters",
      "detection.iou: is not a known key",
      "detection.scores: is required",
    ]);
  });

  it.each([
    ["iouThreshold", 1, 1.001],
    ["iouThreshold", 0, -0.001],
    ["maxDetections", 1000, 1001],
    ["maxDetections", 1, 0],
    ["boxes", "b".repeat(500), "b".repeat(501)],
  ])("holds the limit of a detector's %s at its edge", (key, good, bad) => {
    const withKey = (value: unknown) => ({ ...DETECTOR, detection: { ...DETECTOR.detection, [key]: value } });
    expect(complaints(withKey(good))).toEqual([]);
    expect(complaints(withKey(bad))).toHaveLength(1);
  });

  it("fills in what a model of texts leaves out", () => {
    const manifest = readManifest(JSON.stringify(TEXT));
    const text = { tokenizer: "tokenizer.json", maxTokens: 128, pooling: "mean", normalize: true };
    expect(manifest).toMatchObject({ text, picture: null, labels: [], batchMax: 32 });
    expect(manifest.inputSchema).toBe(TASK_SCHEMAS["text-embedding"].input);
    const given = { tokenizer: "bert/vocab.json", maxTokens: 1, pooling: "first", normalize: false };
    expect(readManifest(JSON.stringify({ ...TEXT, text: given })).text).toEqual(given);
    expect(readManifest(JSON.stringify(manifest))).toEqual(manifest);
  });

  it("needs a model of texts described, and no other task's", () => {
    expect(complaints({ task: "text-embedding" })).toEqual(["text: is required"]);
    expect(complaints({ ...TEXT, text: null })).toEqual(["text: must be object"]);
    expect(complaints({ ...PICTURE, text: TEXT.text })).toEqual([
      "text: is for the task text-embedding alone",
    ]);
    expect(complaints({ ...TEXT, text: { pooling: "max", size: 1 } })).toEqual([
      "text.maxTokens: is required",
      "text.pooling: must be one of mean, first",
      "text.size: is not a known key",
    ]);
    for (const tokenizer of ["../tokenizer.json", "/etc/passwd", "", ".hidden"])
      expect(complaints({ ...TEXT, text: { maxTokens: 8, tokenizer } })).toEqual([
        "text.tokenizer: is not a plain file name",
      ]);
    expect(complaints({ ...TEXT, embedding: "pool", backbone: "auspex/mobilenet:1" })).toEqual([
      "backbone: is for models of pictures alone",
      "embedding: is for models of pictures alone",
      "embedding: is the backbone's own, and not to be named here",
    ]);
  });

  it("holds the limit of a text's tokens at its edge", () => {
    const withTokens = (maxTokens: number) => complaints({ ...TEXT, text: { maxTokens } });
    for (const good of [1, 8192]) expect(withTokens(good)).toEqual([]);
    for (const bad of [0, 8193, 1.5]) expect(withTokens(bad)).toHaveLength(1);
  });

  it.each(["", "{", "[]", "null", "7", '"task"'])("refuses %j, which is no JSON object", (text) => {
    expect(complaints(text)).toHaveLength(1);
    expect(complaints(text)[0]).toMatch(/^auspex\.json: /);
  });

  it("refuses a range that does not rise", () => {
    const withRange = (range: number[]) => ({ ...PICTURE, picture: { width: 8, height: 4, range } });
    expect(complaints(withRange([0, 0.001]))).toEqual([]);
    expect(complaints(withRange([1, 1]))).toEqual(["picture.range: must be [low, high] with low < high"]);
  });

  it.each([
    ["batchMax", 1024, 1025],
    ["batchDelayMs", 0, -1],
    ["batchDelayMs", 1000, 1001],
    ["picture", { width: 4096, height: 1 }, { width: 4097, height: 1 }],
    ["description", "d".repeat(1000), "d".repeat(1001)],
  ])("holds the limit of %s at its edge", (key, good, bad) => {
    expect(complaints({ ...PICTURE, [key]: good })).toEqual([]);
    expect(complaints({ ...PICTURE, [key]: bad })).toHaveLength(1);
  });

  it("takes a file of exactly the largest size, and none above", () => {
    const text = '{"task":"tensor"}';
    expect(complaints(text.padEnd(MANIFEST_BYTES_MAX))).toEqual([]);
    expect(complaints(text.padEnd(MANIFEST_BYTES_MAX + 1))).toEqual([
      `auspex.json: has ${MANIFEST_BYTES_MAX + 1} bytes; at most ${MANIFEST_BYTES_MAX} are allowed`,
    ]);
  });

  it("refuses a schema that is none", () => {
    expect(complaints({ task: "tensor", inputSchema: { type: "zebra" } })[0]).toMatch(
      /^inputSchema: is not a JSON Schema/,
    );
    expect(complaints({ task: "tensor", outputSchema: { $ref: "#/$defs/missing" } })[0]).toMatch(
      /^outputSchema: is not a JSON Schema/,
    );
  });

  it("compiles schemas with the same $id one after the other", () => {
    const manifest = { task: "tensor", inputSchema: { $id: "https://schemas.test/same", type: "object" } };
    expect(complaints(manifest)).toEqual([]);
    expect(complaints(manifest)).toEqual([]);
  });

  it("survives nesting of 100,000 levels", () => {
    const deep = `${'{"not":'.repeat(100_000)}{}${"}".repeat(100_000)}`;
    expect(complaints(`{"task":"tensor","inputSchema":${deep}}`)).toHaveLength(1);
  });

  it("changes no prototype", () => {
    expect(complaints('{"task":"tensor","__proto__":{"polluted":1}}')).toEqual([
      "__proto__: is not a known key",
    ]);
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });
});

describe("readManifestFile", () => {
  const hash = "0".repeat(64);

  it("hands out the checksums by file name", () => {
    const files = { "model.json": hash, "variables/variables.data-00000-of-00001": hash };
    const read = readManifestFile(JSON.stringify({ task: "tensor", files }));
    expect(Object.fromEntries(read.checksums)).toEqual(files);
    expect("files" in read.manifest).toBe(false);
  });

  it.each(["../x", "/etc/passwd", "a//b", ".hidden", "a\\b", "", "a/../b"])(
    "refuses the file name %j",
    (name) => {
      expect(complaints({ task: "tensor", files: { [name]: hash } })).toEqual([
        `files[${JSON.stringify(name)}]: is not a plain file name`,
      ]);
    },
  );

  it("refuses what is no SHA-256", () => {
    expect(complaints({ task: "tensor", files: { a: "ABC" } })).toEqual([
      "files.a: must be a SHA-256 of 64 lower-case hex digits",
    ]);
  });
});

describe("TASK_SCHEMAS", () => {
  it.each(TASKS)("are schemas that a manifest could give itself: %s", (task) => {
    const { input, output } = TASK_SCHEMAS[task];
    expect(complaints({ task: "tensor", inputSchema: input, outputSchema: output })).toEqual([]);
  });
});

it("refuses a schema whose check would answer a promise", () => {
  const schema = { $async: true, type: "object", required: ["a"] };
  expect(() => readManifest(JSON.stringify({ task: "tensor", inputSchema: schema }))).toThrow(
    /inputSchema: must not have \$async/,
  );
});

it("complains briefly about many wrong labels", () => {
  const text = JSON.stringify({ task: "tensor", labels: Array.from({ length: 200_000 }, () => 1) });
  expect(complaints(text)).toHaveLength(50);
});
