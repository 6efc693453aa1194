/**
 * The suite's messages, from the descriptors that main.ts has made of its `.proto` files; no code is generated from them.
 */
import { readFileSync } from "node:fs";
import {
  createFileRegistry,
  type DescMessage,
  type DescService,
  type FileRegistry,
  fromBinary,
} from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { DESCRIPTORS } from "./folders.ts";

const PACKAGE = "connectrpc.conformance.v1";

export const registry: FileRegistry = createFileRegistry(
  fromBinary(FileDescriptorSetSchema, readFileSync(DESCRIPTORS)),
);

export function messageType(name: string): DescMessage {
  const found = registry.getMessage(`${PACKAGE}.${name}`);
  if (!found) throw new Error(`the suite has no message ${name}`);
  return found;
}

export function serviceType(name: string): DescService {
  const found = registry.getService(`${PACKAGE}.${name}`);
  if (!found) throw new Error(`the suite has no service ${name}`);
  return found;
}
