/** Stored pictures. An image id belongs to a principal and points at a blob; the blob's hash is never given out. */
import type { ImageId } from "./id.ts";

export type ImageState =
  | { readonly kind: "importing" }
  | {
      readonly kind: "ready";
      /** SHA-256 of the bytes, lower-case hex: the blob's name. */
      readonly blob: string;
      /** "" when the bytes were never looked at, as for a prediction's own picture. */
      readonly mediaType: string;
      readonly width: number;
      readonly height: number;
      readonly sizeBytes: number;
    }
  | { readonly kind: "failed"; readonly reason: string };

export interface Image {
  readonly id: ImageId;
  readonly principal: string;
  readonly state: ImageState;
  /** "" for an upload. */
  readonly sourceUrl: string;
  /** The prediction that it arrived with and is deleted with; null when it was uploaded on its own. */
  readonly predictionId: string | null;
  readonly createdAt: number;
}
