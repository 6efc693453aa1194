/** The README's calls, run as they are printed, against a server whose ports are put in their place. */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { startServer } from "./harness.ts";

const ROOT = join(import.meta.dirname, "..");
const run = promisify(execFile);

test("every call under “Call it” answers zebra", async () => {
  const readme = await readFile(join(ROOT, "README.md"), "utf8");
  const section = /^## Call it$(.*?)^## /ms.exec(readme)?.[1] ?? "";
  const [setup, ...calls] = [...section.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, code]) => code ?? "");
  expect(calls).toHaveLength(3);
  await using server = await startServer({ settings: { CATALOGUE: "1" } });
  for (const call of calls) {
    const script = `${setup}${call}`
      .replaceAll("127.0.0.1:50051", new URL(server.grpcUrl).host)
      .replaceAll("127.0.0.1:8080", new URL(server.url).host);
    const { stdout } = await run("bash", ["-euc", script], { cwd: ROOT });
    expect(stdout).toContain("zebra");
    expect(stdout.toLowerCase()).toContain("succeeded");
  }
});

test("the calls under “Einstein Prediction” end with a zebra", async () => {
  const readme = await readFile(join(ROOT, "README.md"), "utf8");
  const section = /^## Einstein Prediction$(.*?)^## /ms.exec(readme)?.[1] ?? "";
  const code = [...section.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, text]) => text).join("");
  await using server = await startServer({ settings: { CATALOGUE: "1" } });
  const script = code.replaceAll("127.0.0.1:8080", new URL(server.url).host);
  const { stdout } = await run("bash", ["-euc", script], { cwd: ROOT });
  expect(stdout).toContain('"status":null');
  expect(stdout).toContain("zebra");
  expect(stdout).toContain("succeeded");
});

test("the calls under “Teach it your own pictures” train and predict, by curl and by gRPC alone", async () => {
  const readme = await readFile(join(ROOT, "README.md"), "utf8");
  const section = /^## Teach it your own pictures$(.*?)^## /ms.exec(readme)?.[1] ?? "";
  const blocks = [...section.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, code]) => code ?? "");
  const overGrpc = blocks.pop() ?? "";
  await using server = await startServer({ settings: { CATALOGUE: "1", EGRESS_ALLOW: "127.0.0.1" } });
  const byCurl = blocks.join("").replaceAll("127.0.0.1:8080", new URL(server.url).host);
  const { stdout } = await run("bash", ["-euc", byCurl], { cwd: ROOT });
  const [metrics, ...predictions] = stdout.split(/(?<=})(?={)/).map((text) => JSON.parse(text));
  expect(metrics.metricsData.labels).toEqual(["circle", "square"]);
  const [byUrl, byFile, byBase64, unseen] = predictions;
  expect(predictions).toHaveLength(4);
  expect(byUrl.probabilities[0].label).toBe("circle");
  expect([byFile, byBase64]).toEqual([byUrl, byUrl]);
  expect(unseen.probabilities[0].label).toBe("square");

  await using bare = await startServer({ settings: { CATALOGUE: "1", DIALECTS: "none" } });
  for (const path of ["/v1/models", "/v2/apiusage", "/api/v1/images"]) {
    expect(await (await fetch(`${bare.url}${path}`)).json()).toMatchObject({ error: { code: "not_found" } });
  }
  const script = overGrpc.replaceAll("127.0.0.1:50051", new URL(bare.grpcUrl).host);
  const printed = (await run("bash", ["-euc", script], { cwd: ROOT, maxBuffer: 1e8 })).stdout;
  expect(printed).toContain('"status": "TRAINING_STATUS_SUCCEEDED"');
  expect(printed).toContain("PREDICTION_STATUS_SUCCEEDED");
  expect(/"label": "(.*?)"/.exec(printed)?.[1]).toBe("square");
});

test("the calls under “Ask it questions” answer the right passage with its source, thrice", async () => {
  const readme = await readFile(join(ROOT, "README.md"), "utf8");
  const section = /^## Ask it questions$(.*?)^## /ms.exec(readme)?.[1] ?? "";
  const [setup = "", ...calls] = [...section.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, code]) => code ?? "");
  await using server = await startServer({ settings: { CATALOGUE: "1" } });
  // A call needs what the setup has set, and what it prints is told apart by a line of its own.
  const script = [setup, ...calls]
    .join("echo; echo '=====';\n")
    .replaceAll("127.0.0.1:50051", new URL(server.grpcUrl).host)
    .replaceAll("127.0.0.1:8080", new URL(server.url).host);
  const { stdout } = await run("bash", ["-euc", script], { cwd: ROOT, maxBuffer: 1e8 });
  const [upserted = "", unary = "", streamed = "", overGrpc = ""] = stdout.split(/^=====$/m);
  const right = "A model is a folder below `data/models`";

  expect(JSON.parse(upserted).numAdded).toBeGreaterThan(20);
  const answer = JSON.parse(unary);
  expect(answer.text).toContain(right);
  expect(answer.sourceDocuments[0].pageContent).toContain(right);
  expect(answer.sourceDocuments[0].metadata).toMatchObject({
    source: "README.md",
    heading: "Auspex > A model of your own",
  });

  const events = [...streamed.matchAll(/^message:\ndata:(.*)\n\n/gm)].map(([, data]) =>
    JSON.parse(data ?? ""),
  );
  const text = events.filter(({ event }) => event === "token").map(({ data }) => data);
  expect(text.join("")).toBe(answer.text);
  expect(events.find(({ event }) => event === "sourceDocuments").data).toEqual(answer.sourceDocuments);
  expect(events.at(-1)).toEqual({ event: "end", data: "[DONE]" });

  const messages = overGrpc.split(/(?<=^})\n/m).filter((part) => part.trim() !== "");
  const { answer: last } = JSON.parse(messages.at(-1) ?? "");
  expect(JSON.parse(messages[0] ?? "")).toHaveProperty("started.predictionId");
  expect(last.text).toBe(answer.text);
  expect(last.sourceDocuments[0].text).toBe(answer.sourceDocuments[0].pageContent);
});
