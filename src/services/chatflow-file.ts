/** One file of the folder `chatflows`: `{name, principal?, definition}`, the definition as the API's JSON has it. */
import { open } from "node:fs/promises";
import { fromJson } from "@bufbuild/protobuf";
import { ChatflowDefinitionSchema } from "../../gen/auspex/v1/chatflow_pb.ts";
import type { ChatflowDefinition } from "../domain/chatflow.ts";
import { NAME_PART } from "../domain/model.ts";
import type { JsonValue } from "../domain/payload.ts";
import { LOCAL, NOBODY, RESERVED_OWNERS } from "../domain/principal.ts";
import { flowName } from "./chatflow-checks.ts";
import { checkDefinition, type DefinitionContext } from "./chatflow-definition.ts";
import { definitionFromMessage } from "./chatflow-message.ts";
import type { Complain } from "./check.ts";

export interface ChatflowFile {
  readonly name: string;
  readonly principal: string;
  readonly definition: ChatflowDefinition;
}

export interface ChatflowFileContext extends DefinitionContext {
  /** An open server's flows are its one principal's where a file names none. */
  readonly open: boolean;
}

/** A definition with the longest texts that it may hold has less. */
const FILE_BYTES_MAX = 1024 ** 2;
const KEYS: ReadonlySet<string> = new Set(["name", "principal", "definition"]);

/** Why a file is no flow. */
export class ChatflowFileError extends Error {
  override readonly name = "ChatflowFileError";
  readonly complaints: readonly string[];
  constructor(complaints: readonly string[]) {
    super(complaints.join("; "));
    this.complaints = complaints;
  }
}

/** Rejects with a ChatflowFileError that has every complaint. */
export async function readChatflowFile(path: string, context: ChatflowFileContext): Promise<ChatflowFile> {
  const value = parse(await read(path));
  const complaints: string[] = [];
  const complain: Complain = (field, _reason, description) => complaints.push(`${field}: ${description}`);
  for (const key of Object.keys(value)) {
    if (!KEYS.has(key)) complain(key, "unknown", `is not one of ${[...KEYS].join(", ")}`);
  }
  const name = typeof value.name === "string" ? value.name : "";
  flowName(complain, "name", name);
  const principal = principalOf(complain, value.principal, context);
  const definition = definitionOf(complain, value.definition);
  if (definition || value.definition === undefined) {
    const owner = principal === undefined ? NOBODY : { name: principal, open: context.open };
    checkDefinition(complain, definition, owner, context);
  }
  if (complaints.length > 0 || !definition || principal === undefined)
    throw new ChatflowFileError(complaints);
  return { name, principal, definition: definitionFromMessage(definition) };
}

async function read(path: string): Promise<string> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    if (size > FILE_BYTES_MAX) {
      throw new ChatflowFileError([`has ${size} bytes; at most ${FILE_BYTES_MAX} are allowed`]);
    }
    return await file.readFile("utf8");
  } finally {
    await file.close();
  }
}

function parse(text: string): Readonly<Record<string, JsonValue>> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new ChatflowFileError([`is not JSON: ${error instanceof Error ? error.message : String(error)}`]);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new ChatflowFileError(["is not a JSON object"]);
  }
  return value as Readonly<Record<string, JsonValue>>;
}

function principalOf(
  complain: Complain,
  value: JsonValue | undefined,
  { open: isOpen }: ChatflowFileContext,
): string | undefined {
  if (value === undefined && isOpen) return LOCAL.name;
  if (value === undefined) complain("principal", "required", "is required, for this server is not open");
  else if (typeof value === "string" && NAME_PART.test(value) && !RESERVED_OWNERS.has(value)) return value;
  else complain("principal", "format", "is not the name of a principal");
  return undefined;
}

function definitionOf(complain: Complain, value: JsonValue | undefined) {
  if (value === undefined) return undefined;
  try {
    return fromJson(ChatflowDefinitionSchema, value);
  } catch (error) {
    // It names the message and the field.
    complain("definition", "format", error instanceof Error ? error.message : String(error));
    return undefined;
  }
}
