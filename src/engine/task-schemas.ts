/**
 * What goes in and comes out, by task, as JSON Schema 2020-12: the schemas of every version whose `auspex.json`
 * gives none of its own. They are shown to callers and hold `validate_input`.
 */
import type { Task } from "../domain/model.ts";
import type { JsonObject } from "../domain/payload.ts";
import { DTYPES } from "../domain/tensor.ts";

export interface TaskSchemas {
  readonly input: JsonObject;
  readonly output: JsonObject;
}

/** Classes that `image-classification` reports unless told otherwise. */
export const TOP_K_DEFAULT = 5;

/** Detections less probable than this are left out unless a caller asks for them. */
export const MIN_SCORE_DEFAULT = 0.5;

/** Texts of one prediction: as many as other servers of embeddings take at once, or fewer. */
export const TEXTS_MAX = 256;

/** Characters of a text: some 16 pages, many times what any model of them reads; more is a document, to be split. */
export const TEXT_CHARACTERS_MAX = 32_768;

const DIALECT = "https://json-schema.org/draft/2020-12/schema";

const IMAGE: JsonObject = {
  title: "Image",
  description:
    "The picture: a data URI, an http(s) URL, or the id of an uploaded image. JPEG, PNG, WebP or GIF.",
  type: "string",
  minLength: 1,
};

const LABELLED: JsonObject = {
  label: { title: "Label", description: "The class's name.", type: "string" },
  probability: { title: "Probability", type: "number", minimum: 0, maximum: 1 },
};

const PROBABILITIES: JsonObject = {
  title: "Probabilities",
  description: "Classes in descending order of probability.",
  type: "array",
  items: {
    type: "object",
    properties: LABELLED,
    required: ["label", "probability"],
    additionalProperties: false,
  },
};

function edge(title: string): JsonObject {
  return { title, type: "integer", minimum: 0 };
}

const DETECTIONS: JsonObject = {
  title: "Detections",
  description: "What was found and where, in descending order of probability.",
  type: "array",
  items: {
    type: "object",
    properties: {
      ...LABELLED,
      boundingBox: {
        title: "Bounding box",
        description:
          "In pixels of the picture, upright by its EXIF orientation; the origin is its top left corner.",
        type: "object",
        properties: {
          minX: edge("Left edge"),
          minY: edge("Upper edge"),
          maxX: edge("Right edge"),
          maxY: edge("Lower edge"),
        },
        required: ["minX", "minY", "maxX", "maxY"],
        additionalProperties: false,
      },
    },
    required: ["label", "probability", "boundingBox"],
    additionalProperties: false,
  },
};

const TENSOR: JsonObject = {
  title: "Tensor",
  type: "object",
  properties: {
    dtype: { title: "Element type", type: "string", enum: Object.keys(DTYPES) },
    shape: {
      title: "Shape",
      description: "Size of each dimension, outermost first; the first one counts rows.",
      type: "array",
      items: { type: "integer", minimum: 0 },
      maxItems: 8,
    },
    data: {
      title: "Data",
      description: "The elements in row-major order: as many as the product of the shape.",
      type: "array",
    },
  },
  required: ["dtype", "shape", "data"],
  additionalProperties: false,
};

const TEXT: JsonObject = {
  title: "Text",
  description: "What a longer text has beyond the tokens that the model takes is left out.",
  type: "string",
  minLength: 1,
  maxLength: TEXT_CHARACTERS_MAX,
};

function objectOf(title: string, properties: JsonObject, required: string[]): JsonObject {
  return { $schema: DIALECT, title, type: "object", properties, required, additionalProperties: false };
}

function namedTensors(title: string, description: string): JsonObject {
  return { title, description, type: "object", additionalProperties: TENSOR };
}

export const TASK_SCHEMAS = {
  "image-classification": {
    input: objectOf(
      "Image classification input",
      {
        image: IMAGE,
        top_k: {
          title: "Top k",
          description: "How many classes to report, the most probable first.",
          type: "integer",
          minimum: 1,
          default: TOP_K_DEFAULT,
        },
      },
      ["image"],
    ),
    output: objectOf("Image classification output", { probabilities: PROBABILITIES }, ["probabilities"]),
  },
  "image-multi-label": {
    input: objectOf("Image multi-label input", { image: IMAGE }, ["image"]),
    output: objectOf(
      "Image multi-label output",
      {
        probabilities: {
          ...PROBABILITIES,
          description: "Every class with its own, independent probability, in descending order.",
        },
      },
      ["probabilities"],
    ),
  },
  "image-detection": {
    input: objectOf(
      "Image detection input",
      {
        image: IMAGE,
        min_score: {
          title: "Least score",
          description: "Detections less probable than this are left out.",
          type: "number",
          minimum: 0,
          maximum: 1,
          default: MIN_SCORE_DEFAULT,
        },
      },
      ["image"],
    ),
    output: objectOf("Image detection output", { probabilities: DETECTIONS }, ["probabilities"]),
  },
  "text-embedding": {
    input: {
      ...objectOf(
        "Text embedding input",
        {
          text: TEXT,
          texts: {
            title: "Texts",
            description: "In place of one text.",
            type: "array",
            items: TEXT,
            minItems: 1,
            maxItems: TEXTS_MAX,
          },
        },
        [],
      ),
      oneOf: [{ required: ["text"] }, { required: ["texts"] }],
    },
    output: objectOf(
      "Text embedding output",
      {
        embeddings: {
          title: "Embeddings",
          description: "One vector for each text, in their order; all of one length, which the model has.",
          type: "array",
          items: { type: "array", items: { type: "number" } },
        },
      },
      ["embeddings"],
    ),
  },
  tensor: {
    input: objectOf(
      "Tensor input",
      { inputs: namedTensors("Inputs", "The model's input tensors by name.") },
      ["inputs"],
    ),
    output: objectOf(
      "Tensor output",
      { outputs: namedTensors("Outputs", "The model's output tensors by name.") },
      ["outputs"],
    ),
  },
} as const satisfies Record<Task, TaskSchemas>;
