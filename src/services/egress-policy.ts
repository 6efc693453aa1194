/**
 * Which addresses the server may connect to on a caller's behalf: public ones, and what `EGRESS_ALLOW` names.
 *
 * An entry of the list is an address (`10.1.2.3`, `fd00::1`), a range (`10.0.0.0/8`, `fd00::/8`) or a host name
 * (`hooks.internal`, that name alone and whatever it resolves to). `:port` after it narrows it to that port
 * (`127.0.0.1:9000`, `[::1]:9000`); without one every port is meant. Public addresses are allowed on every port:
 * which ports a public host serves is no secret that we keep.
 */
import ipaddr from "ipaddr.js";
import { ConfigError } from "../config.ts";

type Address = ReturnType<typeof ipaddr.parse>;

export interface EgressPolicy {
  /** Whether a connection that was asked for by this host name or address literal may go to this address. */
  allows(target: { readonly host: string; readonly port: number; readonly address: string }): boolean;
}

interface Rule {
  /** undefined: every port. */
  readonly port: number | undefined;
  readonly matches: (host: string, address: Address) => boolean;
}

/** @throws ConfigError that names every entry that cannot be read */
export function parseEgressPolicy(entries: readonly string[]): EgressPolicy {
  const rules: Rule[] = [];
  const wrong: string[] = [];
  for (const entry of entries) {
    const rule = parseRule(entry);
    if (rule) rules.push(rule);
    else wrong.push(JSON.stringify(entry));
  }
  if (wrong.length > 0) {
    throw new ConfigError([
      `AUSPEX_EGRESS_ALLOW must list addresses, CIDR ranges or host names, each perhaps with :port, not ${wrong.join(", ")}`,
    ]);
  }
  return {
    allows: ({ host, port, address: text }) => {
      if (!ipaddr.isValid(text)) return false;
      const address = ipaddr.parse(text);
      return (
        isPublic(address) ||
        rules.some((rule) => (rule.port === undefined || rule.port === port) && rule.matches(host, address))
      );
    },
  };
}

/** 2000::/3 is all of IPv6 that is given out for global unicast (IANA's registry); it leaves out ::a.b.c.d too. */
const GLOBAL_UNICAST_V6 = ipaddr.IPv6.parseCIDR("2000::/3");

/**
 * Neither private nor special in any registry that ipaddr.js knows. Forms that carry an IPv4 address (mapped,
 * NAT64, 6to4, Teredo) are special whatever they carry: no public service needs to be reached through them.
 */
function isPublic(address: Address): boolean {
  if (address.range() !== "unicast") return false;
  return address.kind() === "ipv4" || address.match(GLOBAL_UNICAST_V6);
}

const HOST_NAME =
  /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$/;

function parseRule(entry: string): Rule | undefined {
  const [subject, portText] = splitPort(entry.toLowerCase());
  const port = portText === undefined ? undefined : Number(portText);
  if (port !== undefined && !(port >= 1 && port <= 65_535)) return undefined;
  if (isStrictAddress(subject)) {
    const wanted = ipaddr.process(subject);
    return {
      port,
      matches: (_host, address) => sameKindMatch(address, wanted, wanted.kind() === "ipv4" ? 32 : 128),
    };
  }
  const slash = subject.lastIndexOf("/");
  if (slash >= 0) {
    if (!isStrictAddress(subject.slice(0, slash)) || !ipaddr.isValidCIDR(subject)) return undefined;
    const [base, bits] = ipaddr.parseCIDR(subject);
    return { port, matches: (_host, address) => sameKindMatch(address, base, bits) };
  }
  // A last label of digits alone would be read as an IPv4 address in a URL, never as a name.
  if (!HOST_NAME.test(subject) || /(^|\.)[0-9]+$/.test(subject)) return undefined;
  return { port, matches: (host) => host === subject };
}

function splitPort(entry: string): readonly [subject: string, port: string | undefined] {
  const bracketed = /^\[([^\]]*)\](?::([0-9]{1,5}))?$/.exec(entry);
  if (bracketed?.[1] !== undefined) return [bracketed[1], bracketed[2]];
  const plain = /^([^:]*):([0-9]{1,5})$/.exec(entry);
  if (plain?.[1] !== undefined) return [plain[1], plain[2]];
  return [entry, undefined];
}

/** ipaddr.js also reads `10.1` and `0x7f.1`; in a security setting that is more likely a slip than a wish. */
function isStrictAddress(text: string): boolean {
  return ipaddr.IPv4.isValidFourPartDecimal(text) || ipaddr.IPv6.isValid(text);
}

/** A rule about an IPv4 address also covers its IPv4-mapped form, which reaches the same host. */
function sameKindMatch(address: Address, base: Address, bits: number): boolean {
  const plain = address.kind() === "ipv6" ? ipaddr.process(address.toString()) : address;
  return plain.kind() === base.kind() && plain.match(base, bits);
}
