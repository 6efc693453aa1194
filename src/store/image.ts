/** Rows of stored pictures; their bytes are blobs. */
import { sql } from "kysely";
import type { ImageId } from "../domain/id.ts";
import type { Image, ImageState } from "../domain/image.ts";
import { type Database, operation } from "./database.ts";
import type { ImageRow } from "./schema.ts";
import { places, statement, tables } from "./statement.ts";
import type { ImageStore } from "./store.ts";

const STATE_COLUMNS = [
  "state",
  "blob",
  "media_type",
  "width",
  "height",
  "size_bytes",
  "reason",
] as const satisfies readonly (keyof ImageRow)[];

type StateColumns = Pick<ImageRow, (typeof STATE_COLUMNS)[number]>;

const COLUMNS = [
  ...STATE_COLUMNS,
  "id",
  "principal",
  "source_url",
  "prediction_id",
  "created_at",
] as const satisfies readonly (keyof ImageRow)[];

export const insertImage = statement<ImageRow>()((place) =>
  tables.insertInto("image").values(places(COLUMNS, place)),
);

export const insertImageRow = operation("image.insert", (tx, row: ImageRow) => tx.run(insertImage, row));

const byId = statement<{ principal: string; id: string }>()((place) =>
  tables
    .selectFrom("image")
    .selectAll()
    .where("id", "=", place("id"))
    .where("principal", "=", place("principal")),
);

export const getImage = operation("image.get", (tx, args: { principal: string; id: string }) =>
  tx.get(byId, args),
);

const endImport = statement<StateColumns & { id: string }>()((place) =>
  tables
    .updateTable("image")
    .set(places(STATE_COLUMNS, place))
    .where("id", "=", place("id"))
    .where("state", "=", sql.lit("importing")),
);

export const settleImage = operation(
  "image.settle",
  async (tx, args: StateColumns & { id: string }) => (await tx.run(endImport, args)) > 0,
);

const unended = statement<object>()(() =>
  tables.selectFrom("image").selectAll().where("state", "=", sql.lit("importing")).orderBy("id"),
);

export const listImporting = operation("image.importing", (tx, _: object) => tx.all(unended, {}));

export function imageStore(database: Database): ImageStore {
  return {
    insert: async (image) => {
      await database.write(insertImageRow, imageRow(image));
    },
    get: async (principal, id) => {
      const row = await database.read(getImage, { principal, id });
      return row && imageFrom(row);
    },
    settle: ({ id, state }) => database.write(settleImage, { id, ...stateColumns(state) }),
    importing: async () => (await database.read(listImporting, {})).map(imageFrom),
  };
}

export function imageRow(image: Image): ImageRow {
  return {
    ...stateColumns(image.state),
    id: image.id,
    principal: image.principal,
    source_url: image.sourceUrl,
    prediction_id: image.predictionId,
    created_at: image.createdAt,
  };
}

const NO_PICTURE = { blob: null, media_type: null, width: null, height: null, size_bytes: null };

function stateColumns(state: ImageState): StateColumns {
  switch (state.kind) {
    case "importing":
      return { state: state.kind, ...NO_PICTURE, reason: null };
    case "failed":
      return { state: state.kind, ...NO_PICTURE, reason: state.reason };
    case "ready":
      return {
        state: state.kind,
        blob: state.blob,
        media_type: state.mediaType,
        width: state.width,
        height: state.height,
        size_bytes: state.sizeBytes,
        reason: null,
      };
    default:
      return state satisfies never;
  }
}

function imageFrom(row: ImageRow): Image {
  return {
    // The row was written from a domain record; ids come back as they went in.
    id: row.id as ImageId,
    principal: row.principal,
    state: stateFrom(row),
    sourceUrl: row.source_url,
    predictionId: row.prediction_id,
    createdAt: row.created_at,
  };
}

function stateFrom(row: StateColumns): ImageState {
  switch (row.state) {
    case "importing":
      return { kind: row.state };
    case "failed":
      return { kind: row.state, reason: row.reason ?? "" };
    case "ready":
      return {
        kind: row.state,
        blob: row.blob ?? "",
        mediaType: row.media_type ?? "",
        width: row.width ?? 0,
        height: row.height ?? 0,
        sizeBytes: row.size_bytes ?? 0,
      };
    default:
      return row.state satisfies never;
  }
}
