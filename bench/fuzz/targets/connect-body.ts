/** Bodies of Connect and gRPC-Web calls, bare, in envelopes, packed: `readBody`. The first byte chooses the form. */
import { gzipSync } from "node:zlib";
import { create, toBinary } from "@bufbuild/protobuf";
import { GetPredictionRequestSchema } from "../../../gen/auspex/v1/prediction_pb.ts";
import { AuspexError } from "../../../src/domain/error.ts";
import { createByteBudget } from "../../../src/transports/byte-budget.ts";
import { type BodyForm, readBody } from "../../../src/transports/connect-body.ts";
import { holds, unlessRejected } from "../target.ts";

export const claim =
  "A body is refused, or is given on within the limits and the same however it was cut in pieces; and the budget has its bytes back.";

const LIMIT = 2048;
const isRefusal = (error: unknown): boolean =>
  error instanceof AuspexError && (error.code === "invalid_argument" || error.code === "resource_exhausted");

async function read(body: Buffer, form: BodyForm, pieces: number): Promise<Buffer | undefined> {
  const budget = createByteBudget(100 * LIMIT);
  const share = budget.open();
  async function* source(): AsyncGenerator<Uint8Array> {
    const step = Math.max(1, Math.ceil(body.length / pieces));
    for (let at = 0; at < body.length; at += step) yield body.subarray(at, at + step);
  }
  const message = await unlessRejected(isRefusal, async () => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of readBody(source(), form, { maxBytes: LIMIT, maxValues: 100, share }))
      chunks.push(chunk);
    return Buffer.concat(chunks);
  });
  share.close();
  holds(budget.taken === 0, "the budget has its bytes back");
  return message;
}

export async function fuzz(data: Buffer): Promise<void> {
  const [choice = 0] = data;
  const body = data.subarray(1);
  const form: BodyForm = {
    enveloped: (choice & 1) !== 0,
    json: (choice & 2) !== 0,
    encoding: (choice & 4) !== 0 ? "gzip" : undefined,
    length: (choice & 8) !== 0 ? body.length : undefined,
    schema: GetPredictionRequestSchema,
  };
  const whole = await read(body, form, 1);
  const cut = await read(body, form, 7);
  holds((whole === undefined) === (cut === undefined), "it is refused in pieces exactly when it is whole");
  if (!whole || !cut) return;
  holds(whole.equals(cut), "pieces make no difference");
  holds(whole.length <= LIMIT + 5, "what is given on is within the limit");
}

export function seeds(): readonly Uint8Array[] {
  const message = toBinary(GetPredictionRequestSchema, create(GetPredictionRequestSchema, { id: "x" }));
  const json = Buffer.from('{"id":"x"}');
  const envelope = (flags: number, body: Uint8Array): Buffer => {
    const head = Buffer.alloc(5);
    head.writeUInt8(flags, 0);
    head.writeUInt32BE(body.length, 1);
    return Buffer.concat([head, body]);
  };
  const formed = (choice: number, body: Uint8Array): Buffer => Buffer.concat([Buffer.of(choice), body]);
  return [
    formed(0, message),
    formed(2, json),
    formed(4, gzipSync(message)),
    formed(6, gzipSync(json)),
    formed(1, envelope(0, message)),
    formed(5, envelope(1, gzipSync(message))),
    formed(13, envelope(1, gzipSync(Buffer.alloc(100_000)))),
  ];
}

export const words = ["\x1f\x8b\x08", "\x00\x00\x00\x00\x05", '{"id":"'];
