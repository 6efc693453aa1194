/** Where the server may be sent: `Egress.check`, and the setting EGRESS_ALLOW. The first line is an entry of it. */
import { BlockList, isIP } from "node:net";
import { ConfigError } from "../../../src/config.ts";
import { AuspexError } from "../../../src/domain/error.ts";
import { createEgress } from "../../../src/services/egress.ts";
import { parseEgressPolicy } from "../../../src/services/egress-policy.ts";
import { headed, holds, unlessRefused } from "../target.ts";

export const claim =
  "A URL is refused as `invalid_argument`, or is http(s) without credentials and no address of a private network, however it is written.";

/** The private and special networks, written down apart from the library that the policy asks. */
const PRIVATE = new BlockList();
for (const [network, bits] of [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 4],
  ["240.0.0.0", 4],
] as const) {
  PRIVATE.addSubnet(network, bits, "ipv4");
}
/** Of IPv6 all that is not given out, and the forms that carry an IPv4 address. */
const PUBLIC_6 = new BlockList();
PUBLIC_6.addSubnet("2000::", 3, "ipv6");
for (const [network, bits] of [
  ["2001::", 32],
  ["2001:db8::", 32],
  ["2002::", 16],
] as const) {
  PRIVATE.addSubnet(network, bits, "ipv6");
}

const egress = createEgress({ allow: [] });
const isRefusal = (error: unknown): boolean =>
  error instanceof AuspexError && error.code === "invalid_argument";

function isPrivate(address: string): boolean {
  if (isIP(address) === 4) return PRIVATE.check(address, "ipv4");
  return !PUBLIC_6.check(address, "ipv6") || PRIVATE.check(address, "ipv6");
}

export function fuzz(data: Buffer): void {
  const { head, rest } = headed(data);
  const policy = unlessRefused(
    (error) => error instanceof ConfigError,
    () => parseEgressPolicy([head]),
  );
  const text = rest.toString();
  const passes = unlessRefused(isRefusal, () => {
    egress.check(text);
    return true;
  });
  if (!passes) return;
  const { protocol, username, password, hostname, port } = new URL(text);
  holds(/^https?:$/.test(protocol), "another scheme passes");
  holds(username === "" && password === "", "credentials pass");
  const host = hostname.replace(/^\[(.*)\]$/, "$1");
  if (isIP(host) === 0) return;
  holds(!isPrivate(host), `the private address ${host} passes`);
  const allowed = policy?.allows({ host, port: Number(port) || 80, address: host });
  holds(allowed !== false, "what is public passes with every list of exceptions");
}

export const seeds = (): readonly string[] => [
  "10.0.0.0/8\nhttp://93.184.216.34/x",
  "127.0.0.1:9000\nhttp://0x7f.1/",
  "[::1]:80\nhttp://[::ffff:7f00:1]:80/a",
  "hooks.internal\nhttps://2130706433/",
  "fd00::/8\nhttp://0177.0.0.1./",
  "fe80::1\nhttp://[2606:4700::1111]/",
  "a\nhttp://user:pw@1.1.1.1/",
  "a\nhttp://①②⑦.⓪.⓪.①/",
];

export const words = [
  "http://",
  "https://",
  "0x",
  "::ffff:",
  "[",
  "]",
  "127.0.0.1",
  "%25",
  "@",
  "。",
  "/8",
  "64:ff9b::",
];
