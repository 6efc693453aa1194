/** Requests as bytes, made from their descriptors: right, nearly right, and with what no library would write. */
import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { MODEL } from "./arena.ts";
import { below, mutated, oneOf, type Random } from "./mutations.ts";

/** Fields that name a place on the network: a corpus for doors has no business there. */
const PLACES = /^(?:url|webhook)$/;
const DEPTH_MAX = 4;
/** How often a field has another wire type than it should, or a value that none can have. */
const WRONG = 0.05;

const TEXTS: readonly [string, ...string[]] = [
  "",
  MODEL,
  `${MODEL}:1`,
  "0192f0c1-2345-7abc-8def-0123456789ab",
  "__proto__",
  "constructor",
  "image",
  "\u0000",
  "\ud83d\ude00",
  "a".repeat(300),
  "../../etc/passwd",
  "float32",
];
const BAD_UTF8 = Buffer.from([0xc3, 0x28, 0xed, 0xa0, 0x80, 0xff]);
const WHOLE: readonly [bigint, ...bigint[]] = [
  0n,
  1n,
  2n,
  64n,
  -1n,
  2n ** 31n - 1n,
  -(2n ** 31n),
  2n ** 63n - 1n,
];
const DECIMAL: readonly [number, ...number[]] = [
  0,
  1,
  -1,
  0.5,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  5e-324,
  1e308,
];

/** A message of this type with random fields. */
export function messageOf(random: Random, schema: DescMessage, depth = 0): Uint8Array {
  const writer = new BinaryWriter();
  for (const field of schema.fields) {
    if (PLACES.test(field.name) || random() < 0.4) continue;
    const times = field.fieldKind === "list" || field.fieldKind === "map" ? below(random, 4) : 1;
    for (let i = 0; i < times; i++) writeField(random, writer, field, depth);
  }
  return writer.finish();
}

function writeField(random: Random, writer: BinaryWriter, field: DescField, depth: number): void {
  if (random() < WRONG) writeWrong(random, writer, field.number);
  else if (field.fieldKind === "map") {
    writer.tag(field.number, WireType.LengthDelimited).fork();
    writeScalar(random, writer, 1, field.mapKey);
    writeValue(random, writer, 2, field, depth);
    writer.join();
  } else {
    writeValue(random, writer, field.number, field, depth);
  }
}

/** What a field, an element of a list or a value of a map is: a message, a scalar, or else a number of an enum. */
interface ValueType {
  readonly message?: DescMessage | undefined;
  readonly scalar?: ScalarType | undefined;
}

function writeValue(random: Random, writer: BinaryWriter, no: number, type: ValueType, depth: number): void {
  if (type.message) {
    const bytes = depth < DEPTH_MAX ? messageOf(random, type.message, depth + 1) : new Uint8Array();
    writer.tag(no, WireType.LengthDelimited).bytes(bytes);
  } else {
    writeScalar(random, writer, no, type.scalar ?? ScalarType.INT32);
  }
}

function writeScalar(random: Random, writer: BinaryWriter, no: number, type: ScalarType): void {
  switch (type) {
    case ScalarType.STRING:
      writer.tag(no, WireType.LengthDelimited);
      if (random() < WRONG) writer.bytes(BAD_UTF8);
      else writer.string(oneOf(random, TEXTS));
      return;
    case ScalarType.BYTES:
      writer
        .tag(no, WireType.LengthDelimited)
        .bytes(Buffer.alloc(oneOf(random, [0, 1, 4, 256]), below(random, 256)));
      return;
    case ScalarType.DOUBLE:
      writer.tag(no, WireType.Bit64).double(oneOf(random, DECIMAL));
      return;
    case ScalarType.FLOAT:
      writer.tag(no, WireType.Bit32).float(oneOf(random, [0, 1, Number.NaN, 1e38]));
      return;
    default:
      writer.tag(no, WireType.Varint).int64(oneOf(random, WHOLE));
  }
}

/** A varint without an end, a length beyond the message, a group, or another wire type. */
function writeWrong(random: Random, writer: BinaryWriter, no: number): void {
  switch (below(random, 5)) {
    case 0:
      writer.tag(no, WireType.Varint).raw(Buffer.alloc(11, 0xff));
      return;
    case 1:
      writer.tag(no, WireType.LengthDelimited).uint32(oneOf(random, [1000, 0x7fff_ffff, 0xffff_ffff]));
      return;
    case 2:
      writer.tag(no, WireType.StartGroup);
      return;
    case 3:
      writer.tag(no, WireType.Bit64).raw(Buffer.alloc(8, 0xff));
      return;
    default:
      writer.tag(no, 7 as WireType);
  }
}

/** Half of them as they are made, half with a few bytes changed. */
export function hostileMessage(random: Random, schema: DescMessage): Uint8Array<ArrayBuffer> {
  const message = messageOf(random, schema);
  return random() < 0.5 ? mutated(random, message) : Uint8Array.from(message);
}

/** So many fields that the schema does not have. */
export function unknownFields(count: number): Uint8Array<ArrayBuffer> {
  const writer = new BinaryWriter();
  for (let i = 0; i < count; i++) writer.tag(1000 + (i % 1000), WireType.Varint).uint32(i);
  return Uint8Array.from(writer.finish());
}

/** A field within a field of the same number, so deep. */
export function nested(
  no: number,
  depth: number,
  leaf: Uint8Array = new Uint8Array(),
): Uint8Array<ArrayBuffer> {
  // Built from within, each head before what is there: the whole is walked once.
  const heads: Uint8Array[] = [];
  let length = leaf.length;
  for (let i = 0; i < depth; i++) {
    const head = new BinaryWriter().tag(no, WireType.LengthDelimited).uint32(length).finish();
    heads.push(head);
    length += head.length;
  }
  return Uint8Array.from(Buffer.concat([...heads.reverse(), leaf]));
}
