/** Keys of chatflows: how they look, and whom one stands for. */
import { createHash, randomBytes } from "node:crypto";
import { AuspexError } from "../domain/error.ts";
import { NOBODY, type Principal } from "../domain/principal.ts";
import type { ChatflowStore } from "../store/chatflow-store.ts";
import type { Authenticate } from "./authenticator.ts";

/** By which one is known, also to those who look for keys in files that should have none. */
const PREFIX = "flow_";
/** Nobody guesses 256 bits. */
const KEY_BYTES = 32;

export function mintFlowKey(): string {
  return PREFIX + randomBytes(KEY_BYTES).toString("base64url");
}

/** What is kept of a key. It is found by this, so the time taken tells nothing of the key itself. */
export function flowKeyHash(key: string): string {
  return createHash("sha256").update(key, "utf8").digest("hex");
}

export interface AskerOptions {
  readonly open: boolean;
  readonly flows: Pick<ChatflowStore, "keyHolder">;
  readonly authenticate: Authenticate;
}

/** As `Services.authenticateAsker` says. */
export function createAskerAuthenticator({ open, flows, authenticate }: AskerOptions): Authenticate {
  return async (token) => {
    if (token === undefined && !open) return NOBODY;
    if (!token?.startsWith(PREFIX)) return authenticate(token);
    const holder = await flows.keyHolder(flowKeyHash(token));
    if (!holder) throw new AuspexError("unauthenticated", "the key is not valid");
    return { name: holder.principal, open: false, chatflow: holder.chatflowId } satisfies Principal;
  };
}
