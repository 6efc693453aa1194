/** Whom a credential stands for. Every row carries a principal's name, and another's row is an unknown one. */
export interface Principal {
  /** Also the owner name under which it publishes. */
  readonly name: string;
  /** The one principal of an open server: every model is its own. */
  readonly open: boolean;
  /** The one chatflow that its credential is for. Only operations for whoever may ask a flow ever see such a one. */
  readonly chatflow?: string;
}

/** The principal of a server without API keys. */
export const LOCAL: Principal = { name: "local", open: true };

/** Who calls a method that needs no credential. Nothing is anybody's under this name. */
export const NOBODY: Principal = { name: "", open: false };

/** The owner of the catalogue's models, which are everybody's. */
export const CATALOGUE_OWNER = "auspex";

/** The owner part of every chatflow's model name. */
export const CHATFLOW_OWNER = "chatflow";

/** Nobody's name, and nobody publishes under them. */
export const RESERVED_OWNERS: ReadonlySet<string> = new Set([CATALOGUE_OWNER, CHATFLOW_OWNER]);
