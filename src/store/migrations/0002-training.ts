/** Datasets, trainings and accounts. Never edited once released: a change is a new migration. */
export const training = {
  version: 2,
  name: "training",
  sql: `
-- One sequence numbers datasets, labels, examples and imports.
create table sequence (
  name text not null primary key,
  value integer not null
) strict, without rowid;
insert into sequence (name, value) values ('dataset', 1000);

create table dataset (
  id integer not null primary key,
  principal text not null,
  name text not null,
  type text not null check (type in ('image', 'image-multi-label')),
  state text not null check (state in ('importing', 'ready', 'failed')),
  failure text not null,
  -- The import under way, whose examples do not count yet.
  import_id integer,
  duplicates integer not null,
  -- SkippedFiles of the last import as JSON.
  skipped text not null,
  created_at integer not null,
  updated_at integer not null,
  -- Set once its deletion was asked for: it is then unknown to everybody but its deletion.
  deleted_at integer
) strict;
create index dataset_of_principal on dataset (principal, id) where deleted_at is null;

create table label (
  id integer not null primary key,
  dataset_id integer not null references dataset (id) on delete cascade,
  principal text not null,
  name text not null
) strict;
create unique index label_name on label (dataset_id, name);

create table example (
  id integer not null primary key,
  dataset_id integer not null references dataset (id) on delete cascade,
  label_id integer not null references label (id) on delete cascade,
  principal text not null,
  name text not null,
  source text not null check (source in ('upload', 'feedback')),
  -- The import that it came with; null for one that came alone.
  import_id integer,
  blob text not null,
  media_type text not null,
  width integer not null,
  height integer not null,
  size_bytes integer not null,
  created_at integer not null
) strict;
create unique index example_once on example (label_id, blob);
create index example_of_dataset on example (dataset_id, id);
-- With import_id, so that counting what is not hidden reads nothing but the index.
create index example_of_label on example (label_id, id, import_id);
create index example_of_blob on example (blob);
create index example_of_import on example (import_id) where import_id is not null;
create unique index example_feedback_name on example (dataset_id, name) where source = 'feedback';

-- A zip that is to be taken up; gone when that has ended.
create table dataset_import (
  id integer not null primary key,
  dataset_id integer not null references dataset (id) on delete cascade,
  blob text,
  url text,
  -- 0 or 1: whether the dataset fails with it (its first zip) or keeps what it had.
  is_first integer not null check (is_first in (0, 1)),
  created_at integer not null,
  check ((blob is null) <> (url is null))
) strict;
create unique index dataset_import_of_dataset on dataset_import (dataset_id);
create index dataset_import_of_blob on dataset_import (blob) where blob is not null;

create table deletion (
  id text not null primary key,
  principal text not null,
  kind text not null check (kind in ('dataset', 'model')),
  deleted text not null,
  -- Of a trained model: its outside id; '' for a dataset.
  model_id text not null,
  state text not null check (state in ('queued', 'running', 'succeeded', 'failed')),
  progress real not null,
  failure text not null,
  created_at integer not null
) strict;
create index deletion_unfinished on deletion (id) where state in ('queued', 'running');

-- A model that trainings make versions of. Its name is never used again, also once it is deleted.
create table trained_model (
  name text not null primary key,
  principal text not null,
  id text not null,
  model_id text not null,
  dataset_id integer not null,
  type text not null check (type in ('image', 'image-multi-label')),
  created_at integer not null,
  deleted_at integer
) strict;
create unique index trained_model_id on trained_model (model_id);
create index trained_model_of_principal on trained_model (principal, id) where deleted_at is null;
create index trained_model_of_dataset on trained_model (dataset_id, id) where deleted_at is null;

create table training (
  id text not null primary key,
  principal text not null,
  model text not null references trained_model (name),
  name text not null,
  dataset_id integer not null,
  status text not null check (status in ('queued', 'running', 'succeeded', 'failed', 'canceled')),
  revision integer not null,
  attempt integer not null,
  progress real not null,
  failure text not null,
  -- TrainingOptions, TrainingStats and the newest EpochMetrics as JSON.
  options text not null,
  stats text,
  last_epoch text,
  params text not null,
  version integer not null,
  created_at integer not null,
  updated_at integer not null,
  started_at integer,
  ended_at integer,
  -- What the fit can go on from; dropped at the end. The last column, so that a read of the others is small.
  checkpoint blob,
  check ((status in ('succeeded', 'failed', 'canceled')) = (ended_at is not null)),
  check ((status = 'succeeded') = (version > 0)),
  check (status <> 'queued' or started_at is null)
) strict;
create index training_of_model on training (model, id);
create index training_unfinished on training (id) where status in ('queued', 'running');
-- One at a time for each dataset.
create unique index training_of_dataset on training (dataset_id) where status in ('queued', 'running');

create table epoch (
  training_id text not null references training (id) on delete cascade,
  epoch integer not null,
  -- Metrics as JSON.
  metrics text not null,
  -- EpochResult[] as JSON; '[]' but for the last one.
  results text not null,
  primary key (training_id, epoch)
) strict, without rowid;

-- What a feature extractor sees in a picture: float32, little endian.
create table embedding (
  extractor text not null,
  blob text not null,
  vector blob not null,
  primary key (extractor, blob)
) strict, without rowid;
create index embedding_of_blob on embedding (blob);

-- Refresh tokens by the SHA-256 of their text, lower-case hex.
create table refresh_token (
  hash text not null primary key,
  principal text not null,
  created_at integer not null
) strict, without rowid;
create index refresh_token_of_principal on refresh_token (principal);

create table usage (
  principal text not null,
  -- First moment of the calendar month, UTC.
  month integer not null,
  predictions integer not null,
  primary key (principal, month)
) strict, without rowid;
`,
} as const;
