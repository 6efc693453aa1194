/** What the names in a zip say: a folder is a label, and what lies in it are its examples. */
import { LABELS_MAX, NAME_LENGTH_MAX } from "../domain/dataset.ts";
import { AuspexError } from "../domain/error.ts";

export type Place =
  | { readonly kind: "example"; readonly label: string; readonly name: string }
  /** A file that lies elsewhere. */
  | { readonly kind: "misplaced"; readonly reason: string }
  /** A folder, or what an operating system leaves in one. */
  | { readonly kind: "passed_over" };

const PASSED_OVER: Place = { kind: "passed_over" };
/** What would be taken for a picture when the layout is looked at; what is in it is looked at later. */
const PICTURE_NAME = /\.(?:jpe?g|png|webp|gif)$/i;
/** Resource forks of macOS, and thumbnails and view settings of Windows. */
const LEFT_BEHIND = /^(?:__MACOSX|thumbs\.db|desktop\.ini)$/i;

export function invalidZip(reason: string, cause?: unknown): AuspexError {
  return new AuspexError("invalid_argument", `Invalid zip: ${reason}`, { cause });
}

/**
 * The place of each name, in their order. All may lie in one wrapping folder, which is no label.
 *
 * @param names relative, with forward slashes; a folder's own name ends with one
 * @throws AuspexError `invalid_argument` when they are no labelled pictures
 */
export function layOut(names: readonly string[]): readonly Place[] {
  const paths = names.map(partsOf);
  const depth = isWrapped(paths) ? 1 : 0;
  const places = paths.map((parts) => placeOf(parts, depth));
  checkLabels(new Set(places.flatMap((place) => (place.kind === "example" ? [place.label] : []))));
  return places;
}

/** Undefined for what is passed over. */
function partsOf(name: string): readonly string[] | undefined {
  const parts = name.split("/");
  const isFolder = parts.at(-1) === "";
  return isFolder || parts.some((part) => part.startsWith(".") || LEFT_BEHIND.test(part)) ? undefined : parts;
}

/** Whether everything lies in one folder, which has folders in it but no pictures of its own. */
function isWrapped(paths: readonly (readonly string[] | undefined)[]): boolean {
  const files = paths.filter((parts) => parts !== undefined);
  const wrapper = files[0]?.[0];
  return (
    files.every(([first, second, third]) => {
      const ownPicture = third === undefined && PICTURE_NAME.test(second ?? "");
      return first === wrapper && second !== undefined && !ownPicture;
    }) && files.some((parts) => parts.length > 2)
  );
}

function placeOf(parts: readonly string[] | undefined, depth: number): Place {
  if (!parts) return PASSED_OVER;
  const [label, name, ...deeper] = parts.slice(depth);
  if (label === undefined || name === undefined) {
    return { kind: "misplaced", reason: "is not in the folder of a label" };
  }
  if (deeper.length > 0) return { kind: "misplaced", reason: "lies deeper than in the folder of a label" };
  // One spelling of an accent on every system that zips are made on.
  return { kind: "example", label: label.normalize("NFC").trim(), name: cut(name.normalize("NFC")) };
}

/** A longer file name is no reason to leave a picture out. */
function cut(name: string): string {
  return name.length > NAME_LENGTH_MAX ? name.slice(0, NAME_LENGTH_MAX) : name;
}

function checkLabels(labels: ReadonlySet<string>): void {
  if (labels.size === 0) throw invalidZip("it has no folder with files in it, whose name would be a label");
  if (labels.size > LABELS_MAX) {
    throw invalidZip(`it has ${labels.size} folders of labels; at most ${LABELS_MAX} are allowed`);
  }
  for (const label of labels) {
    if (label === "") throw invalidZip("the folder of a label has a blank name");
    if (label.length > NAME_LENGTH_MAX) {
      const beginning = `${label.slice(0, 40)}…`;
      throw invalidZip(
        `the label ${JSON.stringify(beginning)} has ${label.length} characters; at most ${NAME_LENGTH_MAX} are allowed`,
      );
    }
    if (label.includes(",")) throw invalidZip(`the label ${JSON.stringify(label)} has a comma`);
  }
}
