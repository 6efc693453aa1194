/** Media types and the extensions of their files. */
import { Refused } from "./errors.ts";

/** The extensions of a type, the usual one first. Types that are not here are not compared with the name. */
const EXTENSIONS: Readonly<Record<string, readonly string[]>> = {
  "image/png": ["png"],
  "image/jpeg": ["jpg", "jpeg"],
  "image/jpg": ["jpg", "jpeg"],
  "image/gif": ["gif"],
  "image/webp": ["webp"],
  "image/tiff": ["tif", "tiff"],
  "text/plain": ["txt", "text", "log"],
  "text/markdown": ["md", "markdown", "mdx"],
  "text/html": ["html", "htm", "xhtml"],
  "text/csv": ["csv"],
  "application/json": ["json"],
  "application/pdf": ["pdf"],
};

/** The usual one of the type. */
export function extensionOf(mediaType: string): string | undefined {
  return EXTENSIONS[mediaType]?.[0];
}

const KNOWN: ReadonlySet<string> = new Set(Object.values(EXTENSIONS).flat());

export function hasKnownExtension(name: string): boolean {
  return KNOWN.has(extensionIn(name) ?? "");
}

function extensionIn(name: string): string | undefined {
  return /\.([^.]+)$/.exec(name)?.[1]?.toLowerCase();
}

/** The name is another's word for the type: where the two differ, one of them is made up. Throws `Refused` 400. */
export function checkExtension(name: string, mediaType: string): void {
  const expected = EXTENSIONS[mediaType];
  if (expected === undefined || name === "") return;
  const extension = extensionIn(name);
  if (extension === undefined) {
    throw new Refused(
      400,
      `File extension is required to check the MIME type: ${JSON.stringify(name.slice(0, 255))} has none`,
    );
  }
  if (expected.includes(extension)) return;
  throw new Refused(
    400,
    `MIME type mismatch: file extension "${extension}" does not match declared MIME type "${mediaType}". ` +
      `Expected: ${expected[0]}`,
  );
}
