import { describe, expect, test } from "vitest";
import { parseEgressPolicy } from "../../src/services/egress-policy.ts";

const nothing = parseEgressPolicy([]);

function allows(entries: readonly string[], address: string, { host = address, port = 443 } = {}): boolean {
  return parseEgressPolicy(entries).allows({ host, port, address });
}

describe("F15 addresses that are not public are refused", () => {
  const REFUSED: Readonly<Record<string, readonly string[]>> = {
    loopback: ["127.0.0.1", "127.255.255.255", "::1"],
    unspecified: ["0.0.0.0", "0.1.2.3", "::"],
    private: ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fdff::1", "fec0::1"],
    "link-local": ["169.254.169.254", "fe80::1", "fe80::1%eth0"],
    "carrier-grade NAT": ["100.64.0.1", "100.127.255.255"],
    multicast: ["224.0.0.1", "239.255.255.255", "ff02::1"],
    broadcast: ["255.255.255.255"],
    reserved: ["240.0.0.1", "192.0.0.1", "192.88.99.1"],
    documentation: ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"],
    benchmark: ["198.18.0.1", "198.19.255.255", "2001:2::1"],
    "IPv4-mapped": ["::ffff:127.0.0.1", "::ffff:7f00:1", "::ffff:10.0.0.1", "::ffff:8.8.8.8"],
    "IPv4-compatible": ["::127.0.0.1", "::a00:1"],
    "IPv4-translated": ["::ffff:0:127.0.0.1"],
    NAT64: ["64:ff9b::10.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::a00:1"],
    "6to4": ["2002:7f00:1::", "2002:a00:1::1"],
    Teredo: ["2001:0:4136:e378:8000:63bf:3fff:fdd2"],
    "outside of what is given out": ["100::1", "200::1", "4000::1", "5f00::1"],
    "no addresses": ["", "localhost", "127.1x", "1.2.3.4.5"],
  };
  for (const [kind, addresses] of Object.entries(REFUSED)) {
    test.each(addresses)(`${kind}: %s`, (address) => {
      expect(nothing.allows({ host: address, port: 80, address })).toBe(false);
    });
  }

  test.each(["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450:4001::5"])(
    "%s is public",
    (address) => {
      expect(nothing.allows({ host: address, port: 12345, address })).toBe(true);
    },
  );
});

describe("EGRESS_ALLOW", () => {
  test("a range, to its edges and on every port", () => {
    expect(allows(["10.1.0.0/16"], "10.1.255.255", { port: 1 })).toBe(true);
    expect(allows(["10.1.0.0/16"], "10.2.0.0")).toBe(false);
    expect(allows(["fd00::/8"], "fdff::9")).toBe(true);
    expect(allows(["fd00::/8"], "fc00::9")).toBe(false);
  });

  test("a rule about an IPv4 address covers its mapped form", () => {
    expect(allows(["127.0.0.1"], "::ffff:127.0.0.1")).toBe(true);
    expect(allows(["127.0.0.0/8"], "::ffff:7f00:2")).toBe(true);
    expect(allows(["127.0.0.1"], "::ffff:127.0.0.2")).toBe(false);
    expect(allows(["::ffff:127.0.0.1"], "127.0.0.1")).toBe(true);
  });

  test("a port narrows it", () => {
    expect(allows(["127.0.0.1:9000"], "127.0.0.1", { port: 9000 })).toBe(true);
    expect(allows(["127.0.0.1:9000"], "127.0.0.1", { port: 9001 })).toBe(false);
    expect(allows(["[::1]:9000"], "::1", { port: 9000 })).toBe(true);
    expect(allows(["[::1]:9000"], "::1", { port: 80 })).toBe(false);
    expect(allows(["hooks.internal:9000"], "10.0.0.1", { host: "hooks.internal", port: 9000 })).toBe(true);
    expect(allows(["hooks.internal:9000"], "10.0.0.1", { host: "hooks.internal", port: 80 })).toBe(false);
  });

  test("a host name means that name alone, wherever it points", () => {
    expect(allows(["Hooks.internal"], "10.0.0.1", { host: "hooks.internal" })).toBe(true);
    expect(allows(["hooks.internal"], "10.0.0.1", { host: "x.hooks.internal" })).toBe(false);
    expect(allows(["hooks.internal"], "10.0.0.1", { host: "10.0.0.1" })).toBe(false);
  });

  test("all entries that cannot be read are named at once", () => {
    const entries = [
      "10.0.0.0/33",
      "10.0.0.0/8",
      "0x7f.1",
      "a b",
      "host:0",
      "host:65536",
      "*.example.com",
      "http://x",
      "1.2.3",
    ];
    expect(() => parseEgressPolicy(entries)).toThrowError(
      /not "10.0.0.0\/33", "0x7f.1", "a b", "host:0", "host:65536", "\*.example.com", "http:\/\/x", "1.2.3"$/,
    );
  });
});
