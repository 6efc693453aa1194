/** What may be asked of storage for chatflows, their passages, messages and the rest; see `store.ts`. */
import type {
  Chatflow,
  ChatflowDefinition,
  ChatflowKey,
  ChatMessage,
  ChatTurn,
  Lead,
  Passage,
  Rating,
  RatingValue,
  RetrievalMode,
  ScoredPassage,
  Upsert,
} from "../domain/chatflow.ts";

export interface ChatflowStore {
  /** False when the id is taken. */
  create(flow: Chatflow): Promise<boolean>;
  /** Whoever's it is. */
  get(id: string): Promise<Chatflow | undefined>;
  /** The definition that a version had. */
  definition(id: string, version: number): Promise<ChatflowDefinition | undefined>;
  /** Newest id first, `limit` at most. */
  list(args: {
    readonly principal: string;
    readonly before: string | undefined;
    readonly limit: number;
  }): Promise<Chatflow[]>;
  /** Makes the next version if `ifVersion` (0: any) is the current one; undefined otherwise. */
  update(args: {
    readonly id: string;
    readonly name: string;
    readonly definition: ChatflowDefinition;
    readonly ifVersion: number;
    readonly updatedAt: number;
  }): Promise<Chatflow | undefined>;
  /**
   * With its keys, versions, messages, ratings, leads and files at once. Its passages are not found from now on and
   * are deleted behind it (see `PassageStore.purge`). False when there is none.
   */
  delete(id: string): Promise<boolean>;
  /** Those that are loaded from files, whoever's they are. */
  fromFiles(): Promise<Chatflow[]>;
  /**
   * False when the flow has `max` keys already, or is gone.
   *
   * @param hash SHA-256 of the secret, lower-case hex
   */
  addKey(args: {
    readonly chatflowId: string;
    readonly key: ChatflowKey;
    readonly hash: string;
    readonly max: number;
  }): Promise<boolean>;
  deleteKey(chatflowId: string, keyId: string): Promise<boolean>;
  /** Id and principal of the flow that the key is of. */
  keyHolder(hash: string): Promise<{ readonly chatflowId: string; readonly principal: string } | undefined>;
}

export interface NewPassage extends Passage {
  /** L2-normalised. */
  readonly vector: Float32Array;
}

export interface PassageSearch {
  readonly chatflowId: string;
  /** Passages that were uploaded for this chat alone are found beside the flow's own; "" for the flow's own. */
  readonly chatId: string;
  readonly mode: RetrievalMode;
  readonly text: string;
  /** L2-normalised; undefined for mode keyword. */
  readonly vector: Float32Array | undefined;
  readonly limit: number;
  /**
   * Least cosine of what is found by meaning. Where nothing has it, mode hybrid finds only what has all of the text's
   * words.
   */
  readonly minScore: number;
}

/**
 * The retriever's index. Passages belong to an upsert, and to one chat alone where `chatId` is not "". What an upsert
 * adds is found at once, and goes again when the upsert never ends.
 */
export interface PassageStore {
  /** Those of the texts that a document of this name has already; SHA-256 of the text, lower-case hex. */
  known(args: {
    readonly chatflowId: string;
    readonly chatId: string;
    readonly source: string;
    readonly hashes: readonly string[];
  }): Promise<string[]>;
  /** In one transaction; keep it to some 100. False, and nothing is written, for an upsert that does not run (any more). */
  add(args: {
    readonly chatflowId: string;
    readonly chatId: string;
    readonly upsertId: string;
    readonly passages: readonly NewPassage[];
  }): Promise<boolean>;
  /** The best first. Off the caller's thread. */
  search(query: PassageSearch): Promise<ScoredPassage[]>;
  /** A flow's own ones. */
  count(chatflowId: string): Promise<number>;
  /** Up to `limit` of those whose flow or upsert is gone. Answers how many. */
  purge(limit: number): Promise<number>;
}

export interface ReplacedDocument {
  /** The document's name. */
  readonly source: string;
  /** SHA-256 of the texts that it has now, lower-case hex. */
  readonly hashes: readonly string[];
}

export interface UpsertStore {
  /** Before its first passage. */
  begin(args: {
    readonly id: string;
    readonly chatflowId: string;
    readonly principal: string;
    readonly createdAt: number;
  }): Promise<void>;
  /**
   * Together with the deletions that come with it: of the documents that it replaces, passages whose text is not among
   * the hashes go in the same transaction, so that a server that dies leaves the old document or the new one. Answers
   * the record, complete with how many those were, and with what was there already counted as skipped, also where
   * another upsert added it meanwhile; undefined when the flow is gone.
   */
  end(args: {
    readonly upsert: Omit<Upsert, "deleted">;
    /** For this chat alone; "" for the flow's own documents. */
    readonly chatId: string;
    readonly replaced: readonly ReplacedDocument[];
  }): Promise<Upsert | undefined>;
  /** It failed: its passages are gone from now on. */
  abandon(id: string): Promise<void>;
  /** Ended ones; by id. */
  list(args: {
    readonly chatflowId: string;
    readonly since: number | undefined;
    readonly until: number | undefined;
    readonly descending: boolean;
    readonly after: string | undefined;
    readonly limit: number;
  }): Promise<Upsert[]>;
  /** All or none: undefined when one is not the principal's. */
  delete(args: {
    readonly principal: string;
    readonly ids: readonly string[];
    readonly deletePassages: boolean;
  }): Promise<number | undefined>;
}

export interface MessageFilter {
  readonly chatflowId: string;
  readonly chatId: string;
  readonly sessionId: string;
  readonly messageId: string;
  readonly memoryType: string;
  readonly since: number | undefined;
  readonly until: number | undefined;
  readonly ratings: readonly RatingValue[];
}

export interface ChatStore {
  /** For a turn whose prediction was settled without it (a cancel); one that is there is left alone. */
  insertTurn(turn: ChatTurn): Promise<void>;
  /** The session's last messages, oldest first. */
  window(args: {
    readonly chatflowId: string;
    readonly sessionId: string;
    readonly limit: number;
  }): Promise<ChatMessage[]>;
  /** With their ratings. `after` is the position of the last one that was answered. */
  list(args: {
    readonly filter: MessageFilter;
    readonly descending: boolean;
    readonly after: number | undefined;
    readonly limit: number;
  }): Promise<
    { readonly message: ChatMessage; readonly rating: Rating | undefined; readonly position: number }[]
  >;
  delete(filter: MessageFilter): Promise<number>;
  /** Of this flow and, where `chatId` is not "", of this chat. */
  get(chatflowId: string, chatId: string, messageId: string): Promise<ChatMessage | undefined>;
  /** Replaces the message's rating, whose id and time stay. Undefined when the flow has no such message. */
  rate(rating: Rating): Promise<Rating | undefined>;
  rating(chatflowId: string, id: string): Promise<Rating | undefined>;
  listRatings(args: {
    readonly chatflowId: string;
    readonly chatId: string;
    readonly since: number | undefined;
    readonly until: number | undefined;
    readonly descending: boolean;
    readonly after: string | undefined;
    readonly limit: number;
  }): Promise<Rating[]>;
  insertLead(lead: Lead): Promise<void>;
  listLeads(args: {
    readonly chatflowId: string;
    readonly after: string | undefined;
    readonly limit: number;
  }): Promise<Lead[]>;
  /**
   * Files of one chat, whose blobs are on disk; each replaces the chat's file of its name. All or none: false when the
   * chat would hold more than CHAT_FILES of the domain, or the flow is gone.
   */
  putFiles(files: readonly ChatFileRow[]): Promise<boolean>;
  getFile(chatflowId: string, chatId: string, name: string): Promise<ChatFileRow | undefined>;
}

export interface ChatFileRow {
  readonly chatflowId: string;
  readonly chatId: string;
  readonly name: string;
  readonly mediaType: string;
  readonly blob: string;
  readonly sizeBytes: number;
  readonly createdAt: number;
}
