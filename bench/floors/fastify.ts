/**
 * The floor for REST: a bare Fastify that takes any JSON and answers a fixed object, both as Fastify does it when
 * nothing is set.
 *
 *     node bench/floors/fastify.ts <JSON to answer, in base64>
 *
 * Tells its parent the port over IPC and ends with it.
 */
import Fastify from "fastify";
import { answerOf, tell } from "./floor.ts";

const answer: unknown = JSON.parse(new TextDecoder().decode(answerOf(process.argv)));
const app = Fastify();
app.get("/", async () => answer);
app.post("/", async () => answer);
await app.listen({ host: "127.0.0.1", port: 0 });
tell(app.server);
