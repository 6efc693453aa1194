/** Detection: what a picture shows and where, the most probable first. */
import type { DetectionSpec, Manifest, PictureSpec } from "../../domain/model.ts";
import type { JsonObject } from "../../domain/payload.ts";
import type { Signature } from "../signature.ts";
import { modelFault, toWire } from "../wire-error.ts";
import { activate } from "./activation.ts";
import { type Box, type Size, suppress, toPixels } from "./bounding-box.ts";
import { type ReadAnswers, rowsOf } from "./picture-answer.ts";

/**
 * Boxes of one label that are compared with each other, the most probable ones. Comparing takes time with their
 * square; a caller who asks for every score down to 0 would have all anchors compared for every label.
 */
const CANDIDATES_MAX = 1000;

/** What a model says of one picture. */
interface Found {
  /** Probabilities: for each anchor one of each label. */
  readonly scores: Float32Array;
  /** In pixels of the picture. */
  boxOf(anchor: number): Box;
}

interface Detection {
  readonly label: string;
  readonly probability: number;
  readonly box: Box;
}

/**
 * @param sizeOf the size of a picture that could be decoded, upright
 * @throws Error when the outputs are not those that `auspex.json` describes
 */
export function createDetectionAnswers(
  signature: Signature,
  manifest: Manifest,
  sizeOf: (image: Uint8Array) => Promise<Size>,
): ReadAnswers {
  const { labels, activation, detection, picture } = manifest;
  if (!detection || !picture) throw new Error("a detector needs its outputs described, and a picture size");
  const anchors = countAnchors(signature, detection, labels.length);
  return (outputs, rows) => {
    const boxRows = rowsOf(outputs, detection.boxes, rows, anchors * BOX_NUMBERS);
    const scoreRows = rowsOf(outputs, detection.scores, rows, anchors * labels.length);
    return boxRows.map((boxes, i) => async ({ image, topK, minScore }) => {
      const scores = activateEach(scoreRows[i] ?? new Float32Array(), labels.length, activation);
      if (!scores.every(Number.isFinite) || !boxes.every(Number.isFinite)) {
        return { ok: false, error: modelFault("it gave a box or a score that is not a number") };
      }
      try {
        const boxOf = placed(boxes, detection, picture, await sizeOf(image));
        const detections = labels
          .flatMap((label, index) =>
            label === ""
              ? []
              : detectionsOf(label, index, labels.length, { scores, boxOf }, minScore, detection),
          )
          .sort((a, b) => b.probability - a.probability);
        return { ok: true, value: { probabilities: detections.slice(0, topK).map(toJson) } };
      } catch (error) {
        return { ok: false, error: toWire(error) };
      }
    });
  };
}

/** Boxes by anchor, each made once though it may be asked for by every label. */
function placed(
  boxes: Float32Array,
  { boxForm }: DetectionSpec,
  picture: PictureSpec,
  original: Size,
): Found["boxOf"] {
  const made = new Map<number, Box>();
  return (anchor) => {
    const numbers = boxes.subarray(anchor * BOX_NUMBERS, (anchor + 1) * BOX_NUMBERS);
    const box = made.get(anchor) ?? toPixels(numbers, boxForm, picture, original);
    made.set(anchor, box);
    return box;
  };
}

const BOX_NUMBERS = 4;

/** The anchors of one picture. @throws Error when the two outputs do not have as many */
function countAnchors({ outputs }: Signature, { boxes, scores }: DetectionSpec, labels: number): number {
  const valuesOf = (name: string): { readonly shape: readonly number[]; readonly count: number } => {
    const spec = outputs.find((output) => output.name === name);
    if (!spec) {
      const names = outputs.map((output) => output.name).join(", ");
      throw new Error(`auspex.json names the output ${name}, and the model has ${names}`);
    }
    const shape = spec.shape.slice(1).map(Number);
    return { shape, count: shape.reduce((product, size) => product * size, 1) };
  };
  const box = valuesOf(boxes);
  const score = valuesOf(scores);
  const anchors = box.count / BOX_NUMBERS;
  if (box.shape.at(-1) !== BOX_NUMBERS || score.shape.at(-1) !== labels || score.count !== anchors * labels) {
    throw new Error(
      `boxes of [rows, anchors, ${BOX_NUMBERS}] and scores of [rows, anchors, ${labels}] are needed, for ${labels} ` +
        `labels; ${boxes} has [rows, ${box.shape.join(", ")}] and ${scores} has [rows, ${score.shape.join(", ")}]`,
    );
  }
  return anchors;
}

function activateEach(
  scores: Float32Array,
  labels: number,
  activation: Manifest["activation"],
): Float32Array {
  if (activation === "none") return scores;
  const probabilities = new Float32Array(scores.length);
  for (let at = 0; at < scores.length; at += labels) {
    probabilities.set(activate(scores.subarray(at, at + labels), activation), at);
  }
  return probabilities;
}

/** What is reported of one label. */
function detectionsOf(
  label: string,
  index: number,
  labels: number,
  { scores, boxOf }: Found,
  minScore: number,
  { iouThreshold, maxDetections }: DetectionSpec,
): Detection[] {
  const scoreOf = (anchor: number): number => scores[anchor * labels + index] ?? 0;
  const candidates: number[] = [];
  for (let anchor = 0; anchor * labels < scores.length; anchor++) {
    if (scoreOf(anchor) >= minScore) candidates.push(anchor);
  }
  const best = candidates
    .sort((a, b) => scoreOf(b) - scoreOf(a) || a - b)
    .slice(0, CANDIDATES_MAX)
    .filter((anchor) => isVisible(boxOf(anchor)));
  return suppress(best.map(boxOf), iouThreshold, maxDetections).flatMap((at) => {
    const anchor = best[at];
    return anchor === undefined ? [] : [{ label, probability: scoreOf(anchor), box: boxOf(anchor) }];
  });
}

/** Whether a pixel of the picture is left when the edges are rounded. */
function isVisible(box: Box): boolean {
  const { minX, minY, maxX, maxY } = rounded(box);
  return maxX > minX && maxY > minY;
}

function rounded({ minX, minY, maxX, maxY }: Box): Box {
  return {
    minX: Math.round(minX),
    minY: Math.round(minY),
    maxX: Math.round(maxX),
    maxY: Math.round(maxY),
  };
}

function toJson({ label, probability, box }: Detection): JsonObject {
  return { label, probability, boundingBox: { ...rounded(box) } };
}
