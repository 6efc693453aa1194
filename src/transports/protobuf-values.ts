/**
 * How many values a protobuf message has, counted before it is decoded. What a message costs the main thread goes by
 * its values, not its bytes: 50 MB of one tensor take milliseconds to decode, 50 MB of small fields seconds in which
 * nobody else is served, and a gigabyte. The walk makes no object of any of them, and ends at the limit.
 *
 * It counts as JSON is counted, so that what may come as the one may come as the other: every field is one value, every
 * number of a packed list is one, and what only wraps a value (an entry of a map, `google.protobuf.Value`) is none.
 *
 * The library reads a known field by its declared type, whatever wire type its tag has. A walk that went by the tag alone
 * could be led past millions of values, so one that does not fit its field makes the message malformed.
 */
import type { DescField, DescMessage } from "@bufbuild/protobuf";
import { ScalarType } from "@bufbuild/protobuf";
import { WireType } from "@bufbuild/protobuf/wire";

/** What a field of a message holds, as far as its values are counted. */
type Kind =
  | { readonly kind: "message"; readonly level: () => Level }
  | { readonly kind: "one"; readonly wireType: WireType }
  /** Numbers, one by one or packed. */
  | { readonly kind: "numbers"; readonly wireType: WireType };

interface Level {
  readonly fields: ReadonlyMap<number, Kind>;
  /** Fields that are only a part of the value around them; any more of them are values. */
  readonly free: number;
}

/** The library refuses what is nested deeper. */
const DEPTH_MAX = 100;
const TAG_MAX = 2 ** 32 - 1;
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
    const value: Kind =
      field.mapKind === "message" ? messageKind(field.message) : oneKind(wireTypeOf(field.scalar));
    const fields = new Map([
      [1, oneKind(wireTypeOf(field.mapKey))],
      [2, value],
    ]);
    const entry: Level = { fields, free: 2 };
    return { kind: "message", level: () => entry };
  }
  if (field.message) return messageKind(field.message);
  const wireType = wireTypeOf(field.scalar);
  const isNumbers = field.fieldKind === "list" && wireType !== WireType.LengthDelimited;
  return isNumbers ? { kind: "numbers", wireType } : oneKind(wireType);
}

/** Looked up when it is needed: a message may hold itself. */
function messageKind(schema: DescMessage): Kind {
  return { kind: "message", level: () => levelOf(schema) };
}

function oneKind(wireType: WireType): Kind {
  return { kind: "one", wireType };
}

/** @param type undefined for an enum */
function wireTypeOf(type: ScalarType | undefined): WireType {
  switch (type) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return WireType.LengthDelimited;
    case ScalarType.DOUBLE:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return WireType.Bit64;
    case ScalarType.FLOAT:
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      return WireType.Bit32;
    default:
      return WireType.Varint;
  }
}

/** Whether the tag of a field has a wire type that the field can have; of an unknown one any but a group's. */
function fits(field: Kind | undefined, wireType: number): boolean {
  if (wireType === WireType.StartGroup || wireType === WireType.EndGroup) return false;
  if (!field) return true;
  if (wireType === WireType.LengthDelimited && field.kind !== "one") return true;
  return field.kind !== "message" && field.wireType === wireType;
}

export type Weight = "within" | "more" | "malformed";

/** Whether the message has more values than `max`; a short one is not looked at. */
export function weigh(schema: DescMessage, bytes: Uint8Array, max: number): Weight {
  // No value takes less than a byte.
  if (bytes.length <= max) return "within";
  const walk = new Walk(bytes, max);
  const isWalked = walk.passes(levelOf(schema), bytes.length, 0);
  if (walk.count > max) return "more";
  return isWalked ? "within" : "malformed";
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
      if (tag < 0 || tag > TAG_MAX) return false;
      if (left > 0) left--;
      else this.count++;
      const [field, wireType] = [fields.get(Math.floor(tag / 8)), tag % 8];
      if (!fits(field, wireType) || !this.#skip(wireType, field, end, depth)) return false;
    }
    return true;
  }

  #skip(wireType: number, field: Kind | undefined, end: number, depth: number): boolean {
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
        if (field?.kind === "message") return this.passes(field.level(), innerEnd, depth + 1);
        const isWhole = field?.kind !== "numbers" || this.#countPacked(field.wireType, innerEnd);
        this.#at = innerEnd;
        return isWhole;
      }
      default:
        return false;
    }
  }

  /** Whether the last number ends where the list does; the library reads on. Of a varint the last byte has its top bit clear. */
  #countPacked(wireType: WireType, end: number): boolean {
    const length = end - this.#at;
    if (wireType !== WireType.Varint) {
      const size = wireType === WireType.Bit64 ? 8 : 4;
      this.count += length / size;
      return length % size === 0;
    }
    for (let at = this.#at; at < end && this.count <= this.#max; at++) {
      if ((this.#bytes[at] ?? 0) < 0x80) this.count++;
    }
    return length === 0 || (this.#bytes[end - 1] ?? 0) < 0x80;
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
