/** What is uploaded with a question (spec/studio.md §2.2): pictures, documents, addresses. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { ChatUpload_Kind, type ChatUploadSchema } from "../../../../gen/auspex/v1/chatflow_pb.ts";
import type { JsonObject, JsonValue } from "../../../domain/payload.ts";
import { defaultName, type FormFile, isObject, parseDataUri, withoutPath } from "./body.ts";
import { Refused } from "./errors.ts";
import { checkExtension } from "./media-type.ts";

type Upload = MessageInitShape<typeof ChatUploadSchema>;

/** Throws `Refused` 400. */
export function readUploads(value: JsonValue | undefined): readonly Upload[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw new Refused(400, "uploads: must be a list of {type, name, data, mime}");
  return value.flatMap((upload, index) => {
    if (!isObject(upload)) throw complaint(index, "", "must be {type, name, data, mime}");
    return readUpload(upload, index) ?? [];
  });
}

/** A form's files, whose kind nobody says. */
export function uploadOfFile({ name, mediaType, bytes }: FormFile): Upload {
  return { kind: kindOf(mediaType), name, mediaType, source: { case: "content", value: bytes } };
}

function readUpload(upload: JsonObject, index: number): Upload | undefined {
  const [type, given, mime] = ["type", "data", "mime"].map((field) => textField(upload, index, field));
  const name = withoutPath(textField(upload, index, "name") ?? "");
  if (type === "audio" || mime?.startsWith("audio/") || given?.startsWith("data:audio/")) {
    throw complaint(index, "", "audio is not supported: this server has no speech to text");
  }
  switch (type) {
    case "url":
      return urlUpload(index, given ?? "", name, mime);
    case "file":
      return dataUpload(index, given ?? "", name);
    case "file:rag":
      // What was upserted before is only named here.
      return given ? { ...dataUpload(index, given, name), kind: ChatUpload_Kind.RAG } : undefined;
    case "file:full":
      return given ? fullUpload(index, given, name) : undefined;
    default:
      throw complaint(index, "type", "must be file, url, audio, file:rag or file:full");
  }
}

function urlUpload(index: number, url: string, name: string, mime: string | undefined): Upload {
  if (parseDataUri(url)) return dataUpload(index, url, name);
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    throw complaint(index, "data", "must be an http or https URL");
  }
  const mediaType = mime?.toLowerCase() || "image/png";
  const ownName = name || withoutPath(new URL(url).pathname) || defaultName(index);
  return { kind: kindOf(mediaType), name: ownName, mediaType, source: { case: "url", value: url } };
}

function dataUpload(index: number, given: string, name: string): Upload {
  const data = parseDataUri(given);
  if (data === undefined || data === "invalid") {
    throw complaint(index, "data", "must be data:<mime>;base64,<data>");
  }
  const { mediaType, bytes } = data;
  checkExtension(name, mediaType);
  return {
    kind: kindOf(mediaType),
    name: name || defaultName(index),
    mediaType: knownType(mediaType),
    source: { case: "content", value: bytes },
  };
}

/** A window that has had the document read by `/attachments` sends its text as it is. */
function fullUpload(index: number, given: string, name: string): Upload {
  const data = parseDataUri(given);
  if (data === "invalid") throw complaint(index, "data", "must be text or data:<mime>;base64,<data>");
  const { mediaType, bytes } = data ?? { mediaType: "text/plain", bytes: Buffer.from(given) };
  return {
    kind: ChatUpload_Kind.FULL,
    name: name || defaultName(index),
    mediaType: knownType(mediaType),
    source: { case: "content", value: bytes },
  };
}

function kindOf(mediaType: string): ChatUpload_Kind {
  return mediaType.startsWith("image/") ? ChatUpload_Kind.PICTURE : ChatUpload_Kind.UNSPECIFIED;
}

/** What nobody knows goes by the name's extension. */
function knownType(mediaType: string): string {
  return mediaType === "application/octet-stream" ? "" : mediaType;
}

function textField(upload: JsonObject, index: number, field: string): string | undefined {
  const value = upload[field];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "string") throw complaint(index, field, "must be a string");
  return value;
}

function complaint(index: number, field: string, description: string): Refused {
  return new Refused(400, `uploads[${index}]${field && `.${field}`}: ${description}`);
}
