/** Everything above store and engine: the services, and the listeners through which they are reached. */
import type { Logger } from "pino";
import type { Config } from "./config.ts";
import type { Engine } from "./engine/engine.ts";
import { createServices } from "./services/create-services.ts";
import type { Store } from "./store/store.ts";
import { createByteBudget } from "./transports/byte-budget.ts";
import type { Dialect } from "./transports/dialect.ts";
import { einsteinPrediction } from "./transports/dialects/einstein-prediction.ts";
import { einsteinVision } from "./transports/dialects/einstein-vision.ts";
import { studio } from "./transports/dialects/studio.ts";
import { renderPrediction, wriftai } from "./transports/dialects/wriftai.ts";
import { startGrpc } from "./transports/grpc.ts";
import { startHttp } from "./transports/http.ts";

export const DIALECTS: readonly Dialect[] = [wriftai, einsteinVision, einsteinPrediction, studio];

/** For what has not ended when the time to drain is over: waits say how far each prediction has come, streams that they end. */
const LAST_ANSWERS_MS = 1000;

export interface Doors {
  readonly httpPort: number;
  readonly grpcPort: number;
  /** Drains: nothing more is accepted, what runs may finish, the rest is left to the next start. */
  close(): Promise<void>;
}

export interface DoorsOptions {
  readonly config: Config;
  readonly log: Logger;
  /** Since the start. */
  readonly logLinesDropped: () => number;
  readonly store: Store;
  readonly engine: Engine;
}

/** Rejects with code EADDRINUSE when a port is taken. */
export async function openDoors(options: DoorsOptions): Promise<Doors> {
  const { config, log, store, engine } = options;
  const services = createServices({
    store,
    engine,
    config,
    webhookBodies: { wriftai: (prediction) => JSON.stringify(renderPrediction(prediction)) },
    log,
    logLinesDropped: options.logLinesDropped,
  });
  await services.load();
  const dialects = DIALECTS.filter(({ name }) => config.DIALECTS.some((served) => served === name));
  const budget = createByteBudget(config.MAX_BYTES_IN_FLIGHT);
  const grpc = await startGrpc({ services, config, log, budget });
  const http = await startHttp({ services, config, log, budget, grpcPort: grpc.port, dialects });
  await services.start();
  return {
    httpPort: http.port,
    grpcPort: grpc.port,
    async close() {
      services.stopAccepting();
      // The listeners drain while the runner finishes what their calls wait for.
      const graceMs = config.DRAIN + LAST_ANSWERS_MS;
      await Promise.all([grpc.drain(graceMs), http.drain(graceMs), services.close(config.DRAIN)]);
    },
  };
}
