/** PDF: a part for each page. */
import { getDocumentProxy } from "unpdf";
import { AuspexError } from "../../../domain/error.ts";
import type { Parts } from "./parts.ts";

export async function readPdf(bytes: Uint8Array, parts: Parts): Promise<void> {
  // A copy, for it takes no Buffer, which is what comes from another process.
  const pdf = await getDocumentProxy(new Uint8Array(bytes), {
    // Nothing is looked for on this machine.
    useSystemFonts: false,
    disableFontFace: true,
    verbosity: 0,
  }).catch((error: unknown) => {
    const isLocked = error instanceof Error && error.name === "PasswordException";
    throw isLocked ? new AuspexError("invalid_argument", "it is a PDF with a password") : error;
  });
  for (let number = 1; number <= pdf.numPages; number++) {
    const page = await pdf.getPage(number);
    const { items } = await page.getTextContent();
    const text = items.map((item) => ("str" in item ? item.str + (item.hasEOL ? "\n" : "") : "")).join("");
    parts.add(text, { page: number });
    page.cleanup();
  }
}
