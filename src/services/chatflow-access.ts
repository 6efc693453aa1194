/** Who may do what with a chatflow. */
import type { Chatflow } from "../domain/chatflow.ts";
import type { CallContext } from "./call.ts";

export interface ChatflowAccess {
  /** For its creator alone; rejects with `not_found`, also for another's. */
  owned(id: string, call: CallContext): Promise<Chatflow>;
  /**
   * For whoever may ask it: its creator, a holder of one of its keys, anybody where it is public. Rejects with
   * `not_found` for what is not there or may not be known, `unauthenticated` for a flow that needs a key and got none
   * that is right, `permission_denied` with the flow's own words for a web page of another origin.
   */
  asked(id: string, call: CallContext): Promise<Chatflow>;
  /** As `asked`, and takes one question of the flow's rate limit; rejects with `resource_exhausted` in its words. */
  question(id: string, call: CallContext): Promise<Chatflow>;
}
