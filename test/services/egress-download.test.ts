/** What is downloaded to a file: whole or not at all, within its limits. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { AuspexError } from "../../src/domain/error.ts";
import { createEgress, type EgressDownload } from "../../src/services/egress.ts";
import { listen } from "./http-listener.ts";

const NOTHING = "nothing was written";

async function listener(...args: Parameters<typeof listen>) {
  const started = await listen(...args);
  onTestFinished(() => started[Symbol.asyncDispose]());
  return started;
}

/** Answers what was written, with the answer's status or the error. */
async function download(url: string, rest: Partial<EgressDownload> = {}, allow = ["127.0.0.1"]) {
  const folder = mkdtempSync(join(tmpdir(), "auspex-download-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, "file");
  writeFileSync(path, NOTHING);
  const egress = createEgress({ allow });
  onTestFinished(() => egress.close());
  const request = { url, headers: {}, path, maxBytes: 100_000, timeoutMs: 10_000, stallMs: 10_000 };
  const { signal } = new AbortController();
  const outcome = await egress.download({ ...request, signal, ...rest }).then(
    ({ status }) => status,
    (thrown: unknown) => AuspexError.from(thrown).code,
  );
  return { outcome, written: readFileSync(path) };
}

test.each([true, false])("a body up to the limit, its length announced: %s", async (announced) => {
  const target = await listener((response, { path }) => {
    const body = Buffer.alloc(Number(path.slice(1)), 7);
    if (announced) response.setHeader("content-length", body.length);
    else response.flushHeaders();
    response.end(body);
  });
  const exact = await download(`${target.origin}/100000`);
  expect(exact).toEqual({ outcome: 200, written: Buffer.alloc(100_000, 7) });
  const longer = await download(`${target.origin}/100001`);
  expect(longer.outcome).toBe("resource_exhausted");
  expect(longer.written.length).toBeLessThanOrEqual(100_000);
});

test("the body of another status than 200 is left", async () => {
  const target = await listener((response, { path }) => {
    response.writeHead(Number(path.slice(1)), { location: "/200" }).end("a page that says so");
  });
  for (const status of [302, 404, 500]) {
    const { outcome, written } = await download(`${target.origin}/${status}`);
    expect([outcome, String(written)]).toEqual([status, NOTHING]);
  }
  expect(target.received).toHaveLength(3);
});

test("F13 a body that stalls is left after the stall, one that trickles at the timeout", async () => {
  const drips: NodeJS.Timeout[] = [];
  onTestFinished(() => drips.forEach(clearInterval));
  const target = await listener((response, { path }) => {
    response.writeHead(200);
    response.write("x");
    if (path === "/trickle") drips.push(setInterval(() => response.write("x"), 20));
  });
  const stalled = await download(`${target.origin}/stall`, { stallMs: 200 });
  expect(stalled.outcome).toBe("deadline_exceeded");
  const trickled = await download(`${target.origin}/trickle`, { stallMs: 2000, timeoutMs: 400 });
  expect(trickled.outcome).toBe("deadline_exceeded");
  expect(trickled.written.length).toBeGreaterThan(1);
});

test("F15 addresses are checked as for any other way out", async () => {
  const target = await listener();
  for (const allow of [[], [`127.0.0.1:${target.port === 1 ? 2 : 1}`]]) {
    expect((await download(target.origin, {}, allow)).outcome).toBe("invalid_argument");
    expect((await download(`http://localhost:${target.port}/`, {}, allow)).outcome).toBe("invalid_argument");
  }
  expect(target.connections()).toBe(0);
});

test("the signal and a cut connection end it", async () => {
  const gone = new AbortController();
  const target = await listener((response, { path }) => {
    response.writeHead(200, { "content-length": 10 });
    response.write("12345");
    if (path === "/cut") setTimeout(() => response.destroy(), 50);
    else gone.abort();
  });
  expect((await download(`${target.origin}/cut`)).outcome).toBe("unavailable");
  expect((await download(`${target.origin}/signal`, { signal: gone.signal })).outcome).toBe("canceled");
});
