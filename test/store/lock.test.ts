import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { expect, onTestFinished, test } from "vitest";
import { openStore } from "../../src/store/open-store.ts";
import { tempFolder, tempStore } from "./temp-store.ts";

/** Opens the store in a process of its own and holds it until killed. */
async function holdElsewhere(dataDir: string): Promise<ChildProcess> {
  const module = new URL("../../src/store/open-store.ts", import.meta.url).href;
  const script = `
    const { openStore } = await import(${JSON.stringify(module)});
    await openStore({ dataDir: ${JSON.stringify(dataDir)}, queueMax: 10 });
    console.log("open");
    setInterval(() => {}, 1000);
  `;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => {
    child.kill("SIGKILL");
  });
  await once(createInterface({ input: child.stdout }), "line");
  return child;
}

test("a data folder is opened once, and again when it was closed", async () => {
  const dataDir = tempFolder();
  const first = await openStore({ dataDir, queueMax: 10 });
  await expect(openStore({ dataDir, queueMax: 10 })).rejects.toMatchObject({
    code: "failed_precondition",
    message: expect.stringContaining(`in use by process ${process.pid};`),
  });
  await first.close();
  await tempStore({ dataDir });
});

test("another process's folder is refused by its pid, and free once that process is killed", async () => {
  const dataDir = tempFolder();
  const child = await holdElsewhere(dataDir);
  await expect(openStore({ dataDir, queueMax: 10 })).rejects.toThrow(`in use by process ${child.pid};`);
  child.kill("SIGKILL");
  await once(child, "exit");
  await tempStore({ dataDir });
});
