/**
 * The dialect of Einstein Vision, image classification and detection, served under `/v2` (spec/einstein-vision.md)
 * and, in its older form, under what `/v1` had of it. The hosted service is gone; its documentation and its clients
 * say what it was.
 *
 * Of that API's calls, those that Auspex has no operation for answer 501: feedback in bulk, which only detection had,
 * reading text in pictures, and all of `/language`.
 */
import type { Dialect } from "../dialect.ts";
import { ACCOUNT_ROUTES } from "./einstein-vision/accounts.ts";
import { DATASET_ROUTES } from "./einstein-vision/datasets.ts";
import { openDoor, type Route } from "./einstein-vision/door.ts";
import { refuse } from "./einstein-vision/errors.ts";
import { PREDICTION_ROUTES } from "./einstein-vision/predictions.ts";
import { TRAINING_ROUTES } from "./einstein-vision/trainings.ts";

async function unserved(): Promise<never> {
  throw refuse("unserved");
}

const UNSERVED_ROUTES: readonly Route[] = [
  { method: "PUT", path: "/vision/bulkfeedback", handle: unserved },
  { method: "POST", path: "/vision/ocr", handle: unserved },
  ...(["GET", "POST", "PUT", "DELETE"] as const).map(
    (method): Route => ({ method, path: "/language/*", only: 2, handle: unserved }),
  ),
];

const ROUTES: readonly Route[] = [
  ...ACCOUNT_ROUTES,
  ...DATASET_ROUTES,
  ...TRAINING_ROUTES,
  ...PREDICTION_ROUTES,
  ...UNSERVED_ROUTES,
];

export const einsteinVision: Dialect = {
  name: "einstein-vision",
  prefixes: ["/v2", "/v1/vision", "/v1/oauth2", "/v1/apiusage"],
  register: (scope, context) => openDoor(scope, context, ROUTES),
};
