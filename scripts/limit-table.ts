/**
 * What the limits count, what happens at them, and which tests show their edges. Their values stand where they are
 * used and nowhere else: in `src/setting-table.ts`, or as constants of the sources, whose comments say why.
 */

export interface LimitRow {
  /** What is counted, in the plural: `files of one prediction`. */
  readonly of: string;
  /** Where the constant's comment does not say it. */
  readonly why?: string;
}

export interface EdgeRow extends LimitRow {
  readonly at: string;
  /** Name of the test, or of the group of tests, that stands at the edge. */
  readonly edge: string;
}

const SAME_AS_PREDICTION = "As for a prediction.";
const NAMES = "Longer than any name that a person gives.";
const TYPED = "Longer than any that is registered.";
const WHY_RATE = "Outside of it a head learns nothing, or forgets what it has learnt.";
const SHOWN = "What a chat window shows at once.";

/**
 * Of requests. Past one, the request is refused with INVALID_ARGUMENT (400 in the dialects), which names the field;
 * `test/limits/edges.test.ts` stands at each edge.
 */
export const REQUEST_LIMITS: Readonly<Record<string, LimitRow>> = {
  "services/validation.ts FILES_MAX": { of: "files of one prediction" },
  "services/validation.ts TENSORS_MAX": {
    of: "typed tensors of one prediction",
    why: "Models have a few inputs; each costs a look-up.",
  },
  "services/validation.ts DIMENSIONS_MAX": {
    of: "dimensions of a tensor",
    why: "Models use six at most; keeps products exact.",
  },
  "services/validation.ts TASKS_MAX": { of: "tasks that a model may have", why: "There are fewer tasks." },
  "services/validation.ts KEY_LENGTH_MAX": {
    of: "characters of an input's name",
    why: "Longer than inputs of models are called.",
  },
  "services/validation.ts REQUEST_ID_LENGTH_MAX": {
    of: "characters of a prediction's request_id",
    why: "A key of an index; seven times a UUID.",
  },
  "services/validation.ts MODEL_LENGTH_MAX": { of: "characters of a model whose resolution is deferred" },
  "services/validation.ts SECRET_LENGTH_MAX": {
    of: "characters of a webhook's secret",
    why: "Four times what its signature makes use of.",
  },
  "services/validation.ts DEADLINE_MAX_MS": { of: "ms of a prediction's deadline", why: "A day." },
  "services/validation.ts PUBLISHED_FILES_MAX": {
    of: "files of a published version",
    why: "All of them lie in memory.",
  },
  "services/check.ts URL_LENGTH_MAX": {
    of: "characters of a URL",
    why: "What browsers and servers commonly take.",
  },
  "services/check.ts PAGE_SIZE_MAX": { of: "rows of a page", why: "Bounds an answer's size." },
  "services/check.ts PAGE_TOKEN_LENGTH_MAX": {
    of: "characters of a page's token",
    why: "Several times the longest of ours.",
  },
  "services/account-checks.ts VALID_FOR_MS.min": { of: "ms that an access token is good for, at least" },
  "services/account-checks.ts VALID_FOR_MS.max": { of: "ms that an access token is good for" },
  "services/token.ts TOKEN_LENGTH_MAX": { of: "characters of a token or an assertion" },
  "services/training-checks.ts PARAMS_LENGTH_MAX": {
    of: "characters of a training's params",
    why: "They are kept as they came, for whoever reads them again.",
  },
  "services/training-checks.ts EPOCH_PAGE_SIZE_MAX": { of: "epochs of a page" },
  "domain/training.ts EPOCHS_MAX": { of: "epochs of a training", why: "It ends by itself long before." },
  "domain/training.ts LEARNING_RATE.min": {
    of: "(no unit) a training's learning rate, at least",
    why: WHY_RATE,
  },
  "domain/training.ts LEARNING_RATE.max": { of: "(no unit) a training's learning rate", why: WHY_RATE },
  "domain/dataset.ts NAME_LENGTH_MAX": { of: "characters of a dataset's name" },
  "domain/dataset.ts LABELS_MAX": { of: "labels of a dataset" },
  "services/answer-checks.ts DEADLINE_MAX_MS": { of: "ms of an answer's deadline" },
  "services/answer-checks.ts REQUEST_ID_LENGTH_MAX": {
    of: "characters of an answer's request_id",
    why: SAME_AS_PREDICTION,
  },
  "services/chatflow-checks.ts FLOW_PAGE_MAX": { of: "flows or upserts of a page" },
  "services/chatflow-checks.ts MESSAGE_PAGE_MAX": {
    of: "messages, ratings or leads of a page",
    why: "A few lines each.",
  },
  "services/chatflow-checks.ts FLOW_ID_LENGTH_MAX": { of: "characters of a flow's id" },
  "services/chatflow-checks.ts FLOW_NAME_LENGTH_MAX": { of: "characters of a flow's name", why: NAMES },
  "services/chatflow-checks.ts CHAT_ID_LENGTH_MAX": { of: "characters of a chat's id" },
  "services/chatflow-checks.ts UPSERTS_MAX": {
    of: "upserts that one call deletes",
    why: "A page of them; it is one transaction.",
  },
  "services/chatflow-checks.ts COMMENT_LENGTH_MAX": {
    of: "characters of a rating's comment",
    why: "Two pages.",
  },
  "services/chatflow-checks.ts LEAD_NAME_LENGTH_MAX": { of: "characters of a lead's name", why: NAMES },
  "services/chatflow-checks.ts EMAIL_LENGTH_MAX": { of: "characters of a lead's address" },
  "services/chatflow-checks.ts PHONE_LENGTH_MAX": {
    of: "characters of a lead's number",
    why: "Four times the longest number, for how it is written.",
  },
  "services/document-checks.ts DOCUMENTS_MAX": {
    of: "documents of one upsert",
    why: "An upsert is one transaction; more are another call.",
  },
  "services/document-checks.ts ATTACHMENTS_MAX": { of: "documents of one call that attaches them" },
  "services/document-checks.ts NAME_LENGTH_MAX": { of: "characters of a document's name" },
  "services/document-checks.ts MEDIA_TYPE_LENGTH_MAX": {
    of: "characters of a document's media type",
    why: TYPED,
  },
  "services/document-checks.ts METADATA_BYTES_MAX": { of: "bytes of a document's metadata, as JSON" },
  "services/chatflow-definition.ts WINDOW_MAX": {
    of: "turns that a flow remembers",
    why: "All of them are sent with every question.",
  },
  "services/chatflow-definition.ts PASSAGES_MAX": {
    of: "passages that a retriever finds",
    why: "All of them are sent with the question.",
  },
  "services/chatflow-definition.ts CHUNK_SIZE.min": {
    of: "characters of a passage, at least",
    why: "A sentence; less cannot be found by what it says.",
  },
  "services/chatflow-definition.ts CHUNK_SIZE.max": {
    of: "characters of a passage",
    why: "Several times what a model of embeddings reads.",
  },
  "services/chatflow-definition.ts PERIOD_MS.min": {
    of: "ms of a flow's rate limit, at least",
    why: "Shorter ones are told in questions a second.",
  },
  "services/chatflow-definition.ts PERIOD_MS.max": {
    of: "ms of a flow's rate limit",
    why: "A day; it is kept in memory.",
  },
  "services/chatflow-definition.ts LABELS_MAX": {
    of: "labels of a picture that join a question",
    why: "What is less probable than the twentieth says nothing.",
  },
  "services/chatflow-definition.ts SENTENCES_MAX": {
    of: "sentences of an extractive answer",
    why: "More is a page, not an answer.",
  },
  "services/chatflow-definition.ts TOKENS_MAX": {
    of: "tokens of a language model's answer",
    why: "Longer than any answer that is read.",
  },
  "services/chatflow-definition.ts TEMPERATURE_MAX": {
    of: "(no unit) a language model's temperature",
    why: "The API's own.",
  },
  "services/chatflow-definition.ts TIMEOUT_MAX_MS": {
    of: "ms that a language model may take",
    why: "Ten minutes: nobody waits for longer.",
  },
  "services/chatflow-definition.ts RETRIES_MAX": {
    of: "further tries of a language model",
    why: "The waits between them take 16 s together.",
  },
  "services/chatflow-definition.ts PROMPT_LENGTH_MAX": { of: "characters of a flow's system prompt" },
  "services/chatflow-definition.ts TEXT_LENGTH_MAX": { of: "characters of a flow's own words" },
  "services/chatflow-definition.ts NAME_LENGTH_MAX": {
    of: "characters of a language model's name",
    why: "Longer than any is called.",
  },
  "services/chatflow-definition.ts CHATBOT_BYTES_MAX": {
    of: "bytes of a chat window's settings, as JSON",
    why: "Every window asks for them.",
  },
  "services/chatflow-definition.ts ORIGINS_MAX": {
    of: "origins that a flow allows",
    why: "Each is compared with every page's.",
  },
  "services/chatflow-definition.ts QUESTIONS_MAX": {
    of: "questions of a flow's rate limit",
    why: "More is no limit.",
  },
  "services/chatflow-definition.ts FOLLOW_UP_PROMPTS_MAX": { of: "follow-up prompts of a flow", why: SHOWN },
  "services/flow/asked.ts QUESTION_LENGTH_MAX": {
    of: "characters of a question",
    why: "Some 8,000 tokens; more is a document.",
  },
  "services/flow/asked.ts CHAT_ID_LENGTH_MAX": {
    of: "characters of a question's chat or session",
    why: "Callers choose them; they are keys of an index.",
  },
  "services/flow/asked.ts HISTORY_MAX": {
    of: "messages of a question's history",
    why: "As many as a flow remembers.",
  },
  "services/flow/asked.ts HISTORY_LENGTH_MAX": { of: "characters of a question's history" },
  "services/flow/asked.ts UPLOADS_MAX": { of: "uploads of a question", why: "More are a mistake." },
  "services/flow/asked.ts NAME_LENGTH_MAX": {
    of: "characters of an upload's name",
    why: "What file systems allow.",
  },
  "services/flow/asked.ts MEDIA_TYPE_LENGTH_MAX": { of: "characters of an upload's media type", why: TYPED },
  "services/flow/asked.ts LEAD_EMAIL_LENGTH_MAX": { of: "characters of whoever asks' address" },
  "services/flow/overrides.ts PROMPT_LENGTH_MAX": { of: "characters of a question's own system prompt" },
  "services/flow/overrides.ts PROMPT_VALUES_MAX": { of: "values for a prompt's places" },
};

const REFUSED = "INVALID_ARGUMENT, which names the field";
const FULL = "RESOURCE_EXHAUSTED (429); nothing is written";
const TOO_LARGE = "RESOURCE_EXHAUSTED (413), before it is read any further";
/** `test/limits/edges.test.ts` has them with those of requests. */
const BY_REQUEST = "one below its limit is taken, one above it is refused by name";

/** Settings that are limits. Defaults and reasons are those of `--help`. */
export const SETTING_LIMITS: Readonly<Record<string, EdgeRow>> = {
  RATE_LIMIT: {
    of: "predictions a second and principal",
    at: FULL,
    edge: "lets one second's worth through at once and refuses the next",
  },
  MONTHLY_QUOTA: {
    of: "predictions a month and principal",
    at: FULL,
    edge: "an account's predictions are counted through all doors, up to its quota, and refused ones are not written",
  },
  BATCH_MAX: {
    of: "rows of a batch",
    at: "the rest waits for the next",
    edge: "takes all that waits, up to the maximum, in order",
  },
  BATCH_DELAY: {
    of: "time that a batch waits",
    at: "it goes as it is",
    edge: "holds items back until the eldest has waited for it, and not after",
  },
  QUEUE_MAX: {
    of: "unfinished predictions",
    at: FULL,
    edge: "a full queue refuses, and takes again when there is room",
  },
  QUEUE_DELAY: {
    of: "time that a create that waits may queue",
    at: "RESOURCE_EXHAUSTED (429), with when to try again; nothing is written",
    edge: "QUEUE_DELAY: what would queue for as long is taken, what would for longer is refused",
  },
  RETENTION: {
    of: "time that a finished prediction is kept",
    at: "it is unknown",
    edge: "what is past its retention is unknown, its picture included",
  },
  LEASE: {
    of: "time that a claim is good for",
    at: "the prediction is claimed again",
    edge: "a prediction that is inserted as started is claimable when its lease ends",
  },
  RUN_MAX: {
    of: "time of one run",
    at: "the prediction fails",
    edge: "RUN_MAX: a run within it ends by itself, one beyond it fails",
  },
  BATCH_TIMEOUT: {
    of: "silence of a worker in a batch",
    at: "it is killed; the batch is tried again",
    edge: "kills a worker that hangs, and fails its job at the second time",
  },
  LOAD_TIMEOUT: {
    of: "time of loading a version",
    at: "the version is marked failed",
    edge: "F30 a version that hangs while it is tried fails in time, and the others serve",
  },
  WORKER_MEMORY: {
    of: "resident memory of a worker",
    at: "it is killed; its batch is tried again",
    edge: "F31 kills a worker that outgrows its memory, and fails that job alone",
  },
  WAIT_MAX: { of: "time that a create waits", at: REFUSED, edge: BY_REQUEST },
  DRAIN: {
    of: "time of running calls after SIGTERM",
    at: "they are cut",
    edge: "cuts what is not done within the grace",
  },
  MAX_BODY_BYTES: {
    of: "bytes of a request",
    at: TOO_LARGE,
    edge: "F20 a body at the limit is taken, one byte more is refused",
  },
  MAX_HEADER_BYTES: {
    of: "bytes of a request's headers",
    at: "431, or the stream is reset",
    edge: "F20 headers",
  },
  MAX_EXAMPLE_BYTES: { of: "bytes of an example", at: REFUSED, edge: BY_REQUEST },
  MAX_ZIP_BYTES: {
    of: "bytes of a zip from a URL",
    at: "the import fails",
    edge: "a zip from a URL that is no good says what any other would",
  },
  MAX_ZIP_ENTRIES: {
    of: "files of a zip",
    at: "INVALID_ARGUMENT, or the import fails",
    edge: "at its limits a zip is taken, one past them it is refused",
  },
  MAX_ZIP_UNPACKED: {
    of: "bytes of a zip, unpacked",
    at: "INVALID_ARGUMENT, or the import fails",
    edge: "at its limits a zip is taken, one past them it is refused",
  },
  MAX_ZIP_RATIO: {
    of: "unpacked to packed bytes of a file",
    at: "INVALID_ARGUMENT, or the import fails",
    edge: "at its limits a zip is taken, one past them it is refused",
  },
  MAX_PIXELS: {
    of: "pixels of a picture",
    at: "INVALID_ARGUMENT, or the prediction fails",
    edge: "F23 takes exactly the pixels that are allowed, and not one more",
  },
  MAX_TENSOR_ELEMENTS: { of: "elements of a request's tensors", at: REFUSED, edge: BY_REQUEST },
  MAX_JSON_DEPTH: { of: "levels of JSON", at: REFUSED, edge: BY_REQUEST },
  MAX_JSON_VALUES: {
    of: "values of JSON",
    at: TOO_LARGE,
    edge: "F20 JSON of more values than the limit is refused before it is parsed: …",
  },
  TRAININGS: {
    of: "trainings at once",
    at: "the next ones wait",
    edge: "TRAININGS: so many run at once, and the next one waits",
  },
  MAX_TRAINING_EXAMPLES: {
    of: "examples of a training",
    at: "the training fails",
    edge: "more examples than the server trains on",
  },
  MAX_UPSERT_PASSAGES: {
    of: "passages of an upsert",
    at: "INVALID_ARGUMENT; nothing is written",
    edge: "refused, with nothing written",
  },
  MAX_STREAMS: {
    of: "calls on one HTTP/2 connection",
    at: "further ones wait for the client, or are reset",
    edge: "MAX_STREAMS: one call more than that is not begun",
  },
  MAX_WATCHES: {
    of: "watches at once",
    at: "RESOURCE_EXHAUSTED (429)",
    edge: "MAX_WATCHES: one more is refused, and taken once one has ended",
  },
  MAX_ANSWERS: {
    of: "answers made at once",
    at: "four times as many may wait; then RESOURCE_EXHAUSTED",
    edge: "two are made at once, eight are under way, and the next is refused",
  },
  DISK_RESERVE: {
    of: "bytes of room on the data folder's disk",
    at: "nothing more is accepted: UNAVAILABLE (503); reading goes on",
    edge: "F9 a disk that fills up under load: nothing more is accepted while reading goes on, and it recovers by itself",
  },
  MAX_BYTES_IN_FLIGHT: {
    of: "bytes of bodies in memory",
    at: "RESOURCE_EXHAUSTED (429), unread",
    edge: "F20 I10 …: bodies beyond the budget are refused unread",
  },
  MAX_CONNECTIONS: {
    of: "connections to each port",
    at: "further ones are closed",
    edge: "MAX_CONNECTIONS: one more is closed, on either port",
  },
  REQUEST_TIMEOUT: {
    of: "time in which a request must arrive",
    at: "408 and the connection is closed; gRPC: DEADLINE_EXCEEDED",
    edge: "F27 …: closed in time, and nobody waits for it",
  },
  ANSWER_TIMEOUT: {
    of: "time in which nothing of an answer is taken",
    at: "the caller is cut off",
    edge: "F26 a client that never opens its window is cut off from each answer, and holds no memory",
  },
  IDLE_TIMEOUT: {
    of: "time of a gRPC connection without calls",
    at: "the connection is closed",
    edge: "F26 … idle connections cost little, do not hinder the others, and are closed",
  },
};

/** Settings that set no limit to anything. */
export const NO_LIMITS: ReadonlySet<string> = new Set([
  ...["HOST", "HTTP_PORT", "GRPC_PORT", "DATA_DIR", "MODELS_DIR", "CATALOGUE", "API_KEYS", "ACCOUNTS_FILE"],
  ...["JWT_SECRET", "INSECURE", "TLS_CERT", "TLS_KEY", "TLS_CLIENT_CA", "DIALECTS", "CORS_ORIGINS"],
  ...["EGRESS_ALLOW", "LLM_KEYS", "WORKERS", "THREADS", "RUNTIME", "FEATURE_EXTRACTOR", "LOG_LEVEL"],
]);
