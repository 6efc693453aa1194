/** What main and a reader process say to each other: one call at a time, one answer to each. */
import type { SplitOptions } from "../splitter.ts";
import type { DocumentType } from "./media-type.ts";
import type { DocumentPart, PartLimits } from "./parts.ts";

export interface ReadCall {
  readonly type: DocumentType;
  readonly bytes: Uint8Array;
  readonly limits: PartLimits;
  /** null for whole parts. */
  readonly passages: SplitOptions | null;
}

export type ReadAnswer =
  | { readonly kind: "parts"; readonly parts: readonly DocumentPart[] }
  /** `invalid_argument` */
  | { readonly kind: "refusal"; readonly message: string };

export interface ReaderSettings {
  /** Resident bytes past which the process ends itself. */
  readonly memoryBytes: number;
}
