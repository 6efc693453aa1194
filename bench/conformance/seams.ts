/**
 * Loaded before the server (`--import`): a few of its modules are met through another one of the same exports that wraps
 * what the suite's service needs and Auspex's own do not have: which services there are, metadata, details of any type,
 * and messages in JSON that hold `Any`. All that answers a call is the server's own.
 */
import { registerHooks } from "node:module";

const SOURCES = new URL("../../src/transports/", import.meta.url).href;
const SEAMS = new URL("./seams/", import.meta.url).href;

/** By the importing module of the transports: what it imports, and what it gets. */
const REPLACED: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "connect.ts": {
    "@connectrpc/connect": "connect-library.ts",
    "./binding.ts": "binding.ts",
    "./connect-error.ts": "connect-error.ts",
    "./stream.ts": "stream.ts",
    "./unary.ts": "unary.ts",
  },
  "direct-call.ts": { "@bufbuild/protobuf": "protobuf.ts", "./connect-error.ts": "connect-error.ts" },
  "grpc.ts": { "./binding.ts": "binding.ts", "./grpc-call.ts": "grpc-call.ts" },
  "grpc-call.ts": { "./grpc-status.ts": "grpc-status.ts" },
};

registerHooks({
  resolve(specifier, context, next) {
    const parent = context.parentURL ?? "";
    const seam = parent.startsWith(SOURCES) ? REPLACED[parent.slice(SOURCES.length)]?.[specifier] : undefined;
    return next(seam === undefined ? specifier : `${SEAMS}${seam}`, context);
  },
});
