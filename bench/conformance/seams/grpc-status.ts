/** As connect-error.ts, and the trailers that the call has set. */
import { create, toBinary } from "@bufbuild/protobuf";
import { type Any, AnySchema, anyPack } from "@bufbuild/protobuf/wkt";
import { ConnectError } from "@connectrpc/connect";
import { Metadata, type StatusObject } from "@grpc/grpc-js";
import { StatusSchema } from "../../../gen/google/rpc/status_pb.ts";
import type { AuspexError } from "../../../src/domain/error.ts";
import { grpcStatus as ours } from "../../../src/transports/grpc-status.ts";
import { trailersOf } from "./grpc-call.ts";

export function grpcStatus(error: AuspexError): StatusObject {
  const { cause } = error;
  const status = cause instanceof ConnectError ? statusOf(cause) : ours(error);
  status.metadata.merge(trailersOf());
  return status;
}

function statusOf(error: ConnectError): StatusObject {
  const { code, rawMessage: message } = error;
  const metadata = new Metadata();
  const status = create(StatusSchema, { code, message, details: packed(error) });
  metadata.set("grpc-status-details-bin", Buffer.from(toBinary(StatusSchema, status)));
  // The same numbers by other names.
  return { code: code as number, details: message, metadata };
}

function packed({ details }: ConnectError): Any[] {
  return details.map((detail) =>
    "desc" in detail
      ? anyPack(detail.desc, create(detail.desc, detail.value))
      : create(AnySchema, { typeUrl: `type.googleapis.com/${detail.type}`, value: detail.value }),
  );
}
