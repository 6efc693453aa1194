/** The bench's own reading of bodies in envelopes, and what it takes for a prediction that succeeded. */
import { create, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { envelope, unwrap } from "../../bench/envelope.ts";
import { checkAnswer } from "../../bench/load-answer.ts";
import { CreatePredictionResponseSchema, PredictionStatus } from "../../gen/auspex/v1/prediction_pb.ts";

function end(flags: number, text: string): Uint8Array {
  const bytes = envelope(Buffer.from(text));
  bytes[0] = flags;
  return bytes;
}

const trailers = (text: string): Uint8Array => end(0x80, text);

const answer = (status: PredictionStatus): Uint8Array =>
  toBinary(
    CreatePredictionResponseSchema,
    create(CreatePredictionResponseSchema, { prediction: { status } }),
  );

test("the message before good trailers is what was sent", () => {
  const message = Uint8Array.of(1, 2, 3);
  expect(envelope(message)).toEqual(Uint8Array.of(0, 0, 0, 0, 3, 1, 2, 3));
  const body = Buffer.concat([envelope(message), trailers("grpc-status: 0\r\n")]);
  expect(Uint8Array.from(unwrap(body))).toEqual(message);
});

test("and so is the one before the good end of a stream over Connect", () => {
  const message = envelope(Uint8Array.of(1));
  expect(Uint8Array.from(unwrap(Buffer.concat([message, end(2, "{}")])))).toEqual(Uint8Array.of(1));
  const error = end(2, '{"error":{"code":"not_found"}}');
  expect(() => unwrap(Buffer.concat([message, error]))).toThrow("not_found");
});

test("bad trailers, and none, are errors", () => {
  const message = envelope(Uint8Array.of(1));
  expect(() => unwrap(Buffer.concat([message, trailers("grpc-status: 8\r\n")]))).toThrow("grpc-status: 8");
  expect(() => unwrap(trailers("grpc-status: 0\r\n"))).toThrow("failed");
  expect(() => unwrap(message)).toThrow("without an end");
  expect(() => unwrap(new Uint8Array())).toThrow("without an end");
});

test("a prediction in any wrapping must have succeeded, or be on its way where nobody waits", () => {
  const succeeded = answer(PredictionStatus.SUCCEEDED);
  const pending = answer(PredictionStatus.PENDING);
  const failed = answer(PredictionStatus.FAILED);
  expect(checkAnswer("succeeded prediction", succeeded)).toBe(true);
  expect(checkAnswer("accepted prediction", pending)).toBe(true);
  expect(() => checkAnswer("succeeded prediction", pending)).toThrow("did not succeed");
  expect(() => checkAnswer("accepted prediction", failed)).toThrow("did not succeed");
  const web = Buffer.concat([envelope(failed), trailers("grpc-status:0\r\n")]);
  expect(() => checkAnswer("succeeded prediction in an envelope", web)).toThrow("did not succeed");
  const json = Buffer.from('{"prediction":{"status":"PREDICTION_STATUS_SUCCEEDED"}}');
  expect(checkAnswer("succeeded prediction in JSON", json)).toBe(true);
  expect(() => checkAnswer("succeeded prediction in JSON", Buffer.from("{}"))).toThrow("did not succeed");
  expect(checkAnswer("bytes", failed)).toBe(false);
});
