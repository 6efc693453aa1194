/** AuspexError → gRPC status, with `google.rpc.Status` in the trailer `grpc-status-details-bin`. */
import { create, toBinary } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { Metadata, type StatusObject } from "@grpc/grpc-js";
import { StatusSchema } from "../../gen/google/rpc/status_pb.ts";
import { type AuspexError, ERROR_CODES } from "../domain/error.ts";
import { refusalDetails } from "./refusal.ts";

/**
 * A status travels in HTTP/2 trailers, and clients refuse more than 8 KiB of those (grpc-core's default) with an
 * error that says nothing. So a long complaint is cut: the message here, percent-encoded up to 9 bytes a character,
 * and the details, base64 on top, to as many violations as fit.
 */
const MESSAGE_CHARS_MAX = 400;
const DETAILS_BYTES_MAX = 3 * 1024;

export function grpcStatus(error: AuspexError): StatusObject {
  const code = ERROR_CODES[error.code].grpc;
  // A message cut inside a surrogate pair, or holding half of one from the start, cannot be percent-encoded.
  const details = shorten(error.message).toWellFormed();
  const metadata = new Metadata();
  const packed = pack(code, details, error);
  if (packed !== undefined) metadata.set("grpc-status-details-bin", packed);
  return { code, details, metadata };
}

function pack(code: number, message: string, error: AuspexError): Buffer | undefined {
  for (let keep = error.violations.length; ; keep = Math.floor(keep / 2)) {
    const details = refusalDetails({ ...error, violations: error.violations.slice(0, keep) });
    if (details.length === 0) return undefined;
    const status = create(StatusSchema, {
      code,
      message,
      details: details.map(({ desc, value }) => anyPack(desc, value)),
    });
    const bytes = toBinary(StatusSchema, status);
    if (bytes.length <= DETAILS_BYTES_MAX || keep === 0) {
      return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    }
  }
}

function shorten(message: string): string {
  return message.length <= MESSAGE_CHARS_MAX ? message : `${message.slice(0, MESSAGE_CHARS_MAX)}…`;
}
