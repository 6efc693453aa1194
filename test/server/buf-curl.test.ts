/** A stranger's client: `buf curl`, by reflection on the gRPC port and by the protos on the HTTP port. */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { photograph, startServer, type TestServer } from "../harness.ts";

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, "..", "..");
let server: TestServer;
let image: string;

beforeAll(async () => {
  server = await startServer();
  image = await readFile(photograph("zebra"), "base64");
});
afterAll(() => server?.[Symbol.asyncDispose]());

async function curl(args: readonly string[], method: string, body: unknown): Promise<string[]> {
  const base = args.includes("--http2-prior-knowledge") ? server.grpcUrl : server.url;
  const child = run(
    join(ROOT, "node_modules", ".bin", "buf"),
    ["curl", ...args, "-d", "@-", `${base}/auspex.v1.PredictionService/${method}`],
    { cwd: ROOT, maxBuffer: 1e8 },
  );
  child.child.stdin?.end(JSON.stringify(body));
  // Streamed messages are JSON documents one after the other.
  return (await child).stdout.split(/(?<=^})\n/m).filter((part) => part.trim() !== "");
}

test.each([
  ["reflection on the gRPC port", ["--protocol", "grpc", "--http2-prior-knowledge"]],
  ["Connect", ["--protocol", "connect", "--schema", "proto"]],
  ["gRPC-Web", ["--protocol", "grpcweb", "--schema", "proto"]],
])(
  "creates and watches a prediction: %s",
  async (_name, args) => {
    const [created] = await curl(args, "CreatePrediction", {
      model: "auspex/mobilenet-tiny",
      files: { image },
    });
    const { id } = JSON.parse(created ?? "{}").prediction;
    const states = (await curl(args, "WatchPrediction", { id })).map((part) => JSON.parse(part).prediction);
    expect(states.at(-1).status).toBe("PREDICTION_STATUS_SUCCEEDED");
    expect(states.at(-1).output.probabilities[0].label).toContain("zebra");
  },
  60_000,
);

test("reflection lists the services, health included", async () => {
  const { stdout } = await run(
    join(ROOT, "node_modules", ".bin", "buf"),
    ["curl", "--protocol", "grpc", "--http2-prior-knowledge", "--list-services", server.grpcUrl],
    { cwd: ROOT },
  );
  expect(stdout.trim().split("\n").sort()).toEqual(
    expect.arrayContaining([
      "auspex.v1.ImageService",
      "auspex.v1.ModelService",
      "auspex.v1.PredictionService",
      "grpc.health.v1.Health",
    ]),
  );
});
