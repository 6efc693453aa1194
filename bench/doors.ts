/** One call through each of a server's RPC doors: the same message, wrapped as its protocol wants it. */
import type { TestServer } from "../test/harness.ts";
import { envelope } from "./envelope.ts";
import type { LoadOrder } from "./load.ts";

export type Load = Omit<LoadOrder, "seconds" | "inFlight">;

/** A call whose answer is a prediction that succeeded. */
export interface Call {
  /** `/package.Service/Method` */
  readonly path: string;
  readonly request: Uint8Array;
}

type Addresses = Pick<TestServer, "url" | "grpcUrl">;

export function throughGrpc({ grpcUrl }: Pick<TestServer, "grpcUrl">, { path, request }: Call): Load {
  const address = new URL(grpcUrl).host;
  return { to: { kind: "grpc", address, path }, request, expect: "succeeded prediction" };
}

export function throughConnect({ url }: Pick<TestServer, "url">, { path, request }: Call): Load {
  const headers = { "content-type": "application/proto", "connect-protocol-version": "1" };
  return { to: { kind: "http", url: `${url}${path}`, headers }, request, expect: "succeeded prediction" };
}

export function throughConnectJson({ url }: Addresses, path: string, request: object): Load {
  const headers = { "content-type": "application/json", "connect-protocol-version": "1" };
  return {
    to: { kind: "http", url: `${url}${path}`, headers },
    request: Buffer.from(JSON.stringify(request)),
    expect: "succeeded prediction in JSON",
  };
}

export function throughGrpcWeb({ url }: Addresses, { path, request }: Call): Load {
  const headers = { "content-type": "application/grpc-web+proto", "x-grpc-web": "1" };
  return {
    to: { kind: "http", url: `${url}${path}`, headers },
    request: envelope(request),
    expect: "succeeded prediction in an envelope",
  };
}

/** Of a method that streams; the answer is one message and the end. */
export function throughConnectStream({ url }: Addresses, { path, request }: Call): Load {
  const headers = { "content-type": "application/connect+proto", "connect-protocol-version": "1" };
  return {
    to: { kind: "http", url: `${url}${path}`, headers },
    request: envelope(request),
    expect: "succeeded prediction in an envelope",
  };
}
