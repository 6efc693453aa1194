/** What /metrics tells. Labels come from closed lists only: a client cannot make new series. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { Prediction } from "../domain/prediction.ts";
import type { Engine } from "../engine/engine.ts";
import type { Store } from "../store/store.ts";

export interface Metrics {
  settled(prediction: Prediction): void;
  text(): Promise<{ readonly text: string; readonly contentType: string }>;
}

/** Seconds: from a small model's half millisecond to the longest run. */
const BUCKETS = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120, 1800,
];

/** What is counted elsewhere in the services. */
export interface Counts {
  logLinesDropped(): number;
  /** Answers of chatflows that are made or wait for it. */
  answersUnfinished(): number;
  answerStreams(): number;
  watchStreams(): number;
}

export function createMetrics(store: Store, engine: Engine, counts: Counts): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const settled = new Counter({
    name: "auspex_predictions_settled_total",
    help: "Predictions that this process finished, by terminal status.",
    labelNames: ["status"] as const,
    registers,
  });
  const total = new Histogram({
    name: "auspex_prediction_seconds",
    help: "Time from creation to the terminal state.",
    buckets: BUCKETS,
    registers,
  });
  const execution = new Histogram({
    name: "auspex_execution_seconds",
    help: "Time that the last attempt took in a worker.",
    buckets: BUCKETS,
    registers,
  });
  const gauges: readonly [string, string, () => number][] = [
    [
      "auspex_predictions_unfinished",
      "Pending and started predictions.",
      () => store.predictions.unfinished(),
    ],
    ["auspex_workers", "Workers configured.", () => engine.stats().workers],
    ["auspex_workers_live", "Workers that can take a batch.", () => engine.stats().liveWorkers],
    ["auspex_worker_deaths", "Workers that died or were killed.", () => engine.stats().workerDeaths],
    ["auspex_worker_tensors", "Tensors that TF.js holds in the workers.", () => engine.stats().tensors],
    ["auspex_engine_queued", "Jobs that wait for a worker.", () => engine.stats().queued],
    ["auspex_engine_running", "Jobs in workers.", () => engine.stats().running],
    ["auspex_engine_batches", "Batches run.", () => engine.stats().batches],
    ["auspex_engine_items", "Items in the batches run.", () => engine.stats().items],
    [
      "auspex_answers_unfinished",
      "Answers of chatflows that are made or wait for it.",
      counts.answersUnfinished,
    ],
    ["auspex_answer_streams", "Answers that are streamed.", counts.answerStreams],
    ["auspex_watch_streams", "Watch streams of predictions and trainings.", counts.watchStreams],
    ["auspex_log_lines_dropped", "Log lines that nobody took.", counts.logLinesDropped],
    [
      "auspex_storage_writable",
      "1 while the storage takes writes.",
      () => Number(store.health.reason() === ""),
    ],
  ];
  for (const [name, help, read] of gauges) {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });
  }
  new Gauge({
    name: "auspex_model_version",
    help: "1 for each model version, with its state and the runtime in use.",
    labelNames: ["model", "version", "state", "runtime"] as const,
    registers,
    collect() {
      this.reset();
      for (const { owner, name, version, state } of engine.models.list()) {
        const runtime = state.kind === "ready" ? state.runtime : "";
        this.set({ model: `${owner}/${name}`, version: String(version), state: state.kind, runtime }, 1);
      }
    },
  });
  return {
    settled(prediction) {
      settled.inc({ status: prediction.status });
      total.observe(((prediction.endedAt ?? prediction.createdAt) - prediction.createdAt) / 1e6);
      if (prediction.executionTime !== null) execution.observe(prediction.executionTime / 1e6);
    },
    text: async () => ({ text: await registry.metrics(), contentType: registry.contentType }),
  };
}
