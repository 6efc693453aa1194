/**
 * What an upsert brings (spec/studio.md §2.6). In the original, documents come from a flow's document loaders, which
 * a request overrides; here they come with the request: as files, or under the names that those loaders' parameters
 * have.
 */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { DocumentSchema, UpsertDocumentsRequestSchema } from "../../../../gen/auspex/v1/chatflow_pb.ts";
import type { Config } from "../../../config.ts";
import type { JsonObject, JsonValue } from "../../../domain/payload.ts";
import { type Fields, type FormFile, isObject, ofText, parseDataUri, withoutPath } from "./body.ts";
import { Refused } from "./errors.ts";
import { hasKnownExtension } from "./media-type.ts";
import { readOverrides } from "./question.ts";

type Document = MessageInitShape<typeof DocumentSchema>;
type Upsert = Pick<
  MessageInitShape<typeof UpsertDocumentsRequestSchema>,
  "replace" | "chunkSize" | "chunkOverlap"
> & { readonly documents: Document[] };

/** Parameters of document loaders that hold a file, or several as a JSON list, as data URIs. */
const LOADER_FILES: readonly string[] = ["txtFile", "mdFile", "htmlFile", "csvFile", "jsonFile", "pdfFile"];

/** Throws `Refused` 400. */
export function readUpsert({ values, files }: Fields, config: Config): Upsert {
  const overrides = readOverrides(values, config);
  const metadata = ofText("metadata", overrides.metadata, config);
  if (metadata !== undefined && metadata !== null && metadata !== "" && !isObject(metadata)) {
    throw new Refused(400, "metadata: must be an object");
  }
  const documents = [
    ...files.map(({ name, mediaType, bytes }: FormFile): Document => ({ name, mediaType, content: bytes })),
    ...loaderFiles(overrides, config),
    ...uploads(ofText("uploads", values.get("uploads"), config)),
    ...plainText(overrides),
  ].map((document): Document => (isObject(metadata) ? { ...document, metadata } : document));
  if (documents.length === 0) {
    throw new Refused(
      400,
      "There is no document: send files as form fields named files, or overrideConfig.text",
    );
  }
  const chunkSize = wholeNumber(overrides, "chunkSize");
  const chunkOverlap = wholeNumber(overrides, "chunkOverlap");
  return {
    documents,
    replace: isReplaced(overrides.cleanup),
    ...(chunkSize !== undefined && { chunkSize }),
    ...(chunkOverlap !== undefined && { chunkOverlap }),
  };
}

/** A record manager's word: whether a document's earlier passages go when it comes anew. */
function isReplaced(cleanup: JsonValue | undefined): boolean {
  if (cleanup === undefined || cleanup === null || cleanup === "" || cleanup === "none") return false;
  if (cleanup === "incremental") return true;
  throw new Refused(400, "cleanup: must be incremental or none");
}

function plainText({ text, fileName }: JsonObject): readonly Document[] {
  if (text === undefined || text === null || text === "") return [];
  if (typeof text !== "string") throw new Refused(400, "text: must be a string");
  const name = typeof fileName === "string" ? withoutPath(fileName) : "";
  return [{ name: name || "text", mediaType: "text/plain", content: Buffer.from(text) }];
}

function loaderFiles(overrides: JsonObject, config: Config): readonly Document[] {
  return LOADER_FILES.flatMap((parameter) => {
    const given = ofText(parameter, overrides[parameter], config);
    if (given === undefined || given === null || given === "") return [];
    return (Array.isArray(given) ? given : [given]).map((file, index) => loaderFile(parameter, file, index));
  });
}

/** `data:<mime>;base64,<data>`, behind which `,filename:<name>` may stand. */
function loaderFile(parameter: string, file: JsonValue, index: number): Document {
  const [, uri, fileName] =
    typeof file === "string" ? (/^([^,]*,[^,]*)(?:,filename:(.*))?$/s.exec(file) ?? []) : [];
  const data = parseDataUri(uri ?? "");
  if (data === undefined || data === "invalid") {
    throw new Refused(400, `${parameter}: must be data:<mime>;base64,<data>`);
  }
  const extension = parameter.slice(0, -"File".length);
  const name = withoutPath(fileName ?? "") || `file-${index + 1}.${extension}`;
  return { name, mediaType: typeOf(name, data.mediaType), content: data.bytes };
}

/** As with a question: `[{name, data, mime}]`. */
function uploads(given: JsonValue | undefined): readonly Document[] {
  if (!Array.isArray(given)) return [];
  return given.map((upload, index) => {
    const { name, data } = isObject(upload) ? upload : {};
    const file = typeof data === "string" ? parseDataUri(data) : undefined;
    if (typeof name !== "string" || file === undefined || file === "invalid") {
      throw new Refused(400, `uploads[${index}]: must be {name, data: "data:<mime>;base64,<data>"}`);
    }
    return { name: withoutPath(name), mediaType: typeOf(name, file.mediaType), content: file.bytes };
  });
}

/** The name knows better where its extension is known: browsers have a type for few kinds of documents. */
function typeOf(name: string, declared: string): string {
  return hasKnownExtension(name) ? "" : declared;
}

/** A form sends numbers as texts. */
function wholeNumber(overrides: JsonObject, name: string): number | undefined {
  const value = overrides[name];
  if (value === undefined || value === null || value === "") return undefined;
  const number = Number(value);
  if (!Number.isInteger(number) || number < 0 || number > 2 ** 31) {
    throw new Refused(400, `${name}: must be a whole number from 0 up`);
  }
  return number;
}
