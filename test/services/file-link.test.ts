/** Links to pictures: good for half an hour, for one picture of one principal, signed with one secret. */
import { create } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { type GetExampleRequest, GetExampleResponseSchema } from "../../gen/auspex/v1/dataset_pb.ts";
import type { CallContext } from "../../src/services/call.ts";
import { createFileLinks, LINK_SECONDS } from "../../src/services/file-link.ts";

const ALICE = { name: "alice.b", open: false };
const BYTES = Uint8Array.of(1, 2, 3);
const START = 1_800_000_000;

function links(secret = "a secret") {
  const asked: { readonly id: bigint; readonly principal: string }[] = [];
  const clock = { seconds: START };
  const datasets = {
    async getExample({ id, includeData }: GetExampleRequest, { principal }: CallContext) {
      asked.push({ id, principal: principal.name });
      expect(includeData).toBe(true);
      return create(GetExampleResponseSchema, { example: { mediaType: "image/png" }, data: BYTES });
    },
  };
  return { ...createFileLinks({ secret, datasets, now: () => clock.seconds * 1e6 }), clock, asked };
}

function partsOf(link: string) {
  const { pathname, searchParams } = new URL(link, "http://localhost");
  return {
    id: pathname.replace("/files/", ""),
    exp: searchParams.get("exp") ?? "",
    sig: searchParams.get("sig") ?? "",
  };
}

const { signal } = new AbortController();
const REFUSED = { code: "not_found" };

it("opens the picture for whoever has it, in its maker's name", async () => {
  const { link, open, asked } = links();
  const parts = partsOf(link(ALICE, 42n));
  expect(await open(parts, signal)).toEqual({ mediaType: "image/png", bytes: BYTES, seconds: LINK_SECONDS });
  expect(asked).toEqual([{ id: 42n, principal: "alice.b" }]);
});

it("is good until its last second, and not in the next one", async () => {
  const { link, open, clock } = links();
  const parts = partsOf(link(ALICE, 42n));
  clock.seconds = START + LINK_SECONDS - 1;
  expect(await open(parts, signal)).toMatchObject({ seconds: 1 });
  clock.seconds = START + LINK_SECONDS;
  await expect(open(parts, signal)).rejects.toMatchObject(REFUSED);
});

it("is refused when anything of it is changed, or when another server made it", async () => {
  const { link, open, asked } = links();
  const parts = partsOf(link(ALICE, 42n));
  const bad = [
    { ...parts, id: "alice.b.43" },
    { ...parts, id: "alice.42" },
    { ...parts, exp: String(Number(parts.exp) + 1) },
    { ...parts, exp: "" },
    { ...parts, sig: "" },
    { ...parts, sig: parts.sig.slice(1) },
    partsOf(links("another secret").link(ALICE, 42n)),
  ];
  for (const parts of bad) await expect(open(parts, signal)).rejects.toMatchObject(REFUSED);
  expect(asked).toEqual([]);
});
