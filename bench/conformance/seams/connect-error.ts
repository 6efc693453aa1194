/** An error of the suite's service goes out with its own code and details, of which ours are two kinds. */
import { ConnectError } from "@connectrpc/connect";
import type { AuspexError } from "../../../src/domain/error.ts";
import { connectError as ours } from "../../../src/transports/connect-error.ts";

export function connectError(error: AuspexError): ConnectError {
  return error.cause instanceof ConnectError ? error.cause : ours(error);
}
