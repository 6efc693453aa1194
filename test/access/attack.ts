/** What the tests of who may do what share: a server with somebody's things on it, callers, and what they are told. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ChatflowService } from "../../gen/auspex/v1/chatflow_pb.ts";
import { clientOf, startServer, type TestServer } from "../harness.ts";
import { hs256, keyPair, nowS, rs256 } from "../tokens.ts";
import { definition, makeThings, NAMES, nothingLike, present, type Things } from "./things.ts";

export const OWNER = "acme";
export const OWNER_KEY = "acme-key-0123456789";
export const OTHER_KEY = "zeta-key-0123456789";
export const JWT_SECRET = "a secret of the server's, which is long";

/** Everybody who is not the owner; what each sends as a bearer token. */
export interface Callers {
  readonly nobody: undefined;
  readonly "a wrong key": string;
  readonly "an expired token of the owner's": string;
  readonly "a token that another secret signed": string;
  readonly "a deleted key of the flow": string;
  readonly "another flow's key": string;
  readonly "another principal": string;
}
export type Caller = keyof Callers;

export const CALLERS = [
  ...(["nobody", "a wrong key", "an expired token of the owner's"] as const),
  ...(["a token that another secret signed", "a deleted key of the flow"] as const),
  ...(["another flow's key", "another principal"] as const),
] satisfies readonly Caller[];

/** Those whom the server knows by nothing that they send: they are refused before anything is looked for. */
export const STRANGERS: ReadonlySet<Caller> = new Set<Caller>([
  ...(["a wrong key", "an expired token of the owner's"] as const),
  ...(["a token that another secret signed", "a deleted key of the flow"] as const),
]);

export interface Scene extends AsyncDisposable {
  readonly server: TestServer;
  readonly things: Things;
  /** Ids of the same form that are nobody's. */
  readonly nothing: Things;
  readonly callers: Callers;
  /** A key of the flow among the things. */
  readonly flowKey: string;
}

export async function openScene(settings: Readonly<Record<string, string>> = {}): Promise<Scene> {
  const folder = await mkdtemp(join(tmpdir(), "auspex-access-"));
  const { privateKey, publicKey } = keyPair();
  const subject = "acme@example.com";
  const file = join(folder, "accounts.json");
  await writeFile(file, JSON.stringify({ accounts: [{ name: OWNER, subjects: [subject], publicKey }] }));
  await using begun = new AsyncDisposableStack();
  begun.defer(() => rm(folder, { recursive: true }));
  const server = await startServer({
    settings: {
      CATALOGUE: "auspex/minilm, auspex/mobilenet-tiny",
      API_KEYS: `${OWNER}:${OWNER_KEY},zeta:${OTHER_KEY}`,
      ACCOUNTS_FILE: file,
      JWT_SECRET,
      EGRESS_ALLOW: "127.0.0.1",
      FEATURE_EXTRACTOR: "auspex/mobilenet-tiny",
      ...settings,
    },
  });
  begun.use(server);
  const assertion = rs256(
    { sub: subject, aud: `${server.url}/v2/oauth2/token`, exp: nowS() + 60 },
    privateKey,
  );
  const things = await makeThings(server, OWNER_KEY, assertion);
  const flows = clientOf(server, "grpc", ChatflowService, OWNER_KEY);
  const { secret: flowKey } = await flows.createChatflowKey({ chatflowId: things.chatflow, name: "its" });
  const deleted = await flows.createChatflowKey({ chatflowId: things.chatflow, name: "deleted" });
  await flows.deleteChatflowKey({ chatflowId: things.chatflow, keyId: present(deleted.key).id });
  const { chatflow: another } = await flows.createChatflow({ name: "another", definition });
  const { secret: foreign } = await flows.createChatflowKey({ chatflowId: present(another).id, name: "its" });
  const held = begun.move();
  return {
    server,
    things,
    nothing: nothingLike(things),
    flowKey,
    callers: {
      nobody: undefined,
      "a wrong key": "nobody-key-0123456789",
      "an expired token of the owner's": hs256({ user_id: OWNER, exp: nowS() - 1 }, JWT_SECRET),
      "a token that another secret signed": hs256(
        { user_id: OWNER, exp: nowS() + 3600 },
        JWT_SECRET.toUpperCase(),
      ),
      "a deleted key of the flow": deleted.secret,
      "another flow's key": foreign,
      "another principal": OTHER_KEY,
    },
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  };
}

/** What was said of nobody's ids, as it would have to be said of these. */
export function asIfOf(things: Things, { nothing }: Pick<Scene, "nothing">, said: string): string {
  return NAMES.reduce(
    (text, name) =>
      text
        .replaceAll(nothing[name], things[name])
        // As gRPC-Web's headers have it.
        .replaceAll(encodeURIComponent(nothing[name]), encodeURIComponent(things[name])),
    said,
  );
}

/** Ids of the owner's that were told though nobody had named them in the request. */
export function leaked(things: Things, request: string, said: string): readonly string[] {
  const numbers = new Set(["dataset", "label", "example"]);
  // Whoever has the one has the other: it is the same number, written otherwise.
  const known = request.includes(things.deletionId) ? `${request} ${things.deletion}` : request;
  return NAMES.filter((name) => !numbers.has(name) && name !== "file")
    .map((name) => things[name])
    .filter((id) => said.includes(id) && !known.includes(id));
}

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
