/** Pages of predictions, newest first, and counts: reads that may touch many rows. */
import { sql } from "kysely";
import { operation } from "./database.ts";
import type { PredictionRow } from "./schema.ts";
import { type Statement, statement, tables } from "./statement.ts";
import type { ListQuery } from "./store.ts";

const SUMMARY_COLUMNS = [
  "id",
  "principal",
  "model",
  "version",
  "status",
  "revision",
  "attempt",
  "deaths",
  "error",
  "created_at",
  "updated_at",
  "started_at",
  "ended_at",
  "setup_time",
  "execution_time",
  "deadline_at",
  "request_id",
] as const satisfies readonly (keyof PredictionRow)[];

export type SummaryRow = Pick<PredictionRow, (typeof SUMMARY_COLUMNS)[number]>;

interface PageParams {
  readonly principal: string;
  readonly model: string;
  readonly edge: string;
  readonly limit: number;
}

/** One statement for each combination of filters, so that each finds the index that is made for it. */
const pages = new Map<string, Statement<PageParams, SummaryRow>>();

function pageStatement({ model, status, before, after }: ListQuery): Statement<PageParams, SummaryRow> {
  const key = [model !== undefined, status, before !== undefined, after !== undefined].join();
  const built = pages.get(key) ?? buildPage({ model, status, before, after });
  pages.set(key, built);
  return built;
}

function buildPage({
  model,
  status,
  before,
  after,
}: Pick<ListQuery, "model" | "status" | "before" | "after">): Statement<PageParams, SummaryRow> {
  return statement<PageParams>()((place) => {
    let page = tables
      .selectFrom("prediction")
      .select(SUMMARY_COLUMNS)
      .where("principal", "=", place("principal"))
      .orderBy("id", after === undefined ? "desc" : "asc")
      .limit(place("limit"));
    if (model !== undefined) page = page.where("model", "=", place("model"));
    if (status !== undefined) page = page.where("status", "=", sql.lit(status));
    // Said as prediction_by_status says it, which covers every status but that.
    if (status !== undefined && status !== "succeeded") {
      page = page.where("status", "!=", sql.lit("succeeded"));
    }
    if (before !== undefined) page = page.where("id", "<", place("edge"));
    if (after !== undefined) page = page.where("id", ">", place("edge"));
    return page;
  });
}

export const listPredictions = operation("prediction.list", async (tx, query: ListQuery) => {
  const rows = await tx.all(pageStatement(query), {
    principal: query.principal,
    model: query.model ?? "",
    edge: query.before ?? query.after ?? "",
    limit: query.limit,
  });
  // Upwards the index gives the nearest first; the page still shows the newest first.
  return query.after === undefined ? rows : rows.reverse();
});

const modelCounts = statement<{ principal: string }>()((place) =>
  tables
    .selectFrom("prediction")
    .select(["model", (row) => row.fn.countAll<number>().as("rows")])
    .where("principal", "=", place("principal"))
    .groupBy("model"),
);

export const countByModel = operation("prediction.countByModel", (tx, args: { principal: string }) =>
  tx.all(modelCounts, args),
);
