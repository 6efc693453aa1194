/** Pictures as texts: data URIs, URLs, ids: `parsePictureReference`. */
import { parsePictureReference } from "../../../src/services/picture-source.ts";
import { holds } from "../target.ts";

export const claim =
  "Every text is a reference of one kind or invalid with a reason; a data URI's bytes are within the limit and are those that it spells.";

const BYTES_MAX = 256;

export function fuzz(data: Buffer): void {
  const text = data.toString();
  const reference = parsePictureReference(text, BYTES_MAX);
  switch (reference.kind) {
    case "bytes": {
      const { bytes } = reference;
      holds(bytes.length > 0 && bytes.length <= BYTES_MAX, "a picture has from 1 to so many bytes");
      const spelled = text.slice(text.indexOf(",") + 1);
      if (/;\s*base64\s*$/i.test(text.slice(0, text.indexOf(","))) && !spelled.includes("%")) {
        const padding = /=*$/.exec(spelled)?.[0].length ?? 0;
        holds(bytes.length === (spelled.length / 4) * 3 - padding, "base64 is as long as its bytes");
      }
      return;
    }
    case "url":
      holds(/^https?:/i.test(reference.url) && reference.url === text, "a URL is passed on as it is");
      return;
    case "image":
      holds(/^[0-9a-f-]{36}$/.test(reference.id), "an id is a UUID in lower case");
      return;
    case "invalid":
      holds(reference.reason !== "", "what is invalid has a reason");
  }
}

export const seeds = (): readonly string[] => [
  "data:image/png;base64,iVBORw0KGgo=",
  "data:image/jpeg;charset=x;base64,%2F9j%2F",
  "data:,%00%ff",
  "DATA:;BASE64,QQ==",
  "https://example.com/a.jpg",
  "0192f0c1-2345-7abc-8def-0123456789ab",
];

export const words = ["data:", ";base64", ",", "%3D", "==", "http://", "image/png"];
