import { expect, test } from "vitest";
import { anImage, tempStore } from "./temp-store.ts";

test("an image comes back as it was written, to its principal alone", async () => {
  const store = await tempStore();
  const images = [
    anImage(),
    anImage({ state: { kind: "importing" }, sourceUrl: "https://pictures.example/cat.png" }),
    anImage({ state: { kind: "failed", reason: "it is no picture" } }),
  ];
  for (const image of images) {
    await store.images.insert(image);
    expect(await store.images.get("alice", image.id)).toEqual(image);
    expect(await store.images.get("bob", image.id)).toBeUndefined();
  }
});

test("an import ends once, and what has not ended is found again", async () => {
  const store = await tempStore();
  const imports = [anImage({ state: { kind: "importing" } }), anImage({ state: { kind: "importing" } })];
  await store.images.insert(anImage());
  for (const image of imports) await store.images.insert(image);
  expect(await store.images.importing()).toEqual(imports);

  const [first, second] = imports;
  if (!first || !second) throw new Error("an import is missing");
  const { state } = anImage();
  const results = await Promise.all([
    store.images.settle({ id: first.id, state }),
    store.images.settle({ id: first.id, state: { kind: "failed", reason: "too late" } }),
  ]);
  expect(results).toEqual([true, false]);
  expect(await store.images.get("alice", first.id)).toEqual({ ...first, state });
  expect(await store.images.importing()).toEqual([second]);
});
