/** Floors as targets: started, and what is sent to them. */
import { type Call, throughConnect, throughGrpc } from "./doors.ts";
import { type Floor, startFloor } from "./floors/floor.ts";
import { ECHO_PATH } from "./floors/grpc.ts";
import type { Target } from "./rounds.ts";

export interface Bare extends AsyncDisposable {
  readonly target: Target;
}

type Loading = (floor: Floor) => Target["load"];

async function bare(name: string, starting: Promise<Floor>, loading: Loading): Promise<Bare> {
  const floor = await starting;
  return {
    target: { name, pid: floor.pid, load: loading(floor) },
    [Symbol.asyncDispose]: () => floor[Symbol.asyncDispose](),
  };
}

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");

/** @param answerBytes how many the echo answers, to any request */
export function bareGrpc(answerBytes: number, request: Uint8Array): Promise<Bare> {
  return bare("bare grpc-js echo", startFloor("grpc.ts", String(answerBytes)), ({ address }) => ({
    to: { kind: "grpc", address, path: ECHO_PATH },
    request,
    expect: "bytes",
  }));
}

export function bareHttp2(answerBytes: number, request: Uint8Array): Promise<Bare> {
  return bare("bare http2 echo", startFloor("http2.ts", String(answerBytes)), ({ address }) => ({
    to: { kind: "http2", url: `http://${address}/` },
    request,
    expect: "bytes",
  }));
}

/** @param request JSON to post; without one it is a GET */
export function bareFastify(answer: Uint8Array, request?: Uint8Array): Promise<Bare> {
  return bare("bare Fastify, JSON", startFloor("fastify.ts", base64(answer)), ({ address }) => ({
    to: {
      kind: "http",
      url: `http://${address}/`,
      headers: request ? { "content-type": "application/json" } : {},
      method: request ? "POST" : "GET",
    },
    request: request ?? new Uint8Array(),
    expect: "bytes",
  }));
}

/** @param answer a GetPredictionResponse, of a prediction that succeeded */
export function bareConnect(answer: Uint8Array, call: Call): Promise<Bare> {
  return bare("bare connect-node, Connect", startFloor("connect.ts", "1", base64(answer)), ({ address }) =>
    throughConnect({ url: `http://${address}` }, call),
  );
}

export function bareConnectGrpc(answer: Uint8Array, call: Call): Promise<Bare> {
  return bare("bare connect-node, gRPC", startFloor("connect.ts", "2", base64(answer)), ({ address }) =>
    throughGrpc({ grpcUrl: `http://${address}` }, call),
  );
}
