/**
 * How many values a protobuf message has, counted before it is decoded. What a message costs the main thread goes by
 * its values, not its bytes: 50 MB of one tensor take milliseconds to decode, 50 MB of two-byte fields ten seconds in
 * which nobody else is served, and gigabytes. The walk makes no object of any of them.
 *
 * It counts as JSON is counted, so that what may come as the one may come as the other: every field is one value, every
 * number of a packed list is one, and what only wraps a value (an entry of a map, `google.protobuf.Value`) is none.
 */
import type { DescField, DescMessage } from "@bufbuild/protobuf";
import { ScalarType } from "@bufbuild/protobuf";
import { WireType } from "@bufbuild/protobuf/wire";

/** What a field of a message holds, as far as its values are counted. */
type Kind =
  | { readonly kind: "message"; readonly level: () => Level }
  | { readonly kind: "varints" }
  | { readonly kind: "fixed"; readonly bytes: 4 | 8 }
  | { readonly kind: "one" };

interface Level {
  readonly fields: ReadonlyMap<number, Kind>;
  /** Fields that are only a part of the value around them; any more of them are values. */
  readonly free: number;
}

/** The library refuses what is nested deeper. */
const DEPTH_MAX = 100;
const ONE: Kind = { kind: "one" };
const levels = new WeakMap<DescMessage, Level>();

function levelOf(schema: DescMessage): Level {
  let level = levels.get(schema);
  if (!level) {
    const free = schema.typeName === "google.protobuf.Value" ? 1 : 0;
    level = { fields: new Map(schema.fields.map((field) => [field.number, kindOf(field)])), free };
    levels.set(schema, level);
  }
  return level;
}

function kindOf(field: DescField): Kind {
  if (field.fieldKind === "map") {
    const value: Kind = field.mapKind === "message" ? messageKind(field.message) : ONE;
    const entry: Level = { fields: new Map([[2, value]]), free: 2 };
    return { kind: "message", level: () => entry };
  }
  if (field.message) return messageKind(field.message);
  if (field.fieldKind !== "list") return ONE;
  return field.listKind === "enum" ? { kind: "varints" } : packedKind(field.scalar);
}

/** Looked up when it is needed: a message may hold itself. */
function messageKind(schema: DescMessage): Kind {
  return { kind: "message", level: () => levelOf(schema) };
}

function packedKind(type: ScalarType): Kind {
  switch (type) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return ONE;
    case ScalarType.DOUBLE:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return { kind: "fixed", bytes: 8 };
    case ScalarType.FLOAT:
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      return { kind: "fixed", bytes: 4 };
    default:
      return { kind: "varints" };
  }
}

/** Whether the message has more values than `max`. What is malformed is left for the library to refuse. */
export function hasMoreValues(schema: DescMessage, bytes: Uint8Array, max: number): boolean {
  // No value takes less than a byte.
  if (bytes.length <= max) return false;
  const walk = new Walk(bytes, max);
  return walk.passes(levelOf(schema), bytes.length, 0) && walk.count > max;
}

class Walk {
  count = 0;
  readonly #bytes: Uint8Array;
  readonly #max: number;
  #at = 0;

  constructor(bytes: Uint8Array, max: number) {
    this.#bytes = bytes;
    this.#max = max;
  }

  /** Walks to `end`; false where it cannot be walked. Beyond the most values it does not go on. */
  passes({ fields, free }: Level, end: number, depth: number): boolean {
    if (depth > DEPTH_MAX) return false;
    for (let left = free; this.#at < end && this.count <= this.#max; ) {
      const tag = this.#varint(end);
      if (tag < 0) return false;
      if (left > 0) left--;
      else this.count++;
      const field = fields.get(Math.floor(tag / 8)) ?? ONE;
      if (!this.#skip(tag & 7, field, end, depth)) return false;
    }
    return true;
  }

  #skip(wireType: number, field: Kind, end: number, depth: number): boolean {
    switch (wireType) {
      case WireType.Varint:
        return this.#varint(end) >= 0;
      case WireType.Bit64:
        this.#at += 8;
        return this.#at <= end;
      case WireType.Bit32:
        this.#at += 4;
        return this.#at <= end;
      case WireType.LengthDelimited: {
        const length = this.#varint(end);
        const innerEnd = this.#at + length;
        if (length < 0 || innerEnd > end) return false;
        if (field.kind === "message") return this.passes(field.level(), innerEnd, depth + 1);
        if (field.kind === "fixed") this.count += length / field.bytes;
        if (field.kind === "varints") this.#countVarints(innerEnd);
        this.#at = innerEnd;
        return true;
      }
      // What lies in a group follows as fields like others.
      case WireType.StartGroup:
      case WireType.EndGroup:
        return true;
      default:
        return false;
    }
  }

  /** The last byte of each has its top bit clear. */
  #countVarints(end: number): void {
    for (let at = this.#at; at < end && this.count <= this.#max; at++) {
      if ((this.#bytes[at] ?? 0) < 0x80) this.count++;
    }
  }

  /** -1 for one that does not end. Beyond 53 bits it is not exact, and no tag or length. */
  #varint(end: number): number {
    let value = 0;
    let scale = 1;
    for (let length = 0; length < 10 && this.#at < end; length++) {
      const byte = this.#bytes[this.#at++] ?? 0;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      scale *= 128;
    }
    return -1;
  }
}
