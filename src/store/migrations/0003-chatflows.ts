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
create index chatflow_of_file on chatflow (id) where from_file = 1;

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

-- Not bound to its flow by a foreign key: of a deleted flow it stays until its passages are gone (state abandoned).
create table upsert (
  number integer not null primary key autoincrement,
  id text not null,
  chatflow_id text not null,
  principal text not null,
  state text not null check (state in ('running', 'ended', 'forgotten', 'abandoned')),
  added integer not null,
  deleted integer not null,
  skipped integer not null,
  -- Passage[] as JSON.
  added_passages text not null,
  created_at integer not null
) strict;
create unique index upsert_id on upsert (id);
create index upsert_of_flow on upsert (chatflow_id, id);
create index upsert_running on upsert (number) where state = 'running';
create index upsert_abandoned on upsert (number) where state = 'abandoned';

-- What is searched together: a flow's own passages (chat_id ''), or those of one chat of it.
create table passage_scope (
  number integer not null primary key autoincrement,
  chatflow_id text not null references chatflow (id) on delete cascade,
  chat_id text not null
) strict;
create unique index passage_scope_of_chat on passage_scope (chatflow_id, chat_id);

create table passage (
  id integer not null primary key autoincrement,
  scope integer not null,
  -- Its upsert's number.
  upsert integer not null,
  source text not null,
  -- SHA-256 of the text.
  hash blob not null,
  text text not null,
  metadata text not null
) strict;
-- An upsert has each text of a document once.
create unique index passage_of_source on passage (scope, source, hash, upsert);
create index passage_of_upsert on passage (upsert);

-- The signs of the vectors' components, those of a scope side by side: what a search by meaning walks through.
create table passage_sign (
  scope integer not null,
  passage integer not null,
  upsert integer not null,
  signs blob not null,
  primary key (scope, passage)
) strict, without rowid;

-- Float32, little endian, L2-normalised.
create table passage_vector (
  passage integer not null primary key,
  vector blob not null
) strict;

-- Each word with its scope's number before it, see passage-words.ts. The text itself is in passage alone.
create virtual table passage_words using fts5(
  words, content = '', contentless_delete = 1, tokenize = "porter unicode61 categories 'L* N* Co Mn Mc'"
);
`,
} as const;
