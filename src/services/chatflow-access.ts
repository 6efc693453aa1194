/**
 * Who may do what with a chatflow.
 *
 * | who asks                       | its own / its key's flow | public | with keys, on an open server | other or unknown   |
 * |--------------------------------|--------------------------|--------|------------------------------|--------------------|
 * | a principal                    | yes                      | yes    | –                            | `not_found`        |
 * | a key of a flow                | yes                      | yes    | `unauthenticated`            | `unauthenticated`  |
 * | nobody                         | –                        | yes    | –                            | `unauthenticated`  |
 * | an open server's one principal | yes, if it has no keys   | yes    | `unauthenticated`            | `not_found`        |
 *
 * So nobody learns by asking whether a flow is there that he may not ask. What is a creator's alone is `not_found` for
 * everybody else.
 */
import type { Chatflow } from "../domain/chatflow.ts";
import { AuspexError } from "../domain/error.ts";
import { parseUuid } from "../domain/id.ts";
import type { Principal } from "../domain/principal.ts";
import type { ChatflowStore } from "../store/chatflow-store.ts";
import type { CallContext } from "./call.ts";
import { mayCall } from "./origin.ts";
import { createQuestionRate } from "./question-rate.ts";

export interface ChatflowAccess {
  /** For its creator alone; rejects with `not_found`, also for another's. */
  owned(id: string, call: CallContext): Promise<Chatflow>;
  /**
   * For whoever may ask it: its creator, a holder of one of its keys, anybody where it is public. Rejects with
   * `not_found` for what is not there or may not be known, `unauthenticated` for a flow that needs a key and got none
   * that is right, `permission_denied` with the flow's own words for a web page of another origin.
   */
  asked(id: string, call: CallContext): Promise<Chatflow>;
  /** Rejects as `asked` does for this principal, from whichever page: before the rest of a request is read. */
  admit(id: string, principal: Principal): Promise<void>;
  /** As `asked`, and takes one question of the flow's rate limit; rejects with `resource_exhausted` in its words. */
  question(id: string, call: CallContext): Promise<Chatflow>;
  /**
   * As `asked`, for what a chat window is told before it has a key: undefined where a key is needed to know whether
   * there is such a flow at all. An open server has nothing to hide from its one principal.
   */
  shown(id: string, call: CallContext): Promise<Chatflow | undefined>;
}

export interface ChatflowAccessOptions {
  readonly flows: Pick<ChatflowStore, "get">;
  /** Nobody needs a credential, except for flows that have keys. */
  readonly open: boolean;
  /** The setting CORS_ORIGINS, for flows that name none. */
  readonly origins: readonly string[];
  /** A clock in milliseconds. */
  readonly nowMs: () => number;
}

type Verdict = "yes" | "unauthenticated" | "not_found";

export function createChatflowAccess({ flows, open, origins, nowMs }: ChatflowAccessOptions): ChatflowAccess {
  const rate = createQuestionRate(nowMs);
  const get = (id: string) => flows.get(parseUuid(id) ?? id);

  function verdict(flow: Chatflow | undefined, principal: Principal): Verdict {
    const isKey = principal.chatflow !== undefined;
    if (flow?.definition.public) return "yes";
    if (flow && isKey && flow.id === principal.chatflow) return "yes";
    if (flow && open && flow.keys.length === 0) return "yes";
    if (flow && !isKey && !open && flow.principal === principal.name) return "yes";
    const isKnown = principal.name !== "" && !isKey && !(open && flow);
    return isKnown ? "not_found" : "unauthenticated";
  }

  function refuse(code: Exclude<Verdict, "yes">, id: string): AuspexError {
    return code === "not_found"
      ? unknownChatflow(id)
      : new AuspexError("unauthenticated", `asking chatflow ${id} takes one of its keys`);
  }

  function checkOrigin({ definition }: Chatflow, { origin }: CallContext): void {
    const { allowedOrigins, originRefusal } = definition;
    if (origin === undefined || mayCall(origin, allowedOrigins.length > 0 ? allowedOrigins : origins)) return;
    throw new AuspexError(
      "permission_denied",
      originRefusal || `pages of ${origin} may not ask this chatflow`,
    );
  }

  async function admitted(id: string, principal: Principal): Promise<Chatflow> {
    const flow = await get(id);
    const answer = verdict(flow, principal);
    if (!flow || answer !== "yes") throw refuse(answer === "yes" ? "not_found" : answer, id);
    return flow;
  }

  async function asked(id: string, call: CallContext): Promise<Chatflow> {
    const flow = await admitted(id, call.principal);
    checkOrigin(flow, call);
    return flow;
  }

  return {
    asked,

    async admit(id, principal) {
      await admitted(id, principal);
    },

    async owned(id, { principal }) {
      const flow = principal.chatflow === undefined ? await get(id) : undefined;
      if (!flow || flow.principal !== principal.name) throw unknownChatflow(id);
      return flow;
    },

    async question(id, call) {
      const flow = await asked(id, call);
      if (flow.definition.rateLimit) rate.take(flow, flow.definition.rateLimit, call.address);
      return flow;
    },

    async shown(id, call) {
      const flow = await get(id);
      const answer = verdict(flow, call.principal);
      if (answer === "not_found") throw refuse(answer, id);
      if (!flow || (answer !== "yes" && !call.principal.open)) return undefined;
      checkOrigin(flow, call);
      return flow;
    },
  };
}

export function unknownChatflow(id: string): AuspexError {
  return new AuspexError("not_found", `chatflow ${id} does not exist`);
}
