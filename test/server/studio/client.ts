/** A client of the Studio dialect, no better than it must be. */
import type { TestServer } from "../../harness.ts";

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** undefined for what is no JSON. */
  // biome-ignore lint/suspicious/noExplicitAny: a test asserts what is in it
  readonly body: any;
}

export interface Call {
  readonly json?: unknown;
  readonly raw?: string | Uint8Array<ArrayBuffer> | FormData;
  readonly key?: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
}

export const ROOTS = ["/api/v1", ""] as const;

export async function call(
  server: Pick<TestServer, "url">,
  line: string,
  { json, raw, key, headers = {} }: Call = {},
): Promise<Reply> {
  const [method = "", path = ""] = line.split(" ");
  const body = json === undefined ? raw : JSON.stringify(json);
  const response = await fetch(`${server.url}${path}`, {
    method,
    headers: {
      ...(json !== undefined && { "content-type": "application/json" }),
      ...(key !== undefined && { authorization: `Bearer ${key}` }),
      ...headers,
    },
    ...(body !== undefined && { body }),
  });
  const text = await response.text();
  const isJson = response.headers.get("content-type")?.startsWith("application/json") ?? false;
  return {
    status: response.status,
    headers: response.headers,
    text,
    body: isJson ? JSON.parse(text) : undefined,
  };
}

/** The body of a refusal. */
export function refused(statusCode: number, message: unknown) {
  return { statusCode, success: false, message, error: message, stack: {} };
}

export interface FlowOptions {
  readonly definition?: object;
  readonly key?: string | undefined;
  readonly more?: object;
}

/** Creates a flow and answers its id. */
export async function createFlow(
  server: Pick<TestServer, "url">,
  { definition = {}, key, more = {} }: FlowOptions = {},
): Promise<string> {
  const flowData = JSON.stringify({ nodes: [], edges: [], definition: { extractive: {}, ...definition } });
  const { status, text, body } = await call(server, "POST /api/v1/chatflows", {
    json: { name: "a flow", flowData, ...more },
    key,
  });
  if (status !== 200) throw new Error(`no flow: ${status} ${text}`);
  return body.id;
}

/** Uploads a document of this text to the flow's retriever. */
export async function upsertText(
  server: Pick<TestServer, "url">,
  flow: string,
  text: string,
  { name = "animals.md", key }: { readonly name?: string; readonly key?: string | undefined } = {},
): Promise<Reply> {
  const form = new FormData();
  form.append("files", new Blob([text], { type: "text/markdown" }), name);
  return call(server, `POST /api/v1/vector/upsert/${flow}`, { raw: form, key });
}
