/**
 * Whether a call's headers are gRPC's (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md). grpc-js looks at
 * the content type's beginning alone, so that a DELETE would be served, and JSON or packed bytes be read as protobuf.
 */
import type { IncomingHttpHeaders } from "node:http2";
import { AuspexError } from "../domain/error.ts";

/** As grpc-js unpacks them. */
const ENCODINGS = ["identity", "gzip", "deflate"];
/** What begins otherwise it refuses itself. */
const ANY = /^application\/grpc/i;
const PROTOBUF = /^application\/grpc(?:\+proto)?(?:;|$)/i;

/** @returns why it is none that is served here; undefined for one that is */
export function formRefusal(headers: IncomingHttpHeaders): AuspexError | undefined {
  const { ":method": method, "content-type": type = "", "grpc-encoding": encoding } = headers;
  if (method !== "POST") return new AuspexError("unimplemented", "a gRPC call is a POST");
  if (ANY.test(type) && !PROTOBUF.test(type)) {
    return new AuspexError("unimplemented", "this port takes gRPC in protobuf alone: application/grpc+proto");
  }
  if (encoding !== undefined && !ENCODINGS.includes(String(encoding))) {
    return new AuspexError("unimplemented", `grpc-encoding may be ${ENCODINGS.join(", ")}`);
  }
  return undefined;
}

/** Whether its messages may be packed. */
export function mayBePacked({ "grpc-encoding": encoding }: IncomingHttpHeaders): boolean {
  return encoding !== undefined && encoding !== "identity";
}
