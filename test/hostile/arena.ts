/**
 * A real server that a corpus is thrown at, and what has to hold of it afterwards: it is healthy and answers as before,
 * its memory is back, its processes are the same, nothing is on its disk that was not there, and nothing went wrong that
 * nobody foresaw.
 */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type ClientReadableStream,
  credentials,
  Client as GrpcClient,
  Metadata,
  type ServiceError,
} from "@grpc/grpc-js";
import { expect } from "vitest";
import { startServer, type TestServer, until } from "../harness.ts";
import { uniform, writeMlp } from "../models/mlp.ts";
import { childrenOf, residentBytes } from "../processes.ts";

const MIB = 1024 ** 2;
/** How much larger the main process may be in the end; one leaked body of a corpus's thousands is far more. */
const MEMORY_MAX = 128 * MIB;
/** Inputs at once: enough to keep the server busy, and few enough to name the one at fault. */
const IN_FLIGHT = 8;
/** After so long a corpus stops where it is, on a machine that is too slow for all of it. */
const TIME_BOX_MS = 15_000;
const ERROR_LEVEL = 50;

export const MODEL = "test/mlp";

/** What a door answered: a word of gRPC's or Connect's, or an HTTP status. */
export interface Told {
  readonly door: string;
  /** HTTP status, or gRPC's code. */
  readonly status: number;
  readonly text: string;
}

export interface Arena {
  readonly server: TestServer;
  readonly modelsDir: string;
  /** Deterministic, from 0 to below 1. */
  readonly random: () => number;
  /** Throws all inputs, some at once, for as long as the time box lasts; answers what was told to each. */
  throwAll(inputs: Iterable<() => Promise<Told>>): Promise<readonly Told[]>;
  /** A message over gRPC, whatever its bytes are; of a stream what it ended with. */
  grpc(path: string, body: Uint8Array, key?: string): Promise<Told>;
  /** Any body over HTTP. */
  http(
    path: string,
    body: string | Uint8Array<ArrayBuffer> | undefined,
    headers?: Record<string, string>,
    method?: string,
  ): Promise<Told>;
  /** Holds the server to what this file says, and prints the number of inputs. */
  settle(corpus: string, options?: Settling): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

interface Settling {
  /** Folders of the data folder in which inputs that are good may leave something, e.g. `blobs`. */
  readonly mayKeep?: RegExp;
  /** Whether there may be other workers than before; as many there are always. */
  readonly renewsWorkers?: boolean;
}

/** @param settings without their prefix */
export async function openArena(
  seed: number,
  settings: Readonly<Record<string, string>> = {},
  key?: string,
): Promise<Arena> {
  const models = await mkdtemp(join(tmpdir(), "auspex-models-"));
  await writeMlp(join(models, MODEL, "1"));
  const server = await startServer({
    settings: { MODELS_DIR: models, CATALOGUE: "0", WAIT_MAX: "10s", RATE_LIMIT: "off", ...settings },
  });
  const pid = server.process.pid ?? 0;
  const client = new GrpcClient(new URL(server.grpcUrl).host, credentials.createInsecure());
  const answer = () => rightAnswer(server, key);
  // Twice, for the first one also loads what is loaded when it is needed.
  await answer();
  const before = {
    answer: await answer(),
    files: await filesOf(server),
    children: childrenOf(pid),
    printed: server.printed.length,
  };
  let memory = residentBytes(pid);
  let tried = 0;

  return {
    server,
    modelsDir: models,
    random: uniform(seed),

    async throwAll(inputs) {
      const until = performance.now() + TIME_BOX_MS;
      const told: Told[] = [];
      const waiting = inputs[Symbol.iterator]();
      const one = async (): Promise<void> => {
        for (let next = waiting.next(); !next.done; next = waiting.next()) {
          told.push(await next.value());
          // By then everything has been used once, and the heap is as large as it has to be.
          if (++tried === 100) memory = Math.max(memory, residentBytes(pid));
          if (performance.now() > until) return;
        }
      };
      await Promise.all(Array.from({ length: IN_FLIGHT }, one));
      return told;
    },

    grpc: (path, body, as = key) =>
      new Promise((resolve) => {
        const metadata = new Metadata();
        if (as !== undefined) metadata.set("authorization", `Bearer ${as}`);
        const identity = (bytes: Buffer): Buffer => bytes;
        const deadline = Date.now() + 30_000;
        // Every call as a stream: of a unary one it has one message.
        const call: ClientReadableStream<Buffer> = client.makeServerStreamRequest(
          path,
          identity,
          identity,
          Buffer.from(body),
          metadata,
          { deadline },
        );
        call.on("data", () => {});
        call.on("error", ({ code, details }: ServiceError) =>
          resolve({ door: `grpc ${path}`, status: code, text: details }),
        );
        call.on("end", () => resolve({ door: `grpc ${path}`, status: 0, text: "" }));
      }),

    async http(path, body, headers = {}, method = "POST") {
      const response = await fetch(`${server.url}${path}`, {
        method,
        headers: { ...(key !== undefined && { authorization: `Bearer ${key}` }), ...headers },
        redirect: "manual",
        ...(body !== undefined && { body }),
      });
      return { door: `${method} ${path}`, status: response.status, text: await response.text() };
    },

    async settle(corpus, { mayKeep, renewsWorkers = false } = {}) {
      expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
      expect(await answer()).toBe(before.answer);
      await until(() => residentBytes(pid) <= memory + MEMORY_MAX);
      await until(() => childrenOf(pid).length === before.children.length);
      if (!renewsWorkers) expect(childrenOf(pid)).toEqual(before.children);
      const kept = (await filesOf(server)).filter((file) => !mayKeep?.test(file));
      expect(kept).toEqual(before.files.filter((file) => !mayKeep?.test(file)));
      expect(server.printed.slice(before.printed)).toEqual([]);
      const wrong = server.log.filter(({ level }) => level >= ERROR_LEVEL);
      expect(wrong).toEqual([]);
      console.log(`hostile ${corpus}: ${tried} inputs`);
    },

    async [Symbol.asyncDispose]() {
      client.close();
      await server[Symbol.asyncDispose]();
      await rm(models, { recursive: true, force: true });
    },
  };
}

/** What the model answers, as text: the same bytes before and after. */
async function rightAnswer(server: TestServer, key: string | undefined): Promise<string> {
  const data = Array.from({ length: 64 }, (_, i) => i / 64);
  const response = await fetch(`${server.url}/auspex.v1.PredictionService/CreatePrediction`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      ...(key !== undefined && { authorization: `Bearer ${key}` }),
    },
    body: JSON.stringify({
      model: MODEL,
      input: { inputs: { x: { dtype: "float32", shape: [1, 64], data } } },
      wait: "10s",
    }),
  });
  const { prediction } = (await response.json()) as { prediction: { output: unknown; status: string } };
  expect(prediction.status).toBe("PREDICTION_STATUS_SUCCEEDED");
  return JSON.stringify(prediction.output);
}

/** Files and folders of the data folder, but for what SQLite keeps beside its database. */
async function filesOf({ dataDir }: TestServer): Promise<readonly string[]> {
  const files = await readdir(dataDir, { recursive: true });
  return files.filter((file) => !/^auspex\.db/.test(file)).toSorted();
}

/** gRPC's codes for what is the server's own fault: unknown, internal, data loss. */
const OUR_FAULT = [2, 13, 15];

/** What must not be told to anybody, whatever was sent. */
export function faults(told: readonly Told[]): readonly Told[] {
  return told.filter(({ door, status }) =>
    door.startsWith("grpc ") ? OUR_FAULT.includes(status) : status >= 500 || status < 200,
  );
}
