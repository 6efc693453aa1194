/** A refusal as Connect's library writes it. */
import { type Code, ConnectError } from "@connectrpc/connect";
import { type AuspexError, ERROR_CODES } from "../domain/error.ts";
import { refusalDetails } from "./refusal.ts";

export function connectError(error: AuspexError): ConnectError {
  const code: Code = ERROR_CODES[error.code].grpc;
  const details = refusalDetails(error).map(({ desc, value }) => ({ desc, value }));
  return new ConnectError(error.message.toWellFormed(), code, undefined, details, error);
}
