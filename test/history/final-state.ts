/** What the server holds when a run is over: read through its API, and what that does not show from its database. */
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { Code, ConnectError } from "@connectrpc/connect";
import { PredictionService } from "../../gen/auspex/v1/prediction_pb.ts";
import { clientOf, type TestServer } from "../harness.ts";
import type { Seen } from "./history.ts";
import { seenOf } from "./rpc-client.ts";

export interface DeliveryState {
  readonly webhookId: string;
  readonly revision: number;
  readonly terminal: boolean;
  readonly state: "due" | "delivered" | "abandoned";
}

export interface FinalState {
  /** By id: those that the run knows of and the server still has. */
  readonly predictions: ReadonlyMap<string, Seen>;
  /** By prediction: those that asked for a webhook have an entry, maybe an empty one. */
  readonly deliveries: ReadonlyMap<string, readonly DeliveryState[]>;
}

const GETS_AT_ONCE = 16;

/** @param ids every id that a client was told of */
export async function readFinalState(server: TestServer, ids: ReadonlySet<string>): Promise<FinalState> {
  const client = clientOf(server, "grpc", PredictionService);
  const predictions = new Map<string, Seen>();
  const open = [...ids];
  const get = async () => {
    for (let id = open.pop(); id !== undefined; id = open.pop()) {
      try {
        const { prediction } = await client.getPrediction({ id });
        if (prediction) predictions.set(id, seenOf(prediction));
      } catch (error) {
        // That it is not there is for the checker to judge.
        if (ConnectError.from(error).code !== Code.NotFound) throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: GETS_AT_ONCE }, get));
  return { predictions, deliveries: readDeliveries(server.dataDir) };
}

interface DeliveryRow {
  readonly prediction_id: string;
  readonly id: string | null;
  readonly revision: number;
  readonly terminal: number;
  readonly state: DeliveryState["state"];
}

function readDeliveries(dataDir: string): Map<string, DeliveryState[]> {
  const database = new DatabaseSync(join(dataDir, "auspex.db"), { readOnly: true });
  try {
    const rows = database
      .prepare(
        `select prediction.id as prediction_id, delivery.id, delivery.revision, delivery.terminal, delivery.state
         from prediction left join delivery on delivery.prediction_id = prediction.id
         where prediction.webhook is not null`,
      )
      // The columns are those that the statement names.
      .all() as unknown as DeliveryRow[];
    const byPrediction = new Map<string, DeliveryState[]>();
    for (const { prediction_id, id, revision, terminal, state } of rows) {
      const own = byPrediction.get(prediction_id) ?? [];
      byPrediction.set(prediction_id, own);
      if (id !== null) own.push({ webhookId: id, revision, terminal: terminal === 1, state });
    }
    return byPrediction;
  } finally {
    database.close();
  }
}
