/** As connect-error.ts, and the trailers that the call has set. */
import { create, toBinary } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import { Metadata, type StatusObject } from "@grpc/grpc-js";
import { StatusSchema } from "../../../gen/google/rpc/status_pb.ts";
import type { AuspexError } from "../../../src/domain/error.ts";
import { grpcStatus as ours } from "../../../src/transports/grpc-status.ts";
import { packedDetails } from "../service.ts";
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
  const status = create(StatusSchema, { code, message, details: packedDetails(error) });
  metadata.set("grpc-status-details-bin", Buffer.from(toBinary(StatusSchema, status)));
  // The same numbers by other names.
  return { code: code as number, details: message, metadata };
}
