/** Calls that are served directly, in either protocol, and end before they are whole. */
import { once } from "node:events";
import { connect } from "node:net";
import { expect, it, onTestFinished, vi } from "vitest";
import { until } from "../harness.ts";
import { GET, WATCH } from "./direct-scene.ts";
import { startListeners } from "./listeners.ts";
import { memoryServices } from "./memory-services.ts";

const DEADLINE_MS = 1_000_000_000;

/** Of this process, at either end. */
const connections = () => process.getActiveResourcesInfo().filter((name) => name === "TCPSocketWrap").length;

it.each([
  ["Connect", "application/proto", `Connect-Timeout-Ms: ${DEADLINE_MS}`],
  ["gRPC-Web", "application/grpc-web+proto", `Grpc-Timeout: ${DEADLINE_MS / 1000}S`],
])("%s: no timer of a caller that goes while it is found out who it is", async (_name, type, deadline) => {
  const asked = Promise.withResolvers<void>();
  const known = Promise.withResolvers<void>();
  const services = memoryServices();
  const authenticate: typeof services.authenticate = async (token) => {
    asked.resolve();
    await known.promise;
    return services.authenticate(token);
  };
  const listeners = await startListeners({ ...services, authenticate });
  onTestFinished(() => listeners[Symbol.asyncDispose]());
  const begun = vi.spyOn(globalThis, "setTimeout");
  const ended = vi.spyOn(globalThis, "clearTimeout");
  onTestFinished(() => void vi.restoreAllMocks());
  const before = connections();
  const socket = connect(listeners.http.port, "127.0.0.1");
  const head = `POST ${GET} HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${type}\r\n${deadline}`;
  socket.write(`${head}\r\nContent-Length: 100\r\n\r\n`);
  await asked.promise;
  socket.resetAndDestroy();
  await once(socket, "close");
  await until(() => connections() <= before);
  known.resolve();
  const timer = begun.mock.results[begun.mock.calls.findIndex(([, ms]) => ms === DEADLINE_MS)]?.value;
  expect(timer).toBeDefined();
  await until(() => ended.mock.calls.some(([cleared]) => cleared === timer));
});

it.each([
  ["Connect", GET, "application/proto", "Connect-Timeout-Ms: 200", /"deadline_exceeded"/],
  ["gRPC-Web", GET, "application/grpc-web+proto", "Grpc-Timeout: 200m", /grpc-status: 4/],
  ["Connect, a stream", WATCH, "application/connect+proto", "Connect-Timeout-Ms: 200", /"deadline_exceeded"/],
  ["gRPC-Web, a stream", WATCH, "application/grpc-web+proto", "Grpc-Timeout: 200m", /grpc-status: 4/],
])(
  "%s: a deadline that passes before the body is there is told",
  async (_name, path, type, deadline, told) => {
    const listeners = await startListeners(memoryServices());
    onTestFinished(() => listeners[Symbol.asyncDispose]());
    const socket = connect(listeners.http.port, "127.0.0.1");
    onTestFinished(() => void socket.destroy());
    const head = `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${type}\r\n${deadline}`;
    socket.write(`${head}\r\nContent-Length: 100\r\n\r\n`);
    let answer = "";
    socket.on("data", (data) => {
      answer += data.toString("latin1");
    });
    await until(() => told.test(answer));
  },
);
