/** Real servers with the benches' MLP in their models folder. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startServer, type TestServer } from "../test/harness.ts";
import { writeMlp } from "../test/models/mlp.ts";

export interface MlpServers extends AsyncDisposable {
  /** Of the model's one version. */
  readonly folder: string;
  start(settings: Readonly<Record<string, string>>): Promise<TestServer>;
}

/** One more model of theirs, `bench/<name>`. */
interface Mlp {
  readonly name: string;
  /** From input to output. */
  readonly sizes: readonly number[];
}

/** `bench/mlp`, 64-128-128-10, and others, in a folder that all servers share and that goes with them. */
export async function mlpServers(others: readonly Mlp[] = []): Promise<MlpServers> {
  await using cleanUp = new AsyncDisposableStack();
  const modelsDir = await mkdtemp(join(tmpdir(), "auspex-bench-"));
  cleanUp.defer(() => rm(modelsDir, { recursive: true, force: true }));
  const folder = join(modelsDir, "bench", "mlp", "1");
  await writeMlp(folder);
  for (const { name, sizes } of others) await writeMlp(join(modelsDir, "bench", name, "1"), { sizes });
  const owned = cleanUp.move();
  return {
    folder,
    async start(settings) {
      // One thread a worker, as it is with as many workers as cores: to share out 0.2 ms costs more than it saves.
      const own = { MODELS_DIR: modelsDir, CATALOGUE: "0", THREADS: "1" };
      const server = await startServer({ settings: { ...own, ...settings } });
      owned.use(server);
      // Asked to stop before it is made to, so that a profiler in it writes its findings (bench/README.md).
      owned.defer(async () => void (await server.terminate()));
      return server;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
