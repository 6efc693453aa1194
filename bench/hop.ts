/**
 * What it costs to cross to a worker process and back, by ways of crossing. One child runs a real MLP 64-128-128-10
 * in wasm; the parent keeps 64 requests of 64 floats in flight and sends whatever waits when the child frees up,
 * at most 32 together. Prints requests per second and CPU microseconds per request of both processes, and the
 * ratios to the first way. Rounds are interleaved so that a busy machine slows all ways alike.
 *
 *     node bench/hop.ts [rounds, default 5] [requests per round, default 20000]
 */
import { type ChildProcess, fork } from "node:child_process";
import type { Duplex, Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import v8 from "node:v8";

const IN_FLIGHT = 64;
const BATCH = 32;
const FLOATS = 64;
const CLASSES = 10;

/** The two shapes of a batch: one tensor per item, or one for all. */
type Batch =
  | { readonly items: readonly Uint8Array[] }
  | { readonly rows: number; readonly joined: Uint8Array };

interface Way {
  readonly name: string;
  readonly joined: boolean;
  /** How a message is written on the extra pipe; undefined for Node's own IPC channel. */
  readonly frame?: "v8" | "json+raw";
}

const WAYS: readonly Way[] = [
  { name: "ipc advanced, tensor per item", joined: false },
  { name: "ipc advanced, one tensor", joined: true },
  { name: "pipe, v8 frames, tensor per item", joined: false, frame: "v8" },
  { name: "pipe, v8 frames, one tensor", joined: true, frame: "v8" },
  { name: "pipe, JSON head + raw tensor", joined: true, frame: "json+raw" },
];

interface Port {
  send(batch: Batch): void;
  listen(listener: (batch: Batch) => void): void;
}

function encode(frame: "v8" | "json+raw", batch: Batch): readonly Uint8Array[] {
  if (frame === "v8") {
    const body = v8.serialize(batch);
    const head = Buffer.allocUnsafe(4);
    head.writeUInt32LE(body.length);
    return [head, body];
  }
  if (!("joined" in batch)) throw new Error("raw frames carry joined batches only");
  const json = Buffer.from(JSON.stringify({ rows: batch.rows }));
  const head = Buffer.allocUnsafe(8);
  head.writeUInt32LE(4 + json.length + batch.joined.length);
  head.writeUInt32LE(json.length, 4);
  return [head, json, batch.joined];
}

function decode(frame: "v8" | "json+raw", body: Buffer): Batch {
  if (frame === "v8") return v8.deserialize(body) as Batch;
  const length = body.readUInt32LE(0);
  const { rows } = JSON.parse(body.toString("utf8", 4, 4 + length)) as { rows: number };
  return { rows, joined: body.subarray(4 + length) };
}

function framedPort(frame: "v8" | "json+raw", readable: Readable, writable: Writable): Port {
  return {
    send(batch) {
      writable.cork();
      for (const part of encode(frame, batch)) writable.write(part);
      writable.uncork();
    },
    listen(listener) {
      let chunks: Buffer[] = [];
      let have = 0;
      readable.on("data", (chunk: Buffer) => {
        chunks.push(chunk);
        have += chunk.length;
        while (have >= 4) {
          const all = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks);
          chunks = [all];
          const length = all.readUInt32LE(0);
          if (have < 4 + length) return;
          listener(decode(frame, all.subarray(4, 4 + length)));
          chunks = [all.subarray(4 + length)];
          have -= 4 + length;
        }
      });
    },
  };
}

async function childMain(frame: string | undefined): Promise<void> {
  const tf = await import("@tensorflow/tfjs-core");
  const wasm = await import("@tensorflow/tfjs-backend-wasm");
  wasm.setWasmPaths(fileURLToPath(new URL(".", import.meta.resolve("@tensorflow/tfjs-backend-wasm"))));
  await tf.setBackend("wasm");
  const layers = [
    [FLOATS, 128],
    [128, 128],
    [128, CLASSES],
  ].map(([from = 0, to = 0]) => ({ kernel: tf.randomUniform([from, to]), bias: tf.randomUniform([to]) }));
  const infer = (data: Float32Array, rows: number): Float32Array =>
    tf.tidy(() => {
      let x: InstanceType<typeof tf.Tensor> = tf.tensor2d(data, [rows, FLOATS]);
      for (const { kernel, bias } of layers)
        x = tf.relu(tf.add(tf.matMul(x as never, kernel as never), bias));
      return x.dataSync() as Float32Array;
    });
  const answer = (batch: Batch): Batch => {
    const rows = "joined" in batch ? batch.rows : batch.items.length;
    const data = new Float32Array(rows * FLOATS);
    const bytes = new Uint8Array(data.buffer);
    if ("joined" in batch) bytes.set(batch.joined);
    else batch.items.forEach((item, i) => void bytes.set(item, i * FLOATS * 4));
    const out = infer(data, rows);
    const joined = new Uint8Array(out.buffer, out.byteOffset, out.byteLength);
    if ("joined" in batch) return { rows, joined };
    return { items: batch.items.map((_, i) => joined.slice(i * CLASSES * 4, (i + 1) * CLASSES * 4)) };
  };
  const cpu = (): number => process.cpuUsage().user + process.cpuUsage().system;
  process.on("message", (message: Batch | "cpu") => {
    if (message === "cpu") process.send?.({ cpu: cpu() });
    else process.send?.(answer(message));
  });
  process.on("disconnect", () => process.exit(0));
  if (frame === "v8" || frame === "json+raw") {
    const { Socket } = await import("node:net");
    const socket = new Socket({ fd: 4, readable: true, writable: true });
    const port = framedPort(frame, socket, socket);
    port.listen((batch) => port.send(answer(batch)));
  }
  process.send?.({ cpu: cpu() });
}

interface Child {
  readonly process: ChildProcess;
  readonly port: Port;
  cpu(): Promise<number>;
}

async function start(way: Way): Promise<Child> {
  const child = fork(fileURLToPath(import.meta.url), ["child", way.frame ?? ""], {
    serialization: "advanced",
    stdio: ["ignore", "inherit", "inherit", "ipc", "pipe"],
  });
  let onBatch: (batch: Batch) => void = () => undefined;
  let onCpu: (cpu: number) => void = () => undefined;
  const ready = new Promise<number>((resolve) => {
    onCpu = resolve;
  });
  child.on("message", (message: Batch | { cpu: number }) => {
    if ("cpu" in message) onCpu(message.cpu);
    else onBatch(message);
  });
  await ready;
  const stream = child.stdio[4] as Duplex;
  return {
    process: child,
    port:
      way.frame === undefined
        ? {
            send: (batch) => void child.send(batch),
            listen: (listener) => {
              onBatch = listener;
            },
          }
        : framedPort(way.frame, stream, stream),
    cpu: () =>
      new Promise((resolve) => {
        onCpu = resolve;
        child.send("cpu");
      }),
  };
}

function round(
  way: Way,
  child: Child,
  input: Uint8Array,
  requests: number,
  listening: boolean,
): Promise<void> {
  return new Promise((resolve) => {
    let waiting = IN_FLIGHT;
    let answered = 0;
    let busy = false;
    const pump = (): void => {
      if (busy || waiting === 0) return;
      const rows = Math.min(BATCH, waiting);
      waiting -= rows;
      busy = true;
      const items = Array.from({ length: rows }, () => input);
      child.port.send(way.joined ? { rows, joined: Buffer.concat(items) } : { items });
    };
    const onAnswer = (batch: Batch): void => {
      const rows = "joined" in batch ? batch.rows : batch.items.length;
      const bytes = "joined" in batch ? batch.joined.length : (batch.items[0]?.length ?? 0) * rows;
      if (bytes !== rows * CLASSES * 4) throw new Error(`${way.name}: wrong answer of ${bytes} bytes`);
      answered += rows;
      waiting += rows;
      busy = false;
      if (answered >= requests) resolve();
      else pump();
    };
    handlers.set(way, onAnswer);
    if (!listening) child.port.listen((batch) => handlers.get(way)?.(batch));
    pump();
  });
}

const handlers = new Map<Way, (batch: Batch) => void>();

async function main(rounds: number, requests: number): Promise<void> {
  const input = new Uint8Array(Float32Array.from({ length: FLOATS }, (_, i) => Math.sin(i)).buffer);
  const children = new Map<Way, Child>();
  for (const way of WAYS) {
    const child = await start(way);
    children.set(way, child);
    await round(way, child, input, requests, false);
  }
  const totals = new Map(WAYS.map((way) => [way, { seconds: 0, here: 0, there: 0, count: 0 }]));
  for (let i = 0; i < rounds; i++) {
    for (const [way, child] of children) {
      const total = totals.get(way);
      if (!total) continue;
      const there = await child.cpu();
      const here = process.cpuUsage();
      const begin = performance.now();
      await round(way, child, input, requests, true);
      total.seconds += (performance.now() - begin) / 1000;
      const used = process.cpuUsage(here);
      total.here += used.user + used.system;
      total.there += (await child.cpu()) - there;
      total.count += requests;
    }
  }
  for (const child of children.values()) child.process.kill();
  let base: { rate: number; cpu: number } | undefined;
  const rows = [...totals].map(([way, t]) => {
    const rate = t.count / t.seconds;
    const cpu = (t.here + t.there) / t.count;
    base ??= { rate, cpu };
    return {
      way: way.name,
      "requests/s": Math.round(rate),
      "parent µs": (t.here / t.count).toFixed(1),
      "child µs": (t.there / t.count).toFixed(1),
      "CPU µs": cpu.toFixed(1),
      "rate ratio": (rate / base.rate).toFixed(2),
      "CPU ratio": (cpu / base.cpu).toFixed(2),
    };
  });
  console.table(rows);
}

if (process.argv[2] === "child") await childMain(process.argv[3]);
else await main(Number(process.argv[2] ?? 5), Number(process.argv[3] ?? 20_000));
