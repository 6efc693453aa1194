/**
 * The only way out of the server: URLs of pictures and zips, and webhooks, which callers choose. So the address is
 * checked where it cannot change any more, when the connection is made, and nothing that the other side says
 * leads anywhere else: no redirects, no cookies, no proxies, no decompression, every length and time bounded.
 */
import { promises as dns } from "node:dns";
import { open } from "node:fs/promises";
import { isIP, type LookupFunction } from "node:net";
import { Agent, buildConnector, type Dispatcher } from "undici";
import packageJson from "../../package.json" with { type: "json" };
import { AuspexError } from "../domain/error.ts";
import { type EgressPolicy, parseEgressPolicy } from "./egress-policy.ts";

export interface EgressRequest {
  readonly url: string;
  readonly method: "GET" | "POST";
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  /** Most response bytes to take. */
  readonly maxBytes: number;
  /** What happens to a longer response: the call fails, or the rest is dropped. */
  readonly overflow: "fail" | "truncate";
  /** For the whole exchange, connecting included. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

export interface EgressResponse {
  readonly status: number;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  /** As it was sent: a compressed body (which is not asked for) stays compressed. */
  readonly body: Uint8Array;
}

export interface EgressDownload {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** File that the body of an answer with status 200 is written to; any other answer's is left. */
  readonly path: string;
  /** A longer body fails the call. */
  readonly maxBytes: number;
  /** For the whole exchange, connecting included. */
  readonly timeoutMs: number;
  /** Longest time without a byte. */
  readonly stallMs: number;
  readonly signal: AbortSignal;
}

export interface EgressStream extends Omit<EgressRequest, "maxBytes" | "overflow"> {
  /** Longest time without a byte. */
  readonly stallMs: number;
}

export interface StreamedResponse extends Omit<EgressResponse, "body"> {
  /** As it comes. Rejects when the other side breaks off, and at the time limits. */
  readonly body: AsyncIterable<Uint8Array>;
}

export interface Egress {
  /**
   * One exchange without following redirects. Rejects with `invalid_argument` when the URL or the address that it
   * resolves to (checked when connecting) is not allowed, `unavailable` when the other side cannot be reached or
   * breaks off, `deadline_exceeded` past the timeout, `resource_exhausted` when the response is too long,
   * `canceled` when the signal is aborted.
   */
  fetch(request: EgressRequest): Promise<EgressResponse>;
  /** A GET whose body is too large for memory. Rejects as `fetch` does. */
  download(request: EgressDownload): Promise<Omit<EgressResponse, "body">>;
  /**
   * An exchange whose answer is read as it comes, by `take`; what it leaves unread is never sent for, and the connection
   * closed. Rejects as `fetch` does, and as `take` does.
   */
  stream<T>(request: EgressStream, take: (response: StreamedResponse) => Promise<T>): Promise<T>;
  /** Refuses at once what `fetch` would refuse without looking a name up: scheme, credentials, literal addresses. */
  check(url: string): void;
}

export interface OpenEgress extends Egress {
  /** Breaks off what is running and closes every connection. */
  close(): Promise<void>;
}

export interface EgressOptions {
  /** The setting EGRESS_ALLOW; egress-policy.ts says what an entry may be. */
  readonly allow: readonly string[];
  /** Connections to one origin at once; what comes then waits. */
  readonly connections?: number;
  /** Resolves a host name to addresses; the system's resolver when left out. */
  readonly lookup?: (host: string) => Promise<readonly string[]>;
}

/** What browsers and servers commonly take, and more than any picture or webhook URL needs. */
const URL_LENGTH_MAX = 2048;
/** Per origin. A webhook endpoint is given 8 attempts at once; the rest is for pictures from the same host. */
const CONNECTIONS_PER_ORIGIN_MAX = 16;
/** Origins with a connection: with the line above a bound on sockets, far above what our callers run at once. */
const ORIGINS_MAX = 1024;
const CONNECT_TIMEOUT_MS = 10_000;
/** Long enough for the events of one prediction to share a connection; what the peer suggests is capped by it. */
const KEEP_ALIVE_MS = 4000;
const RESPONSE_HEADER_BYTES_MAX = 16 * 1024;

/** @throws ConfigError that names what is wrong with `allow` */
export function createEgress({
  allow,
  connections = CONNECTIONS_PER_ORIGIN_MAX,
  lookup = systemLookup,
}: EgressOptions): OpenEgress {
  const policy = parseEgressPolicy(allow);
  const agent = new Agent({
    connect: guardedConnector(policy, lookup),
    connections,
    maxOrigins: ORIGINS_MAX,
    keepAliveTimeout: KEEP_ALIVE_MS,
    keepAliveMaxTimeout: KEEP_ALIVE_MS,
    allowH2: false,
    maxHeaderSize: RESPONSE_HEADER_BYTES_MAX,
    // The exchange has one time limit of its own, below; these would only shorten it.
    headersTimeout: 0,
    bodyTimeout: 0,
  });

  /** One exchange under its time limit; `take` reads the answer and says when some of it has come. */
  async function perform<T>(
    request: Exchange,
    take: (response: Dispatcher.ResponseData, host: string, arrived: () => void) => Promise<T>,
  ): Promise<T> {
    const url = parseTarget(policy, request.url);
    if (request.signal.aborted) throw canceled();
    const abort = new AbortController();
    const onAbort = () => abort.abort(canceled());
    const endAfter = (ms: number, what: string) =>
      setTimeout(() => {
        abort.abort(new AuspexError("deadline_exceeded", `${url.host} ${what} within ${ms} ms`));
      }, ms);
    const timer = endAfter(request.timeoutMs, "did not answer in full");
    const stall = request.stallMs === undefined ? undefined : endAfter(request.stallMs, "sent nothing");
    request.signal.addEventListener("abort", onAbort, { once: true });
    try {
      const response = await exchange(agent, url, request, abort.signal);
      return await take(response, url.host, () => stall?.refresh());
    } catch (error) {
      throw outward(abort.signal.aborted ? abort.signal.reason : error, url.host);
    } finally {
      clearTimeout(timer);
      clearTimeout(stall);
      request.signal.removeEventListener("abort", onAbort);
    }
  }

  return {
    check: (url) => {
      parseTarget(policy, url);
    },
    fetch: (request) =>
      perform(request, async (response, host) => ({
        ...headOf(response),
        body: await readBody(response, request, host),
      })),
    download: (request) =>
      perform({ ...request, method: "GET" }, async (response, host, arrived) => {
        await writeBody(response, request, host, arrived);
        return headOf(response);
      }),
    stream: (request, take) =>
      perform(request, async (response, _host, arrived) => {
        try {
          return await take({ ...headOf(response), body: heard(response.body, arrived) });
        } finally {
          response.body.destroy();
        }
      }),
    close: () => agent.destroy(new AuspexError("unavailable", "the server is shutting down")),
  };
}

async function systemLookup(host: string): Promise<readonly string[]> {
  const found = await dns.lookup(host, { all: true });
  return found.map(({ address }) => address);
}

/** The URL, if nothing speaks against it before its host name is looked up. */
function parseTarget(policy: EgressPolicy, text: string): URL {
  if (text.length > URL_LENGTH_MAX) throw refusal(`a URL must have at most ${URL_LENGTH_MAX} characters`);
  const url = URL.parse(text);
  if (!url) throw refusal("the URL is malformed");
  if (url.protocol !== "http:" && url.protocol !== "https:")
    throw refusal("the URL must begin with http:// or https://");
  if (url.username !== "" || url.password !== "")
    throw refusal("the URL must not hold a user name or password");
  const host = bareHost(url.hostname);
  // The URL parser has brought every spelling of an IPv4 address (decimal, octal, hexadecimal) into one form.
  if (isIP(host) !== 0) requireAllowed(policy, host, portOf(url.protocol, url.port), [host]);
  return url;
}

function bareHost(hostname: string): string {
  return hostname.startsWith("[") ? hostname.slice(1, -1) : hostname;
}

function portOf(protocol: string, port: string): number {
  if (port !== "") return Number(port);
  return protocol === "https:" ? 443 : 80;
}

function canceled(): AuspexError {
  return new AuspexError("canceled", "the call was canceled");
}

function refusal(message: string): AuspexError {
  return new AuspexError("invalid_argument", message);
}

/** Answers those of the addresses that may be connected to; throws when none may. */
function requireAllowed(
  policy: EgressPolicy,
  host: string,
  port: number,
  addresses: readonly string[],
): readonly [string, ...string[]] {
  const [first, ...rest] = addresses.filter((address) => policy.allows({ host, port, address }));
  // The addresses are left out: they would tell a caller about names that only this network knows.
  if (first === undefined)
    throw refusal(`${host} is not a public address, and this server does not allow it`);
  return [first, ...rest];
}

/**
 * Makes connections. An address literal is checked here, a name's addresses in the very lookup whose answer the
 * socket connects to, so that a name that resolves differently a moment later (DNS rebinding) gains nothing.
 */
function guardedConnector(
  policy: EgressPolicy,
  lookup: (host: string) => Promise<readonly string[]>,
): buildConnector.connector {
  return (options, callback) => {
    const host = bareHost(options.hostname);
    const port = portOf(options.protocol, options.port);
    const guardedLookup: LookupFunction = (name, { all }, answer) => {
      lookup(name)
        .then((addresses) => requireAllowed(policy, host, port, addresses))
        .then(
          ([first, ...rest]) => {
            if (all)
              answer(
                null,
                [first, ...rest].map((address) => ({ address, family: isIP(address) })),
              );
            else answer(null, first, isIP(first));
          },
          (error: unknown) => answer(error instanceof Error ? error : new Error(String(error)), []),
        );
    };
    try {
      if (isIP(host) !== 0) requireAllowed(policy, host, port, [host]);
    } catch (error) {
      callback(error instanceof Error ? error : new Error(String(error)), null);
      return;
    }
    buildConnector({
      allowH2: false,
      timeout: CONNECT_TIMEOUT_MS,
      maxCachedSessions: 0,
      lookup: guardedLookup,
    })(options, callback);
  };
}

type Exchange = Pick<EgressRequest, "url" | "method" | "headers" | "body" | "timeoutMs" | "signal"> & {
  readonly stallMs?: number;
};

async function exchange(
  agent: Dispatcher,
  url: URL,
  request: Exchange,
  signal: AbortSignal,
): Promise<Dispatcher.ResponseData> {
  const aborted = new Promise<never>((_resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
  const answered = agent.request({
    origin: url.origin,
    path: url.pathname + url.search,
    method: request.method,
    headers: {
      "user-agent": `auspex/${packageJson.version}`,
      ...request.headers,
      // A small compressed body may unpack to a huge one; we neither ask for one nor unpack it.
      "accept-encoding": "identity",
    },
    body: request.body ?? null,
    signal,
  });
  // undici looks at the signal once it has a connection; until then only the race ends the wait.
  const response = await Promise.race([answered, aborted]);
  // Leaving early destroys the body, and with it the connection; nobody else is there to hear that error.
  response.body.on("error", () => {});
  return response;
}

function headOf(response: Dispatcher.ResponseData): Omit<EgressResponse, "body"> {
  return { status: response.statusCode, headers: flatten(response.headers) };
}

function flatten(headers: Dispatcher.ResponseData["headers"]): Readonly<Record<string, string>> {
  // A null prototype, because the other side chooses the names.
  const flat: Record<string, string> = Object.create(null);
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) flat[name] = typeof value === "string" ? value : value.join(", ");
  }
  return flat;
}

function tooLong(host: string, maxBytes: number): AuspexError {
  return new AuspexError("resource_exhausted", `${host} answered more than ${maxBytes} bytes`);
}

async function readBody(
  { body, headers }: Dispatcher.ResponseData,
  { maxBytes, overflow }: EgressRequest,
  host: string,
): Promise<Uint8Array> {
  if (overflow === "fail" && Number(headers["content-length"]) > maxBytes) {
    body.destroy();
    throw tooLong(host, maxBytes);
  }
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    const room = maxBytes - length;
    if (chunk.length > room && overflow === "fail") throw tooLong(host, maxBytes);
    chunks.push(chunk.length > room ? chunk.subarray(0, room) : chunk);
    length += Math.min(chunk.length, room);
    if (chunk.length > room) break;
  }
  return Buffer.concat(chunks, length);
}

async function* heard(body: AsyncIterable<Uint8Array>, arrived: () => void): AsyncGenerator<Uint8Array> {
  for await (const chunk of body) {
    arrived();
    yield chunk;
  }
}

async function writeBody(
  { statusCode, body, headers }: Dispatcher.ResponseData,
  { path, maxBytes }: EgressDownload,
  host: string,
  arrived: () => void,
): Promise<void> {
  if (statusCode !== 200 || Number(headers["content-length"]) > maxBytes) {
    body.destroy();
    if (statusCode !== 200) return;
    throw tooLong(host, maxBytes);
  }
  const file = await open(path, "w", 0o600);
  try {
    let length = 0;
    for await (const chunk of body as AsyncIterable<Uint8Array>) {
      arrived();
      length += chunk.length;
      if (length > maxBytes) throw tooLong(host, maxBytes);
      await file.appendFile(chunk);
    }
  } finally {
    await file.close();
  }
}

/** What the caller is told of a failure; the original stays its cause. */
function outward(error: unknown, host: string): AuspexError {
  if (error instanceof AuspexError) return error;
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  if (code === "UND_ERR_HEADERS_OVERFLOW") {
    return new AuspexError(
      "resource_exhausted",
      `${host} answered with more than ${RESPONSE_HEADER_BYTES_MAX} bytes of headers`,
      { cause: error },
    );
  }
  const why = code === "" ? "" : `: ${code}`;
  return new AuspexError("unavailable", `${host} could not be reached or broke off${why}`, { cause: error });
}
