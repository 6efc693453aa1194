/** What the server holds when a run is over: read through its API, and what that does not show from its database. */
import { copyFileSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { Code, ConnectError } from "@connectrpc/connect";
import { PredictionService } from "../../gen/auspex/v1/prediction_pb.ts";
import { clientOf, type TestServer } from "../harness.ts";
import { seenBy } from "../processes.ts";
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
  return { predictions, deliveries: readDeliveries(server) };
}

interface DeliveryRow {
  readonly prediction_id: string;
  readonly id: string | null;
  readonly revision: number;
  readonly terminal: number;
  readonly state: DeliveryState["state"];
}

function readDeliveries({ process: { pid = 0 }, dataDir }: TestServer): Map<string, DeliveryState[]> {
  const database = openDatabase(pid, dataDir);
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

/** SQLite knows no way into another process's mounts: there, a copy is read. */
function openDatabase(pid: number, dataDir: string): DatabaseSync {
  const file = join(dataDir, "auspex.db");
  if (existsSync(file)) return new DatabaseSync(file, { readOnly: true });
  const copy = mkdtempSync(join(tmpdir(), "auspex-copy-"));
  try {
    // The log first: what is moved from it into the file meanwhile is then there twice instead of not at all.
    for (const end of ["-wal", ""]) copyFileSync(seenBy(pid, file + end), join(copy, `auspex.db${end}`));
    const database = new DatabaseSync(join(copy, "auspex.db"));
    // One file, which may be unlinked while it is open.
    database.exec("pragma journal_mode = delete");
    return database;
  } finally {
    rmSync(copy, { recursive: true });
  }
}
