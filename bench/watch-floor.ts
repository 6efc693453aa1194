/**
 * The floor for watchers: the least that a grpc-js server does which tells many streams of a change. Ids and streams in
 * memory, nothing written, nobody asked who he is, one message made and encoded for all who watch.
 *
 * It speaks only over its IPC channel and ends with it.
 */
import { randomUUID } from "node:crypto";
import { create, type DescMessage, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
} from "@grpc/grpc-js";
import {
  CancelPredictionRequestSchema,
  CancelPredictionResponseSchema,
  CreatePredictionResponseSchema,
  PredictionService,
  PredictionStatus,
  WatchPredictionRequestSchema,
  WatchPredictionResponseSchema,
} from "../gen/auspex/v1/prediction_pb.ts";

const keep = (bytes: Buffer): Buffer => bytes;

function encode<T extends DescMessage>(schema: T, message: MessageInitShape<T>): Buffer {
  return Buffer.from(toBinary(schema, create(schema, message)));
}

type Unary = (call: ServerUnaryCall<Buffer, Buffer>, reply: sendUnaryData<Buffer>) => void;

function definition(name: string, responseStream: boolean) {
  return {
    path: `/${PredictionService.typeName}/${name}`,
    requestStream: false,
    responseStream,
    requestSerialize: keep,
    requestDeserialize: keep,
    responseSerialize: keep,
    responseDeserialize: keep,
  };
}

function serveWatches(): Promise<number> {
  const streams = new Map<string, ServerWritableStream<Buffer, Buffer>[]>();
  const createPrediction: Unary = (_call, reply) => {
    const id = randomUUID();
    streams.set(id, []);
    reply(null, encode(CreatePredictionResponseSchema, { prediction: { id } }));
  };
  const watchPrediction = (call: ServerWritableStream<Buffer, Buffer>): void => {
    const { id } = fromBinary(WatchPredictionRequestSchema, call.request);
    streams.get(id)?.push(call);
    call.write(
      encode(WatchPredictionResponseSchema, { prediction: { id, status: PredictionStatus.PENDING } }),
    );
  };
  const cancelPrediction: Unary = (call, reply) => {
    const { id } = fromBinary(CancelPredictionRequestSchema, call.request);
    const micros = Math.round((performance.timeOrigin + performance.now()) * 1000);
    const updateTime = { seconds: BigInt(Math.floor(micros / 1e6)), nanos: (micros % 1e6) * 1000 };
    const prediction = { id, status: PredictionStatus.CANCELED, updateTime };
    const bytes = encode(WatchPredictionResponseSchema, { prediction });
    for (const stream of streams.get(id) ?? []) {
      stream.write(bytes);
      stream.end();
    }
    streams.delete(id);
    reply(null, encode(CancelPredictionResponseSchema, { prediction }));
  };
  const server = new Server({ "grpc.enable_channelz": 0 });
  server.addService(
    {
      CreatePrediction: definition("CreatePrediction", false),
      WatchPrediction: definition("WatchPrediction", true),
      CancelPrediction: definition("CancelPrediction", false),
    },
    {
      CreatePrediction: createPrediction,
      WatchPrediction: watchPrediction,
      CancelPrediction: cancelPrediction,
    },
  );
  return new Promise((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) =>
      error ? reject(error) : resolve(port),
    );
  });
}

process.on("disconnect", () => process.exit(0));
const port = await serveWatches();
process.send?.({ port });
