/** Files read in processes of their own: what a hostile one costs, and that it costs nobody else. */
import { createDeflate } from "node:zlib";
import { afterEach, describe, expect, test } from "vitest";
import {
  createDocumentReader,
  type DocumentFile,
  type DocumentReader,
  READER_LIMITS,
  type ReaderLimits,
} from "../../../src/services/flow/document-reader.ts";
import { until } from "../../harness.ts";
import { childrenOf } from "../../processes.ts";
import { makePdf } from "./pdf.ts";

const never = new AbortController().signal;
const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const MEBIBYTE = 1024 ** 2;

let reader: DocumentReader | undefined;
afterEach(async () => {
  await reader?.close();
  reader = undefined;
  expect(childrenOf(process.pid)).toEqual([]);
});

function readerWith(limits: Partial<ReaderLimits> = {}): DocumentReader {
  reader = createDocumentReader(log, { ...READER_LIMITS, ...limits });
  return reader;
}

function file(name: string, content: string | Buffer): DocumentFile {
  return { name, mediaType: "", bytes: Buffer.from(content) };
}

const small = file("a.md", "# A\nText.");
const parts = [{ text: "# A\nText.", metadata: { heading: "A" } }];

/** Takes minutes to read: each end tag is looked for among all that are open. */
const endless = file("a.html", `${"<a>".repeat(300_000)}${"</b>".repeat(300_000)}`);

test("reads parts, or passages of them", async () => {
  const { read, split } = readerWith();
  expect(await read(small, "flow", never)).toEqual(parts);
  expect(await split(file("a.txt", "alpha beta"), { size: 6, overlap: 0, max: 2 }, "flow", never)).toEqual([
    { text: "alpha", metadata: {} },
    { text: "beta", metadata: {} },
  ]);
  await expect(
    split(file("a.txt", "alpha beta"), { size: 6, overlap: 0, max: 1 }, "flow", never),
  ).rejects.toMatchObject({
    code: "invalid_argument",
    message: "it has more than 1 passages",
  });
  await expect(read(file("a.json", "{"), "flow", never)).rejects.toMatchObject({ code: "invalid_argument" });
});

test("a process that has nothing to read ends, and another begins", async () => {
  const { read } = readerWith({ idleMs: 1 });
  expect(await read(small, "flow", never)).toEqual(parts);
  await until(() => childrenOf(process.pid).length === 0);
  expect(await read(small, "flow", never)).toEqual(parts);
});

describe("a file that is not read to its end", () => {
  test("for its time, and others are read beside it and after it", async () => {
    const { read } = readerWith({ timeMs: 3000 });
    const late = expect(read(endless, "hostile", never)).rejects.toMatchObject({
      code: "invalid_argument",
      message: "it takes longer than 3 s to read",
    });
    expect(await read(small, "flow", never)).toEqual(parts);
    await late;
    expect(await read(small, "flow", never)).toEqual(parts);
  });

  test("for its memory on JavaScript's heap", async () => {
    const { read } = readerWith({ memoryBytes: 256 * MEBIBYTE });
    await expect(read(file("a.csv", `a,b\n${"x,".repeat(10_000_000)}`), "flow", never)).rejects.toMatchObject(
      {
        code: "invalid_argument",
        message: "it takes more than 256 MiB of memory to read",
      },
    );
    expect(await read(small, "flow", never)).toEqual(parts);
  });

  test("for its memory outside of it: a stream of a PDF that unpacks to a thousand times its size", async () => {
    const { read } = readerWith({ memoryBytes: 256 * MEBIBYTE });
    const bomb = makePdf([["x"]], { deflated: await deflatedSpaces(1024 * MEBIBYTE) });
    expect(bomb.length).toBeLessThan(2 * MEBIBYTE);
    await expect(read(file("a.pdf", bomb), "flow", never)).rejects.toMatchObject({
      code: "invalid_argument",
      message: "it takes more than 256 MiB of memory to read",
    });
    expect(await read(small, "flow", never)).toEqual(parts);
  });

  test("because its caller went away: its process ends, and the next file has another", async () => {
    const { read } = readerWith();
    const gone = new AbortController();
    const refused = expect(read(endless, "flow", gone.signal)).rejects.toMatchObject({ code: "canceled" });
    const [pid] = await until(() => {
      const children = childrenOf(process.pid);
      return children.length > 0 && children;
    });
    gone.abort();
    await refused;
    await until(() => !childrenOf(process.pid).includes(pid ?? 0));
    expect(await read(small, "flow", never)).toEqual(parts);
    await expect(read(small, "flow", AbortSignal.abort())).rejects.toMatchObject({ code: "canceled" });
  });
});

test("files of two flows at once, one of each, and a process killed from outside costs its own file alone", async () => {
  const { read } = readerWith();
  const killed = expect(read(endless, "hostile", never)).rejects.toMatchObject({ code: "internal" });
  const [pid = 0] = await until(() => {
    const children = childrenOf(process.pid);
    return children.length > 0 && children;
  });
  const others = Promise.all(Array.from({ length: 17 }, () => read(small, "flow", never)));
  expect(await others).toHaveLength(17);
  expect(childrenOf(process.pid)).toHaveLength(2);
  // Another file of the same flow waits.
  const waiting = new AbortController();
  const left = expect(read(small, "hostile", waiting.signal)).rejects.toMatchObject({ code: "canceled" });
  expect(await read(small, "flow", never)).toEqual(parts);
  waiting.abort();
  await left;
  process.kill(pid, "SIGKILL");
  await killed;
  expect(await read(small, "flow", never)).toEqual(parts);
});

async function deflatedSpaces(bytes: number): Promise<Buffer> {
  const deflate = createDeflate({ level: 9 });
  const block = Buffer.alloc(16 * MEBIBYTE, " ");
  const written = (async () => {
    for (let left = bytes; left > 0; left -= block.length) {
      if (!deflate.write(block)) await new Promise((resolve) => deflate.once("drain", resolve));
    }
    deflate.end();
  })();
  const chunks: Buffer[] = [];
  for await (const chunk of deflate) chunks.push(chunk);
  await written;
  return Buffer.concat(chunks);
}
