/**
 * What this dialect answers instead of a result: `{"message": …}`, and the one table of its sentences. Those that the
 * API's documentation has stand as it has them; the others, marked "ours", are free to change.
 * (spec/einstein-vision.md §1.7)
 */
import { AuspexError, type ErrorCode, type FieldViolation } from "../../../domain/error.ts";

interface Row {
  readonly status: number;
  readonly message: string;
}

/** Documented sentences, and ours for what the documentation leaves open. */
export const REFUSALS = {
  invalidToken: { status: 401, message: "Invalid access token" },
  invalidScheme: { status: 401, message: "Invalid authentication scheme" },
  datasetNameMissing: {
    status: 400,
    message: "The 'name' parameter is required to create a dataset.",
  },
  zipMissing: {
    status: 400,
    message: "Uploading a dataset requires either the 'data' field or the 'path' field.",
  },
  zipDuplicated: {
    status: 400,
    message: "The 'data' parameter cannot be duplicated, nor sent along with the 'path' parameter.",
  },
  zipUnreachable: { status: 400, message: "Failed to download the dataset from the public URL." },
  datasetImporting: {
    status: 400,
    message: "The dataset is not yet available for update, try again once the dataset is ready.",
  },
  exampleIncomplete: {
    status: 400,
    message: "The 'name', 'labelId', and 'data' parameters are required to create an example.",
  },
  fileFormat: {
    status: 400,
    message:
      "File content must be provided in one of the supported file formats: [zip, octet-stream, jpeg, png, binary]",
  },
  modelType: { status: 400, message: "Bad Request: modelType not supported for this endpoint" },
  // Ours from here on.
  feedbackIncomplete: {
    status: 400,
    message: "The 'modelId', 'data', and 'expectedLabel' parameters are required to create feedback.",
  },
  trainIncomplete: {
    status: 400,
    message: "The 'datasetId' and 'name' parameters are required to train a model.",
  },
  modelIdMissing: { status: 400, message: "The 'modelId' parameter is required." },
  sampleMissing: {
    status: 400,
    message:
      "An image is required: one of the 'sampleLocation', 'sampleContent' and 'sampleBase64Content' parameters.",
  },
  sampleDuplicated: {
    status: 400,
    message:
      "Only one of the 'sampleLocation', 'sampleContent' and 'sampleBase64Content' parameters can be sent, and once.",
  },
  sampleLocation: {
    status: 400,
    message: "The 'sampleLocation' parameter must be an http or https URL of at most 2,048 characters.",
  },
  sampleBase64: { status: 400, message: "The 'sampleBase64Content' parameter is not base64." },
  pictureFormat: { status: 400, message: "The image must be a PNG or a JPEG." },
  fileDuplicated: { status: 400, message: "The 'data' parameter cannot be duplicated." },
  contentType: { status: 400, message: "The Content-Type must be multipart/form-data." },
  contentTypeOrJson: {
    status: 400,
    message: "The Content-Type must be multipart/form-data or application/json.",
  },
  contentTypeForm: {
    status: 400,
    message: "The Content-Type must be application/x-www-form-urlencoded.",
  },
  multipart: {
    status: 400,
    message: "The body is not multipart/form-data with the boundary that the Content-Type names.",
  },
  manyParts: { status: 413, message: "The body has too many parts or values." },
  json: { status: 400, message: "The body is not a JSON object of strings, numbers and booleans." },
  trainParams: { status: 400, message: "The 'trainParams' parameter must be a JSON object in a string." },
  globalDataset: { status: 400, message: "There are no global datasets to train with." },
  grantType: {
    status: 400,
    message:
      "The 'grant_type' parameter must be urn:ietf:params:oauth:grant-type:jwt-bearer or refresh_token.",
  },
  timeout: { status: 504, message: "The prediction was not finished in time." },
  unserved: { status: 501, message: "This server has no such operation." },
  notFound: { status: 404, message: "Not found" },
  methodNotAllowed: { status: 405, message: "Method not allowed" },
} as const satisfies Record<string, Row>;

/** An answer other than success, thrown from where it is found to the scope's error handler. */
export class Refused extends Error {
  override readonly name = "Refused";
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  constructor({ status, message }: Row, headers: Readonly<Record<string, string>> = {}, cause?: unknown) {
    super(message, { cause });
    this.status = status;
    this.headers = headers;
  }
}

export function refuse(
  reason: keyof typeof REFUSALS,
  headers: Readonly<Record<string, string>> = {},
): Refused {
  return new Refused(REFUSALS[reason], headers);
}

/** A model that is not there, is somebody else's, or has never been trained to its end. */
export function modelNotFound(modelId: string): Refused {
  return new Refused({ status: 404, message: `Model not found: the model ID ${modelId} can't be found.` });
}

/** A parameter that cannot be what it is. */
export function badParameter(name: string, description: string): Refused {
  return new Refused({ status: 400, message: `The '${name}' parameter ${description}.` });
}

/** Error code → status, and the fixed sentence where the operation's own is not for outside. */
const STATUS = {
  invalid_argument: { status: 400 },
  deadline_exceeded: { status: 504 },
  not_found: { status: 404 },
  already_exists: { status: 400 },
  permission_denied: { status: 403 },
  resource_exhausted: { status: 429 },
  failed_precondition: { status: 400 },
  canceled: { status: 499 },
  aborted: { status: 409 },
  unimplemented: REFUSALS.unserved,
  internal: { status: 500, message: "Internal server error" },
  unavailable: { status: 503 },
  unauthenticated: REFUSALS.invalidToken,
} as const satisfies Record<ErrorCode, { readonly status: number; readonly message?: string }>;

/** Seconds, for a caller who is turned away without a time to come back. */
const RETRY_AFTER_S = 1;

/** Converts whatever was thrown, once, at the edge. */
export function refusalOf(thrown: unknown): Refused {
  if (thrown instanceof Refused) return thrown;
  const error = AuspexError.from(thrown);
  const row: { readonly status: number; readonly message?: string } = STATUS[error.code];
  const headers: Record<string, string> = {};
  if (error.code === "resource_exhausted" || error.code === "unavailable") {
    headers["retry-after"] = String(Math.max(RETRY_AFTER_S, Math.ceil((error.retryAfterMs ?? 0) / 1000)));
  }
  const message = row.message ?? (error.violations.length > 0 ? complaintsOf(error) : error.message);
  return new Refused({ status: row.status, message }, headers, thrown);
}

function complaintsOf({ violations }: AuspexError): string {
  return violations
    .map(({ field, description }: FieldViolation) => {
      const colon = PREDICATE.test(description) ? "" : ":";
      return `The '${parameterOf(field)}' parameter${colon} ${description}.`;
    })
    .join(" ");
}

/** Most complaints go on where the field's name ends; the others are sentences. */
const PREDICATE = /^(?:is|has|have|must|cannot|holds) /;

/** Which parameter a field of our requests came from, where it has another name. */
const PARAMETERS: ReadonlyMap<string, string> = new Map([
  ["model", "modelId"],
  ["zip", "data"],
  ["zip.url", "path"],
  ["zip.data", "data"],
  ["options.epochs", "epochs"],
  ["options.learning_rate", "learningRate"],
  ["options.train_split_ratio", "trainParams"],
  ["params", "trainParams"],
  ["input.image", "sampleLocation"],
  ['files["image"]', "sampleContent"],
  ["input.top_k", "numResults"],
  ["page_size", "count"],
  ["skip", "offset"],
  // The token endpoint's own names have underscores.
  ["valid_for", "valid_for"],
  ["refresh_token", "refresh_token"],
]);

export function parameterOf(field: string): string {
  const known = PARAMETERS.get(field);
  if (known !== undefined) return known;
  const [name = ""] = field.split(/[.[]/, 1);
  return name.replaceAll(/_([a-z])/g, (_all, letter: string) => letter.toUpperCase());
}
