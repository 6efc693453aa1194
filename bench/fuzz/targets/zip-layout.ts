/** Names in a zip, one a line: `layOut`. */
import { LABELS_MAX, NAME_LENGTH_MAX } from "../../../src/domain/dataset.ts";
import { AuspexError } from "../../../src/domain/error.ts";
import { layOut } from "../../../src/services/zip-layout.ts";
import { holds, unlessRefused } from "../target.ts";

export const claim =
  "Names are refused, or each has a place, and its label and name are within their limits.";

const isRefusal = (error: unknown): boolean =>
  error instanceof AuspexError &&
  error.code === "invalid_argument" &&
  error.message.startsWith("Invalid zip: ");

export function fuzz(data: Buffer): void {
  const names = data.toString().split("\n");
  const places = unlessRefused(isRefusal, () => layOut(names));
  if (!places) return;
  holds(places.length === names.length, "every name has a place");
  const labels = new Set<string>();
  for (const place of places) {
    if (place.kind !== "example") continue;
    labels.add(place.label);
    holds(
      place.label !== "" && place.label === place.label.trim() && !place.label.includes(","),
      "a label is one",
    );
    holds(!place.label.includes("/") && !place.name.includes("/"), "neither is a path");
    holds(place.label.length <= NAME_LENGTH_MAX && place.name.length <= NAME_LENGTH_MAX, "both are short");
  }
  holds(labels.size > 0 && labels.size <= LABELS_MAX, "there are labels, and not too many");
}

export const seeds = (): readonly string[] => [
  "a/1.jpg\nb/2.jpg",
  "w/\nw/a/1.jpg\nw/b/2.jpg\n__MACOSX/w/a\n.DS_Store",
  "w/1.jpg\nw/a/b/c/1.jpg",
  "e\u0301/1.png\n\u00e9/2.png",
];

export const words = ["/", ".jpg", "__MACOSX", "thumbs.db", "\xcc\x81", ","];
