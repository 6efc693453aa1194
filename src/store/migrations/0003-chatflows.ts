/** Chatflows, what they know, and what was said. */
export const chatflows = {
  version: 3,
  name: "chatflows",
  sql: `
create table chatflow (
  id text not null primary key,
  principal text not null,
  name text not null,
  version integer not null,
  -- ChatflowDefinition as JSON.
  definition text not null,
  from_file integer not null,
  created_at integer not null,
  updated_at integer not null
) strict;
create index chatflow_of_principal on chatflow (principal, id);

-- Definitions as they were: answers end with the version that they began with.
create table chatflow_version (
  chatflow_id text not null references chatflow (id) on delete cascade,
  version integer not null,
  definition text not null,
  primary key (chatflow_id, version)
) strict, without rowid;

-- Keys by the SHA-256 of their text, lower-case hex.
create table chatflow_key (
  id text not null primary key,
  chatflow_id text not null references chatflow (id) on delete cascade,
  name text not null,
  hash text not null,
  created_at integer not null
) strict;
create unique index chatflow_key_hash on chatflow_key (hash);
create index chatflow_key_of_flow on chatflow_key (chatflow_id, id);

create table chat_message (
  position integer not null primary key autoincrement,
  id text not null,
  chatflow_id text not null references chatflow (id) on delete cascade,
  role text not null check (role in ('user', 'api')),
  content text not null,
  chat_id text not null,
  session_id text not null,
  prediction_id text not null,
  failure text not null,
  lead_email text not null,
  memory_type text not null,
  -- Source documents, uploads and follow-up prompts as JSON.
  details text not null,
  created_at integer not null
) strict;
create unique index chat_message_id on chat_message (id);
create index chat_message_of_session on chat_message (chatflow_id, session_id, position);
create index chat_message_of_chat on chat_message (chatflow_id, chat_id, position);
create index chat_message_of_flow on chat_message (chatflow_id, position);

create table rating (
  id text not null primary key,
  chatflow_id text not null,
  message_id text not null references chat_message (id) on delete cascade,
  chat_id text not null,
  value text not null check (value in ('up', 'down')),
  comment text not null,
  created_at integer not null
) strict;
create unique index rating_of_message on rating (message_id);
create index rating_of_flow on rating (chatflow_id, id);

create table lead (
  id text not null primary key,
  chatflow_id text not null references chatflow (id) on delete cascade,
  chat_id text not null,
  name text not null,
  email text not null,
  phone text not null,
  created_at integer not null
) strict;
create index lead_of_flow on lead (chatflow_id, id);

create table chat_file (
  chatflow_id text not null references chatflow (id) on delete cascade,
  chat_id text not null,
  name text not null,
  media_type text not null,
  blob text not null,
  size_bytes integer not null,
  created_at integer not null,
  primary key (chatflow_id, chat_id, name)
) strict, without rowid;
create index chat_file_of_blob on chat_file (blob);

create table upsert (
  id text not null primary key,
  chatflow_id text not null references chatflow (id) on delete cascade,
  principal text not null,
  state text not null check (state in ('running', 'ended', 'forgotten')),
  added integer not null,
  deleted integer not null,
  skipped integer not null,
  -- Passage[] as JSON.
  added_passages text not null,
  created_at integer not null
) strict;
create index upsert_of_flow on upsert (chatflow_id, id) where state = 'ended';
create index upsert_running on upsert (id) where state = 'running';
`,
} as const;
