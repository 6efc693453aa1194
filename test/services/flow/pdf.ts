/** Real PDFs, written by hand: each page shows lines of text in a font that every reader has. */
import { deflateSync } from "node:zlib";

export interface PdfOptions {
  /** Replaces a page's content stream by these bytes, which are already deflated. */
  readonly deflated?: Buffer;
}

/** @param pages lines of each, without parentheses and backslashes */
export function makePdf(pages: readonly (readonly string[])[], { deflated }: PdfOptions = {}): Buffer {
  const objects: Buffer[] = [];
  const add = (text: string, stream?: Buffer): number =>
    objects.push(
      stream
        ? Buffer.concat([Buffer.from(`${text}\nstream\n`), stream, Buffer.from("\nendstream")])
        : Buffer.from(text),
    );
  add("<</Type/Catalog/Pages 2 0 R>>");
  add("");
  add("<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>");
  const kids = pages.map((lines) => {
    const shown = `BT /F1 12 Tf 72 720 Td 14 TL ${lines.map((line) => `(${line}) Tj T*`).join(" ")} ET`;
    const bytes = deflated ?? deflateSync(shown);
    const content = add(`<</Length ${bytes.length}/Filter/FlateDecode>>`, bytes);
    const fonts = "/Resources<</Font<</F1 3 0 R>>>>";
    return add(`<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents ${content} 0 R${fonts}>>`);
  });
  objects[1] = Buffer.from(
    `<</Type/Pages/Count ${kids.length}/Kids[${kids.map((kid) => `${kid} 0 R`).join(" ")}]>>`,
  );
  return written(objects);
}

function written(objects: readonly Buffer[]): Buffer {
  const parts: Buffer[] = [Buffer.from("%PDF-1.4\n")];
  const offsets: number[] = [];
  let length = parts[0]?.length ?? 0;
  const push = (part: Buffer) => {
    parts.push(part);
    length += part.length;
  };
  for (const [index, object] of objects.entries()) {
    offsets.push(length);
    push(Buffer.concat([Buffer.from(`${index + 1} 0 obj\n`), object, Buffer.from("\nendobj\n")]));
  }
  const start = length;
  const rows = offsets.map((offset) => `${String(offset).padStart(10, "0")} 00000 n \n`).join("");
  push(Buffer.from(`xref\n0 ${objects.length + 1}\n0000000000 65535 f \n${rows}`));
  push(Buffer.from(`trailer<</Size ${objects.length + 1}/Root 1 0 R>>\nstartxref\n${start}\n%%EOF`));
  return Buffer.concat(parts);
}
