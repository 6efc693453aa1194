import { expect, test } from "vitest";
import { base32OfUuid, createIdMinter, firstIdOf, parseUuid, uuidOfBase32 } from "../../src/domain/id.ts";

const random = (bytes: Uint8Array) => void crypto.getRandomValues(bytes);

test("ids are UUIDv7 that rise strictly, also within a millisecond and when the clock goes back", () => {
  const mint = createIdMinter(random);
  const times = [1000, 1000, 1001, 999, 500, ...Array(10_000).fill(1002), 1003];
  const ids = times.map((ms) => mint(ms));
  for (const [index, id] of ids.entries()) {
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    if (index > 0) expect(id > (ids[index - 1] ?? "")).toBe(true);
  }
});

test("F39 what follows the time and the counter cannot be guessed: 62 bits, each as good as thrown, no two alike", () => {
  const mint = createIdMinter(random);
  const COUNT = 4000;
  const columns: number[][] = Array.from({ length: 62 }, () => []);
  for (let i = 0; i < COUNT; i++) {
    const [, , , variant = "", tail = ""] = mint(i).split("-");
    const bits = BigInt(`0x${variant}${tail}`);
    for (const [at, column] of columns.entries()) column.push(Number((bits >> BigInt(at)) & 1n));
  }
  // Eight standard deviations of a fair coin: a true one fails once in 10^15.
  const isFair = (heads: number) => Math.abs(heads - COUNT / 2) < 8 * Math.sqrt(COUNT / 4);
  for (const [at, column] of columns.entries()) {
    expect(isFair(column.reduce((sum, bit) => sum + bit, 0)), `bit ${at}`).toBe(true);
    for (const [other, second] of columns.slice(0, at).entries()) {
      const same = column.reduce((sum, bit, i) => sum + (bit === second[i] ? 1 : 0), 0);
      expect(isFair(same), `bits ${at} and ${other}`).toBe(true);
    }
  }
});

test("an id begins with its time", () => {
  const ms = Date.UTC(2026, 0, 1);
  expect(Number.parseInt(createIdMinter(random)(ms).replace("-", "").slice(0, 12), 16)).toBe(ms);
});

test("only UUIDs are read, in either case", () => {
  expect(parseUuid("018F3A6E-0000-7000-8000-0123456789AB")).toBe("018f3a6e-0000-7000-8000-0123456789ab");
  for (const text of ["", "x", "018f3a6e00007000800000000000000", "018f3a6e-0000-7000-8000-0123456789ab "]) {
    expect(parseUuid(text)).toBeUndefined();
  }
});

test("the 128 bits of an id are 26 characters of base32, and read again", () => {
  for (const id of [
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "019c0000-1234-7000-8000-0123456789ab",
  ]) {
    expect(base32OfUuid(id)).toMatch(/^[A-Z2-7]{26}$/);
    expect(uuidOfBase32(base32OfUuid(id))).toBe(id);
  }
  // 125 bits of zero, then 001 with two zeros behind it: the alphabet's fifth.
  expect(base32OfUuid("00000000-0000-0000-0000-000000000001")).toBe("AAAAAAAAAAAAAAAAAAAAAAAAAE");
  for (const text of ["", "A".repeat(25), "a".repeat(26), "A".repeat(27), "1".repeat(26)]) {
    expect(uuidOfBase32(text)).toBeUndefined();
  }
});

test("the first id of a millisecond sorts between those before and those of it", () => {
  const mint = createIdMinter((bytes) => bytes.fill(0));
  const [before, of] = [mint(1_999), mint(2_000)];
  expect(before < firstIdOf(2_000)).toBe(true);
  expect(firstIdOf(2_000) < of).toBe(true);
  expect(firstIdOf(2_000.9)).toBe(firstIdOf(2_000));
});
