/** The first schema. Never edited once released: a change is a new migration. */
export const predictions = {
  version: 1,
  name: "predictions",
  sql: `
create table prediction (
  id text not null primary key,
  principal text not null,
  model text not null,
  version integer not null,
  status text not null check (status in ('pending', 'started', 'succeeded', 'failed', 'canceled')),
  revision integer not null,
  attempt integer not null,
  deaths integer not null,
  error text,
  created_at integer not null,
  updated_at integer not null,
  started_at integer,
  ended_at integer,
  setup_time integer,
  execution_time integer,
  deadline_at integer,
  request_id text not null,
  request_hash text not null,
  webhook text,
  lease_token text,
  lease_expires_at integer,
  input blob not null,
  output blob,
  -- A started prediction without a lease would never be claimed again, and a lease on any other would be a lie.
  check ((status = 'started') = (lease_token is not null)),
  check ((lease_token is null) = (lease_expires_at is null)),
  check ((status in ('succeeded', 'failed', 'canceled')) = (ended_at is not null)),
  check ((status = 'succeeded') = (output is not null)),
  check ((status = 'failed') = (error is not null))
) strict;

create unique index prediction_request on prediction (principal, request_id) where request_id <> '';
create index prediction_newest on prediction (principal, id);
create index prediction_by_model on prediction (principal, model, id);
-- Without the succeeded ones, which are most: whoever lists those finds them densely in prediction_newest.
create index prediction_by_status on prediction (principal, status, id) where status <> 'succeeded';
create index prediction_pending on prediction (id) where status = 'pending';
create index prediction_leased on prediction (lease_expires_at, id) where status = 'started';
create index prediction_ended on prediction (ended_at) where ended_at is not null;

create table delivery (
  id text not null primary key,
  prediction_id text not null references prediction (id) on delete cascade,
  principal text not null,
  revision integer not null,
  url text not null,
  secret text not null,
  format text not null check (format in ('auspex', 'wriftai')),
  terminal integer not null check (terminal in (0, 1)),
  created_at integer not null,
  state text not null check (state in ('due', 'delivered', 'abandoned')),
  attempts integer not null,
  next_at integer,
  reason text not null,
  taken_until integer not null,
  body text not null,
  check ((state = 'due') = (next_at is not null)),
  check (state = 'due' or taken_until = 0)
) strict;

create unique index delivery_of_prediction on delivery (prediction_id, revision);
create index delivery_due on delivery (next_at) where state = 'due' and taken_until = 0;
create index delivery_taken on delivery (taken_until) where taken_until > 0;

create table image (
  id text not null primary key,
  principal text not null,
  state text not null check (state in ('importing', 'ready', 'failed')),
  blob text,
  media_type text,
  width integer,
  height integer,
  size_bytes integer,
  reason text,
  source_url text not null,
  prediction_id text references prediction (id) on delete cascade,
  created_at integer not null,
  check ((state = 'ready') = (blob is not null)),
  check ((state = 'failed') = (reason is not null))
) strict;

create index image_of_prediction on image (prediction_id) where prediction_id is not null;
create index image_of_blob on image (blob) where blob is not null;
create index image_importing on image (id) where state = 'importing';

create table alias (
  principal text not null,
  alias text not null,
  target text not null,
  primary key (principal, alias)
) strict, without rowid;
`,
} as const;
