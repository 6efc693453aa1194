import { join } from "node:path";
import { crc32, deflateSync } from "node:zlib";
import * as tf from "@tensorflow/tfjs-core";
import * as layers from "@tensorflow/tfjs-layers";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Engine, Job } from "../../src/engine/engine.ts";
import { writeModel } from "../models/mlp.ts";
import { type EngineFixture, photo, startEngine, until, workerPids } from "./harness.ts";

const MAX_PIXELS = 1_000_000;

/** What the model under test says of one picture: the mean of each colour, 0 to 1. */
interface Colours {
  readonly red: number;
  readonly green: number;
  readonly blue: number;
}

/** A picture model whose three classes are the means of the three channels. */
async function writeMeans(folder: string): Promise<void> {
  await tf.setBackend("cpu");
  const input = layers.input({ shape: [16, 16, 3], name: "picture" });
  const pool = layers.layers.globalAveragePooling2d({ name: "means" });
  const model = layers.model({ inputs: input, outputs: pool.apply(input) as layers.SymbolicTensor });
  const picture = { width: 16, height: 16 };
  await writeModel(folder, model, { task: "image-multi-label", labels: ["red", "green", "blue"], picture });
}

describe("pictures", () => {
  let fixture: EngineFixture;
  let engine: Engine;
  let red: Buffer;
  beforeAll(async () => {
    fixture = await startEngine({ workers: 1, maxPixels: MAX_PIXELS }, (modelsDir) =>
      writeMeans(join(modelsDir, "acme", "means", "1")),
    );
    engine = fixture.engine;
    red = await solid("#ff0000").png().toBuffer();
  });
  afterAll(() => fixture.stop());

  const solid = (background: string, width = 32, height = 32): ReturnType<typeof sharp> =>
    sharp({ create: { width, height, channels: 3, background } });

  async function see(image: Uint8Array): Promise<Colours> {
    const job: Job = {
      owner: "acme",
      name: "means",
      version: 1,
      input: { json: {}, tensors: {}, files: { image } },
      signal: new AbortController().signal,
      deadlineAt: undefined,
      deaths: 0,
      onWorkerDeath: async () => undefined,
    };
    const { json } = (await engine.run(job)).output;
    const { probabilities } = json as { probabilities: { label: keyof Colours; probability: number }[] };
    return Object.fromEntries(probabilities.map((p) => [p.label, p.probability])) as unknown as Colours;
  }

  function expectColour(seen: Colours, ...wanted: readonly [number, number, number]): void {
    for (const [i, label] of (["red", "green", "blue"] as const).entries()) {
      expect(Math.abs(seen[label] - (wanted[i] ?? 0)), label).toBeLessThan(0.03);
    }
  }

  /** In one batch with sound neighbours, which must not notice. */
  async function expectRefused(image: Uint8Array, why: string): Promise<void> {
    const [before, poison, after] = await Promise.allSettled([see(red), see(image), see(red)]);
    expect(poison).toMatchObject({ status: "rejected", reason: { code: "invalid_argument" } });
    expect(poison.status === "rejected" ? String(poison.reason) : "").toContain(why);
    for (const neighbour of [before, after]) {
      if (neighbour.status === "rejected") throw neighbour.reason;
      expectColour(neighbour.value, 1, 0, 0);
    }
    await expect(engine.inspect(image, new AbortController().signal)).rejects.toMatchObject({
      code: "invalid_argument",
    });
  }

  it("sees JPEG, PNG, WebP and GIF alike", async () => {
    for (const format of ["jpeg", "png", "webp", "gif"] as const) {
      const bytes = await solid("#00ff00", 40, 30).toFormat(format).toBuffer();
      expectColour(await see(bytes), 0, 1, 0);
      expect(await engine.inspect(bytes, new AbortController().signal)).toEqual({
        mediaType: `image/${format}`,
        width: 40,
        height: 30,
      });
    }
  });

  it("looks into a real photograph, upright by its EXIF orientation", async () => {
    const { width, height } = await engine.inspect(await photo("zebra"), new AbortController().signal);
    expect([width, height]).toEqual([800, 533]);
    const turned = await solid("#ff0000", 40, 30).jpeg().withMetadata({ orientation: 6 }).toBuffer();
    const info = await engine.inspect(turned, new AbortController().signal);
    expect([info.width, info.height]).toEqual([30, 40]);
  });

  it("shows white through what is transparent", async () => {
    const create = {
      width: 8,
      height: 8,
      channels: 4,
      background: { r: 255, g: 0, b: 0, alpha: 0 },
    } as const;
    expectColour(await see(await sharp({ create }).png().toBuffer()), 1, 1, 1);
  });

  it("gives each of a batch its own answer, whichever is decoded first", async () => {
    const sizes = [1000, 8, 500, 16, 900, 4, 700, 2];
    const pictures = await Promise.all(
      sizes.map((size, i) =>
        solid(`rgb(${i * 30}, 0, ${255 - i * 30})`, size, size)
          .png()
          .toBuffer(),
      ),
    );
    const broken = pictures[4]?.subarray(0, 200) ?? new Uint8Array();
    const { batches } = engine.stats();
    const seen = await Promise.allSettled([...pictures, broken, red].map((picture) => see(picture)));
    expect(engine.stats().batches - batches).toBeLessThanOrEqual(2);
    for (const [i, outcome] of seen.entries()) {
      if (i === sizes.length) {
        expect(outcome).toMatchObject({ status: "rejected", reason: { code: "invalid_argument" } });
      } else if (outcome.status === "rejected") {
        throw outcome.reason;
      } else if (i < sizes.length) {
        expectColour(outcome.value, (i * 30) / 255, 0, 1 - (i * 30) / 255);
      } else {
        expectColour(outcome.value, 1, 0, 0);
      }
    }
  });

  it("F23 refuses a PNG of 30,000 × 30,000 from its header", async () => {
    await expectRefused(png(30_000, 30_000), "30000 × 30000 pixels; at most 1000000 are allowed");
  });

  it("F23 takes exactly the pixels that are allowed, and not one more", async () => {
    const exact = await solid("#0000ff", 1000, 1000).png().toBuffer();
    expectColour(await see(exact), 0, 0, 1);
    await expectRefused(await solid("#0000ff", 1000, 1001).png().toBuffer(), "1000 × 1001 pixels");
  });

  it("F23 refuses a JPEG that is cut off", async () => {
    const bytes = await sharp(await photo("zebra"))
      .jpeg()
      .toBuffer();
    await expectRefused(bytes.subarray(0, bytes.length / 2), "damaged or cut off");
    await expectRefused(bytes.subarray(0, 20), "is not a JPEG, PNG, WebP or GIF that can be read");
    await expectRefused(new Uint8Array(), "is empty");
  });

  it("F23 sees a CMYK JPEG and a 16-bit PNG in their colours", async () => {
    const cmyk = await solid("#ff0000").toColourspace("cmyk").jpeg().toBuffer();
    expect((await sharp(cmyk).metadata()).space).toBe("cmyk");
    const seen = await see(cmyk);
    expect(seen.red).toBeGreaterThan(0.8);
    expect(Math.max(seen.green, seen.blue)).toBeLessThan(0.3);
    const deep = await solid("#ff8000").toColourspace("rgb16").png().toBuffer();
    expect((await sharp(deep).metadata()).depth).toBe("ushort");
    expectColour(await see(deep), 1, 0.5, 0);
  });

  it("F23 sees only the first of an animation's frames", async () => {
    const frames = Buffer.alloc(8 * 8 * 3 * 2000, 0);
    frames.fill(255, 0, 8 * 8 * 3);
    const raw = { width: 8, height: 8 * 2000, channels: 3, pageHeight: 8 } as const;
    const gif = await sharp(frames, { raw }).gif().toBuffer();
    expect((await sharp(gif, { animated: true }).metadata()).pages).toBeGreaterThan(1);
    expectColour(await see(gif), 1, 1, 1);
  });

  it("F23 refuses every other format by its name or as unreadable", async () => {
    const svg = `<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>
      <svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><text>&x;</text></svg>`;
    const unreadable = "is not a JPEG, PNG, WebP or GIF that can be read";
    await expectRefused(Buffer.from(svg), unreadable);
    await expectRefused(await solid("#ff0000").tiff().toBuffer(), unreadable);
    await expectRefused(await solid("#ff0000").avif().toBuffer(), unreadable);
    await expectRefused(Buffer.from("%PDF-1.7\n1 0 obj\n<<>>\nendobj\n"), unreadable);
    await expectRefused(Buffer.from("BM".padEnd(64, "\0")), unreadable);
  });

  it("F23 takes a polyglot for the picture that it begins with, or for none", async () => {
    const page = Buffer.from("<script>alert(1)</script><svg></svg>PK\x03\x04");
    expectColour(await see(Buffer.concat([red, page])), 1, 0, 0);
    await expectRefused(Buffer.concat([page, red]), "is not a JPEG");
    const gif = await solid("#ff0000").gif().toBuffer();
    await expectRefused(Buffer.concat([Buffer.from("<svg/>"), gif]), "is not a JPEG");
  });

  it("F23 takes a JPEG with as much EXIF as one can carry, many times over", async () => {
    const jpeg = await solid("#00ff00").jpeg().toBuffer();
    const segment = Buffer.concat([
      Buffer.from([0xff, 0xe1, 0xff, 0xff]),
      Buffer.from("Exif\0\0"),
      Buffer.alloc(0xffff - 8, 0x41),
    ]);
    const stuffed = Buffer.concat([jpeg.subarray(0, 2), ...Array(1000).fill(segment), jpeg.subarray(2)]);
    expect(stuffed.length).toBeGreaterThan(64_000_000);
    // Whether the decoder takes it or not, nobody else notices.
    const [poison, neighbour] = await Promise.allSettled([see(stuffed), see(red)]);
    if (poison.status === "fulfilled") expectColour(poison.value, 0, 1, 0);
    else expect(poison.reason).toMatchObject({ code: "invalid_argument" });
    expect(neighbour.status).toBe("fulfilled");
    expect(engine.stats().workerDeaths).toBe(0);
  });

  it("leaves at once when the one who asked has gone", async () => {
    await expect(engine.inspect(red, AbortSignal.abort())).rejects.toMatchObject({ code: "canceled" });
  });
});

/** The smallest PNG file that claims a size: a few bytes of pixel data for whatever it says. */
function png(width: number, height: number): Buffer {
  const chunk = (type: string, data: Buffer): Buffer => {
    const body = Buffer.concat([Buffer.from(type), data]);
    const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(data.length);
    sum.writeUInt32BE(crc32(body));
    return Buffer.concat([length, body, sum]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8);
  const magic = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  const pixels = chunk("IDAT", deflateSync(Buffer.alloc(64)));
  return Buffer.concat([magic, chunk("IHDR", header), pixels, chunk("IEND", Buffer.alloc(0))]);
}

it("a picture that kills its worker twice is given up, and those beside it are looked at", async () => {
  const fixture = await startEngine({ workers: 1 });
  try {
    const create = { width: 5000, height: 5000, channels: 3, background: "#336699" } as const;
    const image = await sharp({ create }).png().toBuffer();
    const seen = new Set<number>();
    const killNew = async (): Promise<void> => {
      // Of the pool and the one that looks into pictures.
      await until(async () => (await workerPids()).filter((pid) => !seen.has(pid)).length === 2);
      for (const pid of (await workerPids()).filter((each) => !seen.has(each))) {
        seen.add(pid);
        process.kill(pid, "SIGKILL");
      }
    };
    const looks = Promise.allSettled(
      Array.from({ length: 4 }, () => fixture.engine.inspect(image, new AbortController().signal)),
    );
    await killNew();
    await killNew();
    const outcomes = await looks;
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(3);
    expect(outcomes.find(({ status }) => status === "rejected")).toMatchObject({
      reason: { code: "internal", message: "the worker died twice while looking at this picture" },
    });
  } finally {
    await fixture.stop();
  }
});
