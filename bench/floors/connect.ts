/**
 * The floor for Connect: a bare connect-node that reads GetPrediction's request and answers one fixed prediction.
 *
 *     node bench/floors/connect.ts 1|2 <GetPredictionResponse to answer, in base64>
 *
 * Over HTTP/1.1 for the Connect protocol, or HTTP/2 for gRPC. Tells its parent the port over IPC and ends with it.
 */
import { createServer } from "node:http";
import { createServer as createHttp2Server } from "node:http2";
import { fromBinary } from "@bufbuild/protobuf";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { GetPredictionResponseSchema, PredictionService } from "../../gen/auspex/v1/prediction_pb.ts";
import { answerOf, listen } from "./floor.ts";

const answer = fromBinary(GetPredictionResponseSchema, answerOf(process.argv));
const handler = connectNodeAdapter({
  routes: (router) => router.service(PredictionService, { getPrediction: () => answer }),
});
const http2 = { settings: { maxConcurrentStreams: 128 } };
await listen(process.argv[2] === "2" ? createHttp2Server(http2, handler) : createServer(handler));
