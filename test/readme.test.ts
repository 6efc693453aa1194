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
  await using server = await startServer();
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
  await using server = await startServer();
  const script = code.replaceAll("127.0.0.1:8080", new URL(server.url).host);
  const { stdout } = await run("bash", ["-euc", script], { cwd: ROOT });
  expect(stdout).toContain('"status":null');
  expect(stdout).toContain("zebra");
  expect(stdout).toContain("succeeded");
});
