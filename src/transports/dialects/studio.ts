/**
 * The dialect of Studio, chatflows by `POST /prediction/{id}`, served under `/api/v1` and without it (spec/studio.md).
 * The groups of its routes that Auspex has no operation for answer 501.
 */
import type { Dialect } from "../dialect.ts";
import { CHATBOT_ROUTES } from "./studio/chatbot.ts";
import { CHATFLOW_ROUTES } from "./studio/chatflows.ts";
import { DOCUMENT_ROUTES } from "./studio/documents.ts";
import { openDoor, type Route } from "./studio/door.ts";
import { MESSAGE_ROUTES } from "./studio/messages.ts";
import { PREDICTION_ROUTES } from "./studio/predictions.ts";

const ROUTES: readonly Route[] = [
  {
    method: "GET",
    path: "/ping",
    audience: "anybody",
    handle: async () => ({ body: { kind: "text", text: "pong" } }),
  },
  ...PREDICTION_ROUTES,
  ...CHATBOT_ROUTES,
  ...CHATFLOW_ROUTES,
  ...DOCUMENT_ROUTES,
  ...MESSAGE_ROUTES,
];

/** First parts of paths. */
const UNSERVED: readonly string[] = ["assistants", "document-store", "tools", "variables", "text-to-speech"];

const GROUPS: ReadonlySet<string> = new Set([
  ...ROUTES.map(({ path }) => path.split("/")[1] ?? ""),
  ...UNSERVED,
]);

export const studio: Dialect = {
  name: "studio",
  prefixes: ["/api/v1", ...[...GROUPS].map((group) => `/${group}`)],
  register: (scope, context) => openDoor(scope, context, ROUTES, UNSERVED),
};
