/** F33: what models that come and go, and many predictions, leave behind. The long ones are in `npm run bench -- --soak`. */
import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ModelService } from "../../gen/auspex/v1/model_pb.ts";
import { PredictionService, PredictionStatus } from "../../gen/auspex/v1/prediction_pb.ts";
import { DataType } from "../../gen/auspex/v1/tensor_pb.ts";
import { clientOf, startServer, type TestServer, until } from "../harness.ts";
import { writeMlp } from "../models/mlp.ts";
import { childrenOf } from "../processes.ts";

const CYCLES = 40;
const PREDICTIONS = 2000;
const WARM_UP = 5;
/** Threads and files that come and go, such as a connection that is being closed. */
const SLACK = 3;

interface Holdings {
  readonly pid: number;
  readonly threads: number;
  readonly files: number;
}

/** Of the server and of each of its workers. */
function holdings(server: TestServer): readonly Holdings[] {
  const main = server.process.pid ?? 0;
  return [main, ...childrenOf(main)].map((pid) => ({
    pid,
    threads: Number(/^Threads:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]),
    files: readdirSync(`/proc/${pid}/fd`).length,
  }));
}

async function tensorsOf({ url }: TestServer): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(/^auspex_worker_tensors (\d+)/m.exec(text)?.[1]);
}

/** Waits for what is still being closed; what stays open fails the test by its time. */
async function expectFlat(server: TestServer, before: readonly Holdings[], tensors: number): Promise<void> {
  await until(() => {
    const after = holdings(server);
    return (
      after.length === before.length &&
      after.every(({ pid, threads, files }, i) => {
        const first = before[i];
        return first?.pid === pid && threads <= first.threads + SLACK && files <= first.files + SLACK;
      })
    );
  });
  expect(await tensorsOf(server)).toBe(tensors);
}

test.each(["tfjs-wasm", "onnxruntime"])(
  "F33 models that come and go, and predictions, leave no file, thread or tensor behind: %s",
  async (runtime) => {
    const folder = await mkdtemp(join(tmpdir(), "auspex-leak-"));
    try {
      await writeMlp(join(folder, "mlp"), { sizes: [16, 32, 4] });
      const files: Record<string, Uint8Array> = {};
      for (const name of await readdir(join(folder, "mlp"))) {
        files[name] = await readFile(join(folder, "mlp", name));
      }
      await using server = await startServer({ settings: { CATALOGUE: "0", RUNTIME: runtime } });
      const models = clientOf(server, "grpc", ModelService);
      const client = clientOf(server, "grpc", PredictionService);
      const publish = async () => {
        const { version } = await models.publishModelVersion({ model: "local/mlp", files });
        expect(version?.runtime, version?.failure).toBe(runtime);
        return version?.version ?? 0;
      };
      const predict = async (count: number) => {
        const x = {
          dtype: DataType.FLOAT32,
          shape: [1, 16],
          data: new Uint8Array(new Float32Array(16).buffer),
        };
        const one = async () => {
          const { prediction } = await client.createPrediction({
            model: "local/mlp",
            tensors: { x },
            wait: { seconds: 30n },
          });
          expect(prediction?.status).toBe(PredictionStatus.SUCCEEDED);
        };
        for (let done = 0; done < count; done += 50) await Promise.all(Array.from({ length: 50 }, one));
      };
      const cycle = async (count: number) => {
        for (let i = 0; i < count; i++) {
          await models.deleteModelVersion({ model: "local/mlp", version: await publish() });
        }
      };
      await cycle(WARM_UP);
      await publish();
      await predict(100);
      const [before, tensors] = [holdings(server), await tensorsOf(server)];
      // TF.js holds the weights, and ONNX Runtime none of its tensors.
      expect(tensors > 0).toBe(runtime === "tfjs-wasm");
      await cycle(CYCLES);
      await predict(PREDICTIONS);
      await expectFlat(server, before, tensors);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
  120_000,
);
