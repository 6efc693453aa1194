/** Connect and gRPC-Web from a real browser, from the API's own origin and from others. */
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { basename, extname, join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { build } from "vite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { photograph, startServer, type TestServer } from "../harness.ts";
import { launchChromium } from "./chromium.ts";

const MODEL = "auspex/mobilenet";

const TYPES: Readonly<Record<string, string>> = { ".html": "text/html", ".js": "text/javascript" };

let folder: string;
let server: TestServer;
let pages: Server;
let browser: Browser;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "auspex-page-"));
  const root = join(import.meta.dirname, "page");
  await build({ root, base: "./", logLevel: "error", build: { outDir: folder, assetsDir: "" } });
  pages = createServer(async (request, response) => {
    const name = basename(new URL(request.url ?? "/", "http://x").pathname);
    response.setHeader("content-type", TYPES[extname(name)] ?? "");
    response.end(await readFile(join(folder, name)));
  });
  pages.listen(0, "127.0.0.1");
  [server, browser] = await Promise.all([
    startServer({ settings: { CATALOGUE: "auspex/mobilenet" } }),
    launchChromium(),
    once(pages, "listening"),
  ]);
});
afterAll(async () => {
  await browser?.close();
  pages?.close();
  await server?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

/** Opens the page under an origin. Where no server of ours has its files, the browser is handed them. */
async function open(origin: string): Promise<Page> {
  const page = await browser.newPage();
  if (origin !== elsewhere()) {
    await page.route(`${origin}/page/**`, (route) => {
      const name = basename(new URL(route.request().url()).pathname);
      return route.fulfill({ path: join(folder, name), contentType: TYPES[extname(name)] ?? "" });
    });
  }
  await page.goto(`${origin}/page/index.html?${new URLSearchParams({ api: server.url, model: MODEL })}`);
  return page;
}

/** A real origin other than the API's. */
const elsewhere = () => `http://localhost:${(pages.address() as AddressInfo).port}`;

/** Sends the photograph; answers the states that the page showed, the label and the error. */
async function classify(page: Page, protocol: string) {
  await page.selectOption("#protocol", protocol);
  await page.setInputFiles("#picture", photograph("zebra"));
  await page.click("button");
  await page.waitForFunction(
    `document.querySelector("#label").value !== "" || document.querySelector("#error").textContent !== ""`,
  );
  const states = await page.locator("#states li").allTextContents();
  const label = await page.locator("#label").textContent();
  return { states, label, error: await page.locator("#error").textContent() };
}

describe.each(["connect", "grpc-web"])("%s in a browser", (protocol) => {
  it("creates and watches from the API's own origin", async () => {
    await expectZebra(await open(server.url), protocol);
  });

  it("creates and watches from another origin", async () => {
    await expectZebra(await open(elsewhere()), protocol);
  });

  it("is not let in from an origin that is not allowed", async () => {
    const page = await open("http://shop.example");
    expect((await classify(page, protocol)).error).toContain("Failed to fetch");
    await page.close();
  });
});

async function expectZebra(page: Page, protocol: string): Promise<void> {
  const { states, label, error } = await classify(page, protocol);
  expect(error).toBe("");
  expect(label).toContain("zebra");
  expect(states.at(-1)).toBe("SUCCEEDED");
  await page.close();
}
