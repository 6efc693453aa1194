/** A client of the Einstein Vision dialect, no better than it must be: forms, JSON, and bytes as they are. */
import { once } from "node:events";
import { createServer } from "node:http";
import { connect } from "node:net";
import type { TestServer } from "../../harness.ts";

type Server = Pick<TestServer, "url">;

/** Texts, and files as `[bytes, file name, type]`; a list sends one name several times. */
export type File = readonly [Uint8Array, string?, string?];
type Value = string | number | File;
export type Fields = Readonly<Record<string, Value | readonly Value[]>>;

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  /** undefined for an empty body. */
  // biome-ignore lint/suspicious/noExplicitAny: a test asserts what is in it
  readonly body: any;
}

export interface Call {
  readonly form?: Fields;
  readonly json?: unknown;
  readonly key?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly raw?: string | Uint8Array<ArrayBuffer> | URLSearchParams;
}

const isFile = (value: Value | readonly Value[]): value is File =>
  Array.isArray(value) && value[0] instanceof Uint8Array;

export function formData(fields: Fields): FormData {
  const form = new FormData();
  for (const [name, given] of Object.entries(fields)) {
    const values: readonly Value[] = Array.isArray(given) && !isFile(given) ? given : [given as Value];
    for (const value of values) {
      if (!isFile(value)) form.append(name, String(value));
      else
        form.append(
          name,
          new Blob([Uint8Array.from(value[0])], { type: value[2] ?? "" }),
          value[1] ?? "file",
        );
    }
  }
  return form;
}

export async function call(server: Server, method: string, path: string, options: Call = {}): Promise<Reply> {
  const { form, json, key, raw } = options;
  const headers: Record<string, string> = { ...options.headers };
  if (key !== undefined) headers.authorization = `Bearer ${key}`;
  if (json !== undefined) headers["content-type"] = "application/json";
  const body = form ? formData(form) : json === undefined ? raw : JSON.stringify(json);
  const response = await fetch(`${server.url}${path}`, {
    method,
    headers,
    ...(body !== undefined && { body }),
  });
  const text = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    body: text === "" ? undefined : JSON.parse(text),
  };
}

/** Sends these bytes over a connection of their own; answers every status, and the last one's with its body. */
export async function send(server: Server, head: readonly string[], body: string | Uint8Array = "") {
  const { hostname, port } = new URL(server.url);
  const socket = connect(Number(port), hostname);
  socket.write(`${[...head, "Host: localhost", "Connection: close"].join("\r\n")}\r\n\r\n`);
  socket.write(typeof body === "string" ? Buffer.from(body, "latin1") : body);
  const chunks: Buffer[] = [];
  socket.on("data", (chunk) => chunks.push(chunk));
  await once(socket, "close");
  const text = Buffer.concat(chunks).toString();
  const statuses = [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => Number(status));
  const last = text.slice(text.lastIndexOf("\r\n\r\n") + 4);
  return { statuses, status: statuses.at(-1), body: last === "" ? undefined : JSON.parse(last) };
}

/** Serves these bodies by path, each with its type, until it is disposed of. */
export async function serveFiles(files: Readonly<Record<string, readonly [Uint8Array | string, string]>>) {
  const server = createServer((request, response) => {
    const file = files[request.url ?? ""];
    if (!file) response.writeHead(404).end("nothing here");
    else response.writeHead(200, { "content-type": file[1] }).end(file[0]);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("it has no port");
  return {
    url: `http://127.0.0.1:${address.port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
