/** F20, F22, F23: forms, zips and pictures with a few bytes changed, and some that no tool would write. */
import { create, toBinary } from "@bufbuild/protobuf";
import sharp from "sharp";
import { afterAll, beforeAll, expect, test } from "vitest";
import { DatasetType, UploadDatasetRequestSchema } from "../../gen/auspex/v1/dataset_pb.ts";
import { UploadImageRequestSchema } from "../../gen/auspex/v1/image_pb.ts";
import { CreatePredictionRequestSchema } from "../../gen/auspex/v1/prediction_pb.ts";
import { drawPicture } from "../pictures.ts";
import { rawZip, zip64Claiming } from "../raw-zip.ts";
import { POISON } from "../reliability/poison.ts";
import { type Arena, faults, openArena, type Told } from "./arena.ts";
import { below, mutated, oneOf } from "./mutations.ts";

const CLASSIFIER = "auspex/mobilenet-tiny";
const ROUNDS = { forms: 1500, zips: 1000, pictures: 800 } as const;
const INVALID_ARGUMENT = 3;

let arena: Arena;
beforeAll(async () => {
  arena = await openArena(22, { CATALOGUE: "1" });
});
afterAll(() => arena?.[Symbol.asyncDispose]());

const picture = await drawPicture("circle", 1);

const FORMS = [
  "/v2/vision/predict",
  "/v2/vision/datasets/upload/sync",
  "/v2/vision/train",
  "/v2/oauth2/token",
  "/api/v1/images",
  "/api/v1/einstein_prediction",
] as const;

const field = (name: string, value: string | Uint8Array, more = ""): Buffer =>
  Buffer.concat([
    Buffer.from(`--b\r\nContent-Disposition: form-data; name="${name}"${more}\r\n\r\n`),
    Buffer.from(value),
    Buffer.from("\r\n"),
  ]);
const form = (...parts: readonly Uint8Array[]): Buffer<ArrayBuffer> =>
  Buffer.concat([...parts, Buffer.from("--b--\r\n")]);
const GOOD_FORM = form(
  field("modelId", CLASSIFIER),
  field("numResults", "3"),
  field("sampleContent", picture, '; filename="a.jpg"\r\nContent-Type: image/jpeg'),
);
const TYPE = "multipart/form-data; boundary=b";

const sendForm = (path: string, body: Uint8Array<ArrayBuffer>, type = TYPE): Promise<Told> =>
  arena.http(path, body, { "content-type": type });

const BAD_FORMS: Readonly<Record<string, readonly [Uint8Array<ArrayBuffer>, string?]>> = {
  "a hundred thousand parts": [form(...Array(100_000).fill(field("a", "b")))],
  "a hundred thousand boundaries": [Buffer.from("--b\r\n".repeat(100_000))],
  "a form in a form in a form": [
    Buffer.from(
      `--b\r\nContent-Type: multipart/mixed; boundary=c\r\nContent-Disposition: form-data; name="a"\r\n\r\n${"--c\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n".repeat(5000)}--c--\r\n--b--\r\n`,
    ),
  ],
  "headers of a part without an end": [Buffer.from(`--b\r\n${"X-Header: value\r\n".repeat(100_000)}`)],
  "one header of a megabyte": [
    Buffer.from(`--b\r\nContent-Disposition: form-data; name="${"a".repeat(1_000_000)}"\r\n\r\nx\r\n--b--`),
  ],
  "a boundary of 100,000 characters in the body": [Buffer.from(`--${"b".repeat(100_000)}\r\n`)],
  "a boundary of 400 characters": [GOOD_FORM, `multipart/form-data; boundary=${"b".repeat(400)}`],
  "a boundary of 10,000 characters": [GOOD_FORM, `multipart/form-data; boundary=${"b".repeat(10_000)}`],
  "no boundary": [GOOD_FORM, "multipart/form-data"],
  "an empty boundary": [GOOD_FORM, 'multipart/form-data; boundary=""'],
  "an end without a beginning": [Buffer.from("--b--")],
  "dashes alone": [Buffer.alloc(1_000_000, "-")],
  "line ends alone": [Buffer.alloc(1_000_000, "\r\n")],
};

test.each(Object.entries(BAD_FORMS))(
  "F20 a form with %s is refused soon, wherever it is sent",
  async (_name, [body, type]) => {
    const began = performance.now();
    const told = await arena.throwAll(FORMS.map((path) => () => sendForm(path, body, type)));
    expect(faults(told)).toEqual([]);
    // This one takes a prediction of no model, which then fails.
    const taken = told.filter(({ status, door }) => status < 400 && !door.endsWith("/einstein_prediction"));
    expect(taken).toEqual([]);
    expect(performance.now() - began).toBeLessThan(5000);
  },
);

test("F20 forms with a few bytes changed", async () => {
  function* inputs(): Generator<() => Promise<Told>> {
    for (let i = 0; i < ROUNDS.forms; i++) {
      // Of the picture's bytes few, of its form all.
      const short = form(
        field("modelId", CLASSIFIER),
        field("sampleContent", picture.subarray(0, 40), '; filename="a"'),
      );
      const body = mutated(arena.random, oneOf(arena.random, [short, GOOD_FORM]));
      const path = oneOf(arena.random, FORMS);
      yield () => sendForm(path, body);
    }
  }
  expect(faults(await arena.throwAll(inputs()))).toEqual([]);
});

const uploadZip = (data: Uint8Array<ArrayBuffer>): Promise<Told> => {
  const zip = { source: { case: "data", value: data } } as const;
  const request = create(UploadDatasetRequestSchema, { type: DatasetType.IMAGE, zip, waitUntilReady: true });
  return arena.grpc("/auspex.v1.DatasetService/UploadDataset", toBinary(UploadDatasetRequestSchema, request));
};

test("F22 zips with a few bytes changed, and with places that no file has", async () => {
  const zips: readonly [Buffer<ArrayBuffer>, ...Buffer<ArrayBuffer>[]] = [
    rawZip([
      { name: "circle/a.jpg", data: picture },
      { name: "square/b.jpg", data: picture, method: 0 },
    ]),
    rawZip([
      { name: "w/", data: Buffer.alloc(0), method: 0 },
      { name: "w/a/1.jpg", data: Buffer.alloc(3000) },
      { name: "w/b/2.jpg", data: picture.subarray(0, 100), offset: 0xffff_fff0 },
    ]),
    zip64Claiming(3n),
    zip64Claiming(1n, { record: 2n ** 57n }),
    zip64Claiming(1n, { directory: 2n ** 64n - 1n }),
  ];
  function* inputs(): Generator<() => Promise<Told>> {
    for (const zip of zips) yield () => uploadZip(zip);
    for (let i = 0; i < ROUNDS.zips; i++) {
      const zip = oneOf(arena.random, zips);
      // What says where things are stands at the end: half of the changes are made there.
      const head = arena.random() < 0.5 ? zip.length - Math.min(zip.length, 250) : 0;
      const body = Buffer.concat([zip.subarray(0, head), mutated(arena.random, zip.subarray(head))]);
      yield () => uploadZip(body);
    }
  }
  expect(faults(await arena.throwAll(inputs()))).toEqual([]);
});

test("F23 pictures with a few bytes changed, of every format, inspected and classified", async () => {
  const frame = sharp(picture).resize(48);
  const pictures = [
    await frame.clone().jpeg().toBuffer(),
    await frame
      .clone()
      .jpeg({ progressive: true })
      .withExif({ IFD0: { Copyright: "nobody" } })
      .toBuffer(),
    await frame.clone().png().toBuffer(),
    await frame.clone().png({ palette: true }).toBuffer(),
    await frame.clone().gif().toBuffer(),
    await frame.clone().webp().toBuffer(),
    await frame.clone().webp({ lossless: true }).toBuffer(),
    await frame.clone().tiff().toBuffer(),
    ...(await Promise.all(Object.values(POISON).map((make) => make()))),
  ];
  function* inputs(): Generator<() => Promise<Told>> {
    for (let i = 0; i < ROUNDS.pictures; i++) {
      const original = pictures[below(arena.random, pictures.length)] ?? picture;
      // Sizes and types stand in the first bytes.
      const head = Math.min(original.length, arena.random() < 0.7 ? 64 : original.length);
      const data = Buffer.concat([
        mutated(arena.random, original.subarray(0, head)),
        original.subarray(head),
      ]);
      yield () =>
        arena.grpc(
          "/auspex.v1.ImageService/UploadImage",
          toBinary(UploadImageRequestSchema, create(UploadImageRequestSchema, { data })),
        );
      yield () =>
        arena.grpc(
          "/auspex.v1.PredictionService/CreatePrediction",
          toBinary(
            CreatePredictionRequestSchema,
            create(CreatePredictionRequestSchema, {
              model: CLASSIFIER,
              files: { image: data },
              wait: { seconds: 5n },
            }),
          ),
        );
    }
  }
  const told = await arena.throwAll(inputs());
  expect(faults(told)).toEqual([]);
  expect(
    told.some(({ status }) => status === 0) && told.some(({ status }) => status === INVALID_ARGUMENT),
  ).toBe(true);
});

test("F20, F22, F23 the server stands as before", () =>
  arena.settle("files (forms, zips, pictures)", { mayKeep: /^blobs/ }));
