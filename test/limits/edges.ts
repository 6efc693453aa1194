/** For each limit of requests a call that uses so much of it, and the field that the refusal names. */
import { PIXEL, type Request } from "../access/rpcs.ts";

export interface Edge {
  /** `DatasetService.CreateDataset` */
  readonly rpc: string;
  /** As the refusal calls it. */
  readonly field: string;
  /** The smallest step by which the limit is passed; 1 unless given, below 0 for the lower end of a range. */
  readonly step?: number;
  readonly request: (n: number, flow: string) => Request;
}

const text = (n: number) => "x".repeat(n);
const list = <T>(n: number, item: T): T[] => Array<T>(n).fill(item);
const seconds = (ms: number) => `${ms / 1000}s`;
const named = <T>(n: number, item: T) => Object.fromEntries(list(n, item).map((one, i) => [`k${i}`, one]));
const DATA = Buffer.from("some text").toString("base64");
/** A picture with nothing behind it, so many bytes together. */
const padded = (n: number) =>
  Buffer.concat([Buffer.from(PIXEL, "base64"), Buffer.alloc(n)], n).toString("base64");
const SCALAR = { dtype: "DATA_TYPE_UINT8", data: "AA==" };
const document = { name: "a.txt", content: DATA };
const upload = { name: "a.txt", content: DATA };
const NO_ID = "01900000-0000-7000-8000-000000000000";

/** JSON with an object inside of an object, so many levels deep. */
function nested(levels: number): Request {
  let value: Request = {};
  for (let i = 1; i < levels; i++) value = { x: value };
  return value;
}

const prediction = (field: string, request: (n: number) => Request): Edge => ({
  rpc: "PredictionService.CreatePrediction",
  field,
  request: (n) => ({ model: "nobody/nothing", ...request(n) }),
});
const training = (field: string, request: (n: number) => Request): Edge => ({
  rpc: "TrainingService.StartTraining",
  field,
  request: (n) => ({ datasetId: 999, name: "a", ...request(n) }),
});
const dataset = (field: string, request: (n: number) => Request): Edge => ({
  rpc: "DatasetService.CreateDataset",
  field,
  request: (n) => ({ name: "a", type: "DATASET_TYPE_IMAGE", ...request(n) }),
});
const ofFlow = (rpc: string, field: string, request: (n: number) => Request): Edge => ({
  rpc: `ChatflowService.${rpc}`,
  field,
  request: (n, chatflowId) => ({ chatflowId, ...request(n) }),
});
const question = (field: string, asked: (n: number) => Request): Edge => ({
  rpc: "ChatflowService.CreateAnswer",
  field: `question.${field}`,
  request: (n, chatflowId) => ({ chatflowId, question: { text: "what?", ...asked(n) } }),
});
const definition = (field: string, defined: (n: number) => Request): Edge => ({
  rpc: "ChatflowService.CreateChatflow",
  field: `definition.${field}`,
  request: (n) => ({ name: "a", definition: { extractive: {}, ...defined(n) } }),
});
const openai = (field: string, given: (n: number) => Request): Edge => ({
  rpc: "ChatflowService.CreateChatflow",
  field: `definition.openai.${field}`,
  request: (n) => ({
    name: "a",
    definition: { openai: { baseUrl: "https://models.example/v1", model: "m", ...given(n) } },
  }),
});
const validFor: Edge = {
  rpc: "AccountService.CreateToken",
  field: "valid_for",
  request: (n) => ({ refreshToken: "x", validFor: seconds(n) }),
};
const learningRate = training("options.learning_rate", (n) => ({ options: { learningRate: n } }));
const chunkSize = definition("retriever.chunk_size", (n) => ({
  retriever: { chunkSize: n, chunkOverlap: 0 },
}));
const period = definition("rate_limit.period", (n) => ({
  rateLimit: { questions: 1, period: seconds(n) },
}));
const lead = (field: string, of: (n: number) => Request) =>
  ofFlow("CreateLead", field, (n) => ({ chatId: "c", email: "a@example.org", ...of(n) }));
const upsert = (field: string, of: (n: number) => Request) =>
  ofFlow("UpsertDocuments", field, (n) => ({ documents: [{ ...document, ...of(n) }] }));

const CHECK = "services/check.ts";
const VALIDATION = "services/validation.ts";
const FLOWS = "services/chatflow-checks.ts";
const DEFINITION = "services/chatflow-definition.ts";
const DOCUMENTS = "services/document-checks.ts";
const ASKED = "services/flow/asked.ts";

/** By the keys of `REQUEST_LIMITS`, and by settings. */
export const EDGES: Readonly<Record<string, Edge>> = {
  [`${VALIDATION} FILES_MAX`]: prediction("files", (n) => ({ files: named(n, DATA) })),
  [`${VALIDATION} TENSORS_MAX`]: prediction("tensors", (n) => ({ tensors: named(n, SCALAR) })),
  [`${VALIDATION} DIMENSIONS_MAX`]: prediction('tensors["k0"].shape', (n) => ({
    tensors: named(1, { ...SCALAR, shape: list(n, 1) }),
  })),
  [`${VALIDATION} TASKS_MAX`]: prediction("tasks", (n) => ({ tasks: list(n, "tensor") })),
  [`${VALIDATION} KEY_LENGTH_MAX`]: prediction("files", (n) => ({ files: { [text(n)]: DATA } })),
  [`${VALIDATION} REQUEST_ID_LENGTH_MAX`]: prediction("request_id", (n) => ({ requestId: text(n) })),
  [`${VALIDATION} MODEL_LENGTH_MAX`]: prediction("model", (n) => ({ model: text(n), deferResolution: true })),
  [`${VALIDATION} SECRET_LENGTH_MAX`]: prediction("webhook.secret", (n) => ({
    webhook: { url: "https://hooks.example/", secret: text(n) },
  })),
  [`${VALIDATION} DEADLINE_MAX_MS`]: prediction("deadline", (n) => ({ deadline: seconds(n) })),
  [`${VALIDATION} PUBLISHED_FILES_MAX`]: {
    rpc: "ModelService.PublishModelVersion",
    field: "files",
    request: (n) => ({ model: "nobody/nothing", files: named(n, "") }),
  },
  [`${CHECK} URL_LENGTH_MAX`]: {
    rpc: "ImageService.ImportImage",
    field: "url",
    request: (n) => ({ url: `https://pictures.invalid/${text(n)}`.slice(0, n) }),
  },
  [`${CHECK} PAGE_SIZE_MAX`]: {
    rpc: "PredictionService.ListPredictions",
    field: "page_size",
    request: (n) => ({ pageSize: n }),
  },
  [`${CHECK} PAGE_TOKEN_LENGTH_MAX`]: {
    rpc: "PredictionService.ListPredictions",
    field: "page_token",
    // JSON may have blanks at its end, so that the longest token is one that can be read.
    request: (n) => ({
      pageToken: Buffer.from(`["after","${NO_ID}"]`.padEnd(Math.ceil((n / 4) * 3)))
        .toString("base64url")
        .slice(0, n),
    }),
  },
  "services/token.ts TOKEN_LENGTH_MAX": {
    rpc: "AccountService.RevokeToken",
    field: "token",
    request: (n) => ({ token: text(n) }),
  },
  "services/account-checks.ts VALID_FOR_MS.min": { ...validFor, step: -1 },
  "services/account-checks.ts VALID_FOR_MS.max": validFor,
  "services/training-checks.ts PARAMS_LENGTH_MAX": training("params", (n) => ({ params: text(n) })),
  "services/training-checks.ts EPOCH_PAGE_SIZE_MAX": {
    rpc: "TrainingService.ListLearningCurve",
    field: "page_size",
    request: (n) => ({ model: "nobody/nothing", pageSize: n }),
  },
  "domain/training.ts EPOCHS_MAX": training("options.epochs", (n) => ({ options: { epochs: n } })),
  "domain/training.ts LEARNING_RATE.min": { ...learningRate, step: -1e-9 },
  "domain/training.ts LEARNING_RATE.max": { ...learningRate, step: 1e-3 },
  "domain/dataset.ts NAME_LENGTH_MAX": dataset("name", (n) => ({ name: text(n) })),
  "domain/dataset.ts LABELS_MAX": dataset("labels", (n) => ({ labels: Object.keys(named(n, 0)) })),
  "services/answer-checks.ts DEADLINE_MAX_MS": ofFlow("CreateAnswer", "deadline", (n) => ({
    ...{ question: { text: "what?" }, deadline: seconds(n) },
  })),
  "services/answer-checks.ts REQUEST_ID_LENGTH_MAX": ofFlow("CreateAnswer", "request_id", (n) => ({
    ...{ question: { text: "what?" }, requestId: text(n) },
  })),
  [`${FLOWS} FLOW_PAGE_MAX`]: {
    rpc: "ChatflowService.ListChatflows",
    field: "page_size",
    request: (n) => ({ pageSize: n }),
  },
  [`${FLOWS} MESSAGE_PAGE_MAX`]: ofFlow("ListMessages", "page_size", (n) => ({ pageSize: n })),
  [`${FLOWS} FLOW_ID_LENGTH_MAX`]: {
    rpc: "ChatflowService.GetChatflow",
    field: "id",
    request: (n) => ({ id: text(n) }),
  },
  [`${FLOWS} FLOW_NAME_LENGTH_MAX`]: {
    rpc: "ChatflowService.CreateChatflow",
    field: "name",
    request: (n) => ({ name: text(n), definition: { extractive: {} } }),
  },
  [`${FLOWS} CHAT_ID_LENGTH_MAX`]: ofFlow("AbortAnswers", "chat_id", (n) => ({ chatId: text(n) })),
  [`${FLOWS} UPSERTS_MAX`]: {
    rpc: "ChatflowService.DeleteUpserts",
    field: "ids",
    request: (n) => ({ ids: list(n, NO_ID) }),
  },
  [`${FLOWS} COMMENT_LENGTH_MAX`]: ofFlow("RateMessage", "comment", (n) => ({
    ...{ chatId: "c", messageId: NO_ID, value: "RATING_VALUE_THUMBS_UP", comment: text(n) },
  })),
  [`${FLOWS} LEAD_NAME_LENGTH_MAX`]: lead("name", (n) => ({ name: text(n) })),
  [`${FLOWS} EMAIL_LENGTH_MAX`]: lead("email", (n) => ({ email: text(n) })),
  [`${FLOWS} PHONE_LENGTH_MAX`]: lead("phone", (n) => ({ phone: text(n) })),
  [`${DOCUMENTS} DOCUMENTS_MAX`]: ofFlow("UpsertDocuments", "documents", (n) => ({
    documents: list(n, document),
  })),
  [`${DOCUMENTS} ATTACHMENTS_MAX`]: ofFlow("CreateAttachments", "documents", (n) => ({
    ...{ chatId: "c", documents: list(n, document) },
  })),
  [`${DOCUMENTS} NAME_LENGTH_MAX`]: upsert("documents[0].name", (n) => ({ name: `${text(n - 4)}.txt` })),
  [`${DOCUMENTS} MEDIA_TYPE_LENGTH_MAX`]: upsert("documents[0].media_type", (n) => ({
    mediaType: `text/plain;${text(n - 11)}`,
  })),
  [`${DOCUMENTS} METADATA_BYTES_MAX`]: upsert("documents[0].metadata", (n) => ({
    metadata: { k: text(n - '{"k":""}'.length) },
  })),
  [`${DEFINITION} WINDOW_MAX`]: definition("memory.window", (n) => ({ memory: { window: n } })),
  [`${DEFINITION} PASSAGES_MAX`]: definition("retriever.top_k", (n) => ({ retriever: { topK: n } })),
  [`${DEFINITION} CHUNK_SIZE.min`]: { ...chunkSize, step: -1 },
  [`${DEFINITION} CHUNK_SIZE.max`]: chunkSize,
  [`${DEFINITION} PERIOD_MS.min`]: { ...period, step: -1 },
  [`${DEFINITION} PERIOD_MS.max`]: period,
  [`${DEFINITION} LABELS_MAX`]: definition("picture.top_k", (n) => ({
    picture: { model: "auspex/mobilenet-tiny", topK: n },
  })),
  [`${DEFINITION} SENTENCES_MAX`]: definition("extractive.sentences", (n) => ({
    extractive: { sentences: n },
  })),
  [`${DEFINITION} TOKENS_MAX`]: openai("max_tokens", (n) => ({ maxTokens: n })),
  [`${DEFINITION} TEMPERATURE_MAX`]: {
    ...openai("temperature", (n) => ({ temperature: n })),
    step: 0.001,
  },
  [`${DEFINITION} TIMEOUT_MAX_MS`]: openai("timeout", (n) => ({ timeout: seconds(n) })),
  [`${DEFINITION} RETRIES_MAX`]: openai("retries", (n) => ({ retries: n })),
  [`${DEFINITION} PROMPT_LENGTH_MAX`]: openai("system_prompt", (n) => ({ systemPrompt: text(n) })),
  [`${DEFINITION} TEXT_LENGTH_MAX`]: definition("origin_refusal", (n) => ({ originRefusal: text(n) })),
  [`${DEFINITION} NAME_LENGTH_MAX`]: openai("model", (n) => ({ model: text(n) })),
  [`${DEFINITION} CHATBOT_BYTES_MAX`]: definition("chatbot", (n) => ({
    chatbot: { k: text(n - '{"k":""}'.length) },
  })),
  [`${DEFINITION} ORIGINS_MAX`]: definition("allowed_origins", (n) => ({
    allowedOrigins: list(n, "https://example.org"),
  })),
  [`${DEFINITION} QUESTIONS_MAX`]: definition("rate_limit.questions", (n) => ({
    rateLimit: { questions: n, period: "60s" },
  })),
  [`${DEFINITION} FOLLOW_UP_PROMPTS_MAX`]: definition("follow_up_prompts", (n) => ({
    followUpPrompts: list(n, "And then?"),
  })),
  [`${ASKED} QUESTION_LENGTH_MAX`]: question("text", (n) => ({ text: text(n) })),
  [`${ASKED} CHAT_ID_LENGTH_MAX`]: question("chat_id", (n) => ({ chatId: text(n) })),
  [`${ASKED} HISTORY_MAX`]: question("history", (n) => ({
    history: list(n, { role: "CHAT_ROLE_USER", content: "x" }),
  })),
  [`${ASKED} HISTORY_LENGTH_MAX`]: question("history", (n) => ({
    history: [{ role: "CHAT_ROLE_USER", content: text(n) }],
  })),
  [`${ASKED} UPLOADS_MAX`]: question("uploads", (n) => ({ uploads: list(n, upload) })),
  [`${ASKED} NAME_LENGTH_MAX`]: question("uploads[0].name", (n) => ({
    uploads: [{ ...upload, name: `${text(n - 4)}.txt` }],
  })),
  [`${ASKED} MEDIA_TYPE_LENGTH_MAX`]: question("uploads[0].media_type", (n) => ({
    uploads: [{ ...upload, mediaType: `text/plain;${text(n - 11)}` }],
  })),
  [`${ASKED} LEAD_EMAIL_LENGTH_MAX`]: question("lead_email", (n) => ({ leadEmail: text(n) })),
  "services/flow/overrides.ts PROMPT_LENGTH_MAX": question("overrides.systemPrompt", (n) => ({
    overrides: { systemPrompt: text(n) },
  })),
  "services/flow/overrides.ts PROMPT_VALUES_MAX": question("overrides.promptValues", (n) => ({
    overrides: { promptValues: named(n, "x") },
  })),
  WAIT_MAX: prediction("wait", (n) => ({ wait: seconds(n) })),
  MAX_JSON_DEPTH: prediction("input", (n) => ({ input: nested(n) })),
  MAX_TENSOR_ELEMENTS: prediction("tensors", (n) => ({
    tensors: named(1, { ...SCALAR, shape: [n], data: Buffer.alloc(n).toString("base64") }),
  })),
  MAX_EXAMPLE_BYTES: {
    rpc: "DatasetService.CreateExample",
    field: "data",
    request: (n) => ({ datasetId: 999, labelId: 999, name: "a", data: padded(n) }),
  },
};
