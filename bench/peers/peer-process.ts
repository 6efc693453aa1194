/** One peer with all the processes that it starts: started, waited for, and ended by their ids. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { isRunning, type ProcessId, tree } from "../cpu.ts";
import { checkAnswer } from "../load-answer.ts";
import type { Served } from "./models.ts";
import type { Peer, Request, Setting } from "./peers.ts";

const START_MAX_MS = 90_000;
const STOP_MAX_MS = 5_000;
const SIGNALS = ["SIGINT", "SIGTERM"] as const;
const ASK_EVERY_MS = 200;
const REASON_LENGTH_MAX = 300;
const REASON_LINES = 2;

export interface RunningPeer {
  readonly pid: number;
  readonly url: string;
  readonly request: Request;
  /** The status that asks for another try. */
  readonly again: number | undefined;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Why a peer has no figure: it is a row, not an error of the bench. */
export class PeerFailure extends Error {}

/** Resolves when it has answered rightly; @throws PeerFailure when it does not. */
export async function startPeer(
  peer: Peer,
  bin: string,
  served: Served,
  setting: Omit<Setting, "port" | "otherPorts">,
): Promise<RunningPeer> {
  const [port, ...otherPorts] = await freePorts();
  const launch = peer.launch({ ...setting, port, otherPorts });
  const folder = await mkdtemp(join(tmpdir(), "auspex-peer-"));
  for (const [name, text] of Object.entries(launch.files ?? {})) await writeFile(join(folder, name), text);
  const logFile = join(folder, "peer.log");
  const log = openSync(logFile, "w");
  const [program, ...args] = launch.command;
  const child = spawn(join(bin, program), args, {
    cwd: folder,
    env: { ...cleanEnvironment(bin, folder), ...settingVariables(setting, port, served), ...launch.env },
    stdio: ["ignore", log, log],
    // A process group of its own, by which it is ended.
    detached: true,
  });
  closeSync(log);
  watchOver(child);
  const exited = child.pid === undefined ? undefined : once(child, "exit");
  child.on("error", () => {});
  const request = peer.request(setting.workload, served);
  const url = `http://127.0.0.1:${port}${request.path}`;
  const dispose = async (): Promise<void> => {
    if (exited) await end(child, exited);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await untilRight(child, url, request);
    return {
      pid: child.pid ?? 0,
      url,
      request,
      again: peer.capacity?.refusal,
      [Symbol.asyncDispose]: dispose,
    };
  } catch (error) {
    const said = await lastWords(logFile);
    await dispose();
    const why = error instanceof Error ? error.message : String(error);
    throw new PeerFailure(said === "" ? why : `${why}; it said last: ${said}`, { cause: error });
  }
}

async function lastWords(logFile: string): Promise<string> {
  const text = await readFile(logFile, "utf8").catch(() => "");
  return text.trim().split("\n").slice(-REASON_LINES).join(" ").slice(-REASON_LENGTH_MAX);
}

/** Nothing of what this process was told, and a home of its own for what products write there. */
function cleanEnvironment(bin: string, home: string): Readonly<Record<string, string>> {
  // As in this server's workers: ONNX Runtime would tell its makers of each session.
  return {
    HOME: home,
    LANG: "C.UTF-8",
    ORT_DISABLE_TELEMETRY: "1",
    PATH: [bin, process.env.PATH ?? ""].join(delimiter),
  };
}

function settingVariables(
  { workload, tuned, cores }: Omit<Setting, "port" | "otherPorts">,
  port: number,
  { folder }: Served,
): Readonly<Record<string, string>> {
  return {
    PYTHONPATH: import.meta.dirname,
    PYTHONDONTWRITEBYTECODE: "1",
    PEER_MODELS: folder,
    PEER_WORKLOAD: workload,
    PEER_TUNED: tuned ? "1" : "0",
    PEER_CORES: String(cores),
    PEER_PORT: String(port),
  };
}

async function untilRight(child: ChildProcess, url: string, { headers, body, expect }: Request) {
  const until = performance.now() + START_MAX_MS;
  let last = "it did not listen";
  while (performance.now() < until) {
    if (child.pid === undefined) throw new Error("it could not be started");
    if (child.exitCode !== null || child.signalCode !== null) {
      throw new Error(`it ended with ${child.exitCode ?? child.signalCode}`);
    }
    try {
      const signal = AbortSignal.timeout(START_MAX_MS);
      const response = await fetch(url, { method: "POST", headers, body: new Uint8Array(body), signal });
      const bytes = await response.bytes();
      if (response.ok) {
        checkAnswer(expect, bytes);
        return;
      }
      last = `it answered ${response.status} ${new TextDecoder().decode(bytes).slice(0, REASON_LENGTH_MAX)}`;
    } catch (error) {
      // Until it listens there is nobody to ask.
      if (!(error instanceof TypeError)) throw error;
    }
    await sleep(ASK_EVERY_MS);
  }
  throw new Error(`not ready within ${START_MAX_MS / 1000} s: ${last}`);
}

const running = new Set<ChildProcess>();

/** In a group of its own, a peer would outlive this process if that were told to end. */
function watchOver(child: ChildProcess): void {
  if (running.size === 0) {
    process.on("exit", endAll);
    for (const signal of SIGNALS) process.on(signal, endWith);
  }
  running.add(child);
  child.once("exit", () => {
    running.delete(child);
    if (running.size > 0) return;
    process.off("exit", endAll);
    for (const signal of SIGNALS) process.off(signal, endWith);
  });
}

function endAll(): void {
  for (const { pid } of running) if (pid !== undefined) endNow(pid, tree(pid));
}

function endWith(signal: NodeJS.Signals): void {
  endAll();
  for (const each of SIGNALS) process.off(each, endWith);
  process.kill(process.pid, signal);
}

function endNow(pid: number, all: readonly ProcessId[]): void {
  signalGroup(pid, "SIGKILL");
  for (const each of all) kill(each);
}

/** Asks the group to stop, then makes all of them that were its children, wherever they went. */
async function end(child: ChildProcess, exited: Promise<unknown>): Promise<void> {
  const pid = child.pid ?? 0;
  const all = tree(pid);
  signalGroup(pid, "SIGTERM");
  await Promise.race([exited, sleep(STOP_MAX_MS, undefined, { ref: false })]);
  endNow(pid, all);
  await exited;
}

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // All of it is gone.
  }
}

function kill(id: ProcessId): void {
  if (!isRunning(id)) return;
  try {
    process.kill(id.pid, "SIGKILL");
  } catch {
    // It ended meanwhile.
  }
}

/** All open at once, so that they differ. */
async function freePorts(): Promise<readonly [number, number, number]> {
  const [first, second, third] = await Promise.all([freePort(), freePort(), freePort()]);
  for (const { close } of [first, second, third]) await close();
  return [first.port, second.port, third.port];
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port is free");
  const close = async (): Promise<void> => {
    server.close();
    await once(server, "close");
  };
  return { port: address.port, close };
}
