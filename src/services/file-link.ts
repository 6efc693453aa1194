/**
 * Links to pictures of examples, for dialects whose answers name a place instead of holding the bytes. A link is good
 * for a while for whoever has it; nothing is stored for it.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import {
  type DatasetService,
  GetExampleRequestSchema,
  GetExampleResponseSchema,
} from "../../gen/auspex/v1/dataset_pb.ts";
import { AuspexError } from "../domain/error.ts";
import type { Principal } from "../domain/principal.ts";
import type { Operations } from "./call.ts";

/** What the documentation of Einstein Vision promises for an example's location. */
export const LINK_SECONDS = 30 * 60;
/** Keeps these signatures apart from whatever else the secret signs. */
const PURPOSE = "auspex file link";

/** A link's parts, as they stand in it. */
export interface FileLink {
  /** `<principal>.<example id>` */
  readonly id: string;
  /** Seconds since the epoch. */
  readonly exp: string;
  readonly sig: string;
}

export interface LinkedFile {
  readonly mediaType: string;
  readonly bytes: Uint8Array;
  /** For how long the link is still good. */
  readonly seconds: number;
}

export interface FileLinks {
  /** Path and query: `/files/{id}?exp&sig`. */
  link(principal: Principal, exampleId: bigint): string;
  /** Rejects with `not_found` alike for a link that is not ours, is too old, or whose example is gone. */
  open(link: FileLink, signal: AbortSignal): Promise<LinkedFile>;
}

export interface FileLinkOptions {
  readonly secret: string | Uint8Array;
  readonly datasets: Pick<Operations<typeof DatasetService>, "getExample">;
  /** Microseconds since the epoch. */
  readonly now: () => number;
}

export function createFileLinks({ secret, datasets, now }: FileLinkOptions): FileLinks {
  const sign = (id: string, exp: string): Buffer =>
    createHmac("sha256", secret).update(`${PURPOSE}\0${id}\0${exp}`).digest();
  const seconds = () => Math.floor(now() / 1e6);

  return {
    link({ name }, exampleId) {
      const id = `${name}.${exampleId}`;
      const exp = String(seconds() + LINK_SECONDS);
      return `/files/${id}?exp=${exp}&sig=${sign(id, exp).toString("base64url")}`;
    },

    async open({ id, exp, sig }, signal) {
      const [expected, given] = [sign(id, exp), Buffer.from(sig, "base64url")];
      const isOurs = given.length === expected.length && timingSafeEqual(given, expected);
      const left = Number(exp) - seconds();
      const [, name, exampleId] = /^(.+)\.([0-9]+)$/.exec(id) ?? [];
      if (!isOurs || !(left > 0) || name === undefined || exampleId === undefined) {
        throw new AuspexError("not_found", "there is no such file");
      }
      const request = create(GetExampleRequestSchema, { id: BigInt(exampleId), includeData: true });
      const call = { principal: { name, open: false }, signal, deadlineAt: undefined };
      const answer = create(GetExampleResponseSchema, await datasets.getExample(request, call));
      return { mediaType: answer.example?.mediaType ?? "", bytes: answer.data, seconds: left };
    },
  };
}
