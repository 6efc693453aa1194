/** JSON that knows the suite's messages, which hold `Any`. */
import {
  type DescMessage,
  fromJsonString as fromText,
  type JsonReadOptions,
  type MessageShape,
  toJsonString as toText,
} from "@bufbuild/protobuf";
import { registry } from "../messages.ts";

export * from "@bufbuild/protobuf";

export function toJsonString<D extends DescMessage>(schema: D, message: MessageShape<D>): string {
  return toText(schema, message, { registry });
}

export function fromJsonString<D extends DescMessage>(
  schema: D,
  json: string,
  options: Partial<JsonReadOptions>,
): MessageShape<D> {
  return fromText(schema, json, { ...options, registry });
}
