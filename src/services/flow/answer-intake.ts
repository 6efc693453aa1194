/** Questions on their way in: held to what the flow takes, and their uploads stored. */
import { createHash } from "node:crypto";
import type { Chatflow } from "../../domain/chatflow.ts";
import { AuspexError, type FieldViolation, invalidArgument } from "../../domain/error.ts";
import type { ImageId } from "../../domain/id.ts";
import type { Image } from "../../domain/image.ts";
import type { JsonObject } from "../../domain/payload.ts";
import type { Prediction } from "../../domain/prediction.ts";
import type { ChatFileRow, ChatStore } from "../../store/chatflow-store.ts";
import type { BlobStore } from "../../store/store.ts";
import type { Complain } from "../check.ts";
import type { Egress } from "../egress.ts";
import {
  type Asked,
  type AskedUpload,
  checkAsked,
  checkForFlow,
  type FieldPath,
  inputOf,
  placed,
} from "./asked.ts";

export interface AnswerIntakeOptions {
  readonly blobs: BlobStore;
  readonly chats: Pick<ChatStore, "putFiles">;
  readonly egress: Egress;
  readonly mintId: () => string;
}

export interface AnswerIntake {
  /** With its chat and session named. Throws `invalid_argument` with every complaint, also those of `read`. */
  accept(flow: Chatflow, path: FieldPath, read: (complain: Complain) => Asked): Asked;
  /**
   * Puts the bytes that came with it where they stay: with the chat, and as images of the prediction, whose rows are
   * to be written with it. Rejects with `resource_exhausted` when the chat has no room for them.
   */
  store(
    prediction: Prediction,
    flow: Chatflow,
    asked: Asked,
  ): Promise<{ readonly input: JsonObject; readonly images: readonly Image[] }>;
}

interface StoredUpload {
  readonly upload: AskedUpload;
  readonly image?: Image;
  readonly file?: ChatFileRow;
}

export function createAnswerIntake({ blobs, chats, egress, mintId }: AnswerIntakeOptions): AnswerIntake {
  async function storeUpload(
    { id, principal, createdAt }: Prediction,
    flow: Chatflow,
    { chatId }: Asked,
    upload: AskedUpload,
  ): Promise<StoredUpload> {
    const { name, mediaType, source } = upload;
    if (source.kind !== "bytes") return { upload };
    const sizeBytes = source.bytes.length;
    const blob = await blobs.put(source.bytes);
    const imageId = mintId() as ImageId;
    const state = { kind: "ready", blob, mediaType: "", width: 0, height: 0, sizeBytes } as const;
    return {
      upload: { ...upload, source: { kind: "image", id: imageId } },
      image: { id: imageId, principal, state, sourceUrl: "", predictionId: id, createdAt },
      file: { chatflowId: flow.id, chatId, name, mediaType, blob, sizeBytes, createdAt },
    };
  }

  return {
    accept(flow, path, read) {
      const violations: FieldViolation[] = [];
      const complain: Complain = (field, reason, description) =>
        violations.push({ field, reason, description });
      const asked = read(complain);
      checkAsked(asked, path, complain);
      checkForFlow(asked, flow.definition, path, complain);
      for (const [index, { source }] of asked.uploads.entries()) {
        if (source.kind !== "url") continue;
        try {
          egress.check(source.url);
        } catch (error) {
          complain(`${path("uploads")}[${index}].url`, "not_allowed", AuspexError.from(error).message);
        }
      }
      const [first, ...rest] = violations;
      if (first) throw invalidArgument(first, ...rest);
      return placed(asked, mintId);
    },

    async store(prediction, flow, asked) {
      const stored: StoredUpload[] = [];
      for (const upload of asked.uploads) stored.push(await storeUpload(prediction, flow, asked, upload));
      const files = stored.flatMap(({ file }) => (file ? [file] : []));
      if (files.length > 0 && !(await chats.putFiles(files)))
        throw new AuspexError("resource_exhausted", `chat ${asked.chatId} has no room for more files`);
      return {
        input: inputOf({ ...asked, uploads: stored.map(({ upload }) => upload) }),
        images: stored.flatMap(({ image }) => (image ? [image] : [])),
      };
    },
  };
}

/** Same question, same hash: SHA-256, lower-case hex. As it was asked, before it has a chat. */
export function askedHash(chatflowId: string, deadlineMs: number, asked: Asked): string {
  const hash = createHash("sha256");
  // Keys of the overrides in order: two spellings of one object are one question.
  const overrides = Object.entries(asked.overrideConfig).sort(([a], [b]) => (a < b ? -1 : 1));
  const input = inputOf({ ...asked, overrideConfig: {} });
  hash.update(JSON.stringify([chatflowId, deadlineMs, input, overrides]));
  for (const { source } of asked.uploads) {
    if (source.kind === "bytes") hash.update(`\0${source.bytes.length}\0`).update(source.bytes);
  }
  return hash.digest("hex");
}
