/** How the text of one setting becomes its value. */
/** Throws an Error that says what would be right. */
export type Parse<T> = (text: string) => T;

export const text: Parse<string> = (value) => value;
export const list: Parse<readonly string[]> = (value) =>
  value
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "");

export function integer(min: number, max: number): Parse<number> {
  return (value) => {
    const number = Number(value);
    if (!/^[0-9]+$/.test(value) || number < min || number > max) {
      throw new Error(`must be a whole number from ${min} to ${max}, not ${JSON.stringify(value)}`);
    }
    return number;
  };
}

export const flag: Parse<boolean> = (value) => {
  if (["1", "true", "yes", "on"].includes(value.toLowerCase())) return true;
  if (["0", "false", "no", "off", ""].includes(value.toLowerCase())) return false;
  throw new Error(`must be 1 or 0, not ${JSON.stringify(value)}`);
};

/** `1`, `0`, or `owner/name,…`: all, none, or these alone. */
export const selection: Parse<boolean | ReadonlySet<string>> = (value) => {
  if (!value.includes("/")) return flag(value);
  const names = list(value);
  const bad = names.find((name) => !/^[a-z0-9][\w.-]*\/[a-z0-9][\w.-]*$/i.test(name));
  if (bad !== undefined) throw new Error(`must be 1, 0 or owner/name,…, not ${JSON.stringify(bad)}`);
  return new Set(names);
};

const DURATION_UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** `500ms`, `10s`, `30m`, `12h`, `7d` → milliseconds. */
export function duration(minMs: number, maxMs: number): Parse<number> {
  return (value) => {
    const match = /^([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)$/.exec(value);
    const ms = Number(match?.[1]) * (DURATION_UNITS[match?.[2] ?? ""] ?? Number.NaN);
    if (!(ms >= minMs && ms <= maxMs)) {
      throw new Error(
        `must be a time such as 10s, 30m or 7d between ${minMs} ms and ${maxMs} ms, not ${JSON.stringify(value)}`,
      );
    }
    return ms;
  };
}

const SIZE_UNITS: Readonly<Record<string, number>> = { "": 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

/** `1048576`, `50MiB`, `2GiB` → bytes. */
export function size(min: number, max: number): Parse<number> {
  return (value) => {
    const match = /^([0-9]+)(|KiB|MiB|GiB)$/.exec(value);
    const bytes = Number(match?.[1]) * (SIZE_UNITS[match?.[2] ?? ""] ?? Number.NaN);
    if (!(bytes >= min && bytes <= max)) {
      throw new Error(
        `must be a size such as 50MiB between ${min} and ${max} bytes, not ${JSON.stringify(value)}`,
      );
    }
    return bytes;
  };
}

/** `name:key,…` → name by key. */
/** The owners of the catalogue's models and of chatflows; `domain/principal.ts` has them, which this floor cannot see. */
const RESERVED: ReadonlySet<string> = new Set(["auspex", "chatflow"]);

export const apiKeys: Parse<ReadonlyMap<string, string>> = (value) => {
  const keys = new Map<string, string>();
  for (const item of list(value)) {
    const match = /^([a-z0-9][a-z0-9._-]{0,63}):(.{16,256})$/.exec(item);
    if (!match?.[1] || !match[2]) {
      throw new Error(
        "must be name:key pairs separated by commas, names of a-z, 0-9, -, _ and ., keys of 16 to 256 characters",
      );
    }
    if (RESERVED.has(match[1])) throw new Error(`the name ${match[1]} is the server's own`);
    if (keys.has(match[2])) throw new Error(`names ${keys.get(match[2])} and ${match[1]} share one key`);
    keys.set(match[2], match[1]);
  }
  return keys;
};

/** `NAME=https://origin,…`, a name as often as it has origins → origins by the name of an environment variable. */
export const keyOrigins: Parse<ReadonlyMap<string, readonly string[]>> = (value) => {
  const origins = new Map<string, string[]>();
  for (const item of list(value)) {
    const match = /^([A-Za-z_][A-Za-z0-9_]{0,127})=(.+)$/.exec(item);
    const [, name = "", origin = ""] = match ?? [];
    const url = URL.parse(origin);
    if (!url || !/^https?:$/.test(url.protocol) || url.origin !== origin) {
      throw new Error(
        `must be NAME=origin pairs separated by commas, e.g. OPENAI_API_KEY=https://api.openai.com, not ${JSON.stringify(item)}`,
      );
    }
    if (name.startsWith("AUSPEX_"))
      throw new Error(`must not name ${name}: the server's own settings stay with it`);
    origins.set(name, [...(origins.get(name) ?? []), origin]);
  }
  return origins;
};

/** A text of so many characters. */
export function within(min: number, max: number): Parse<string> {
  return (value) => {
    if (value.length < min || value.length > max) throw new Error(`must have ${min} to ${max} characters`);
    return value;
  };
}

/** A whole number from 1, or `off` for no limit. */
export function limitOrOff(max: number): Parse<number | undefined> {
  return (value) => (value === "off" ? undefined : integer(1, max)(value));
}

/** Names of a list, each once, separated by commas; `none` for none of them. */
export function someOf<T extends string>(known: readonly T[]): Parse<readonly T[]> {
  return (value) => {
    const names = value === "none" ? [] : list(value);
    const unknown = names.find((name) => !known.some((one) => one === name));
    if (unknown !== undefined) {
      throw new Error(`must be none or some of ${known.join(", ")}, not ${JSON.stringify(unknown)}`);
    }
    return known.filter((name) => names.includes(name));
  };
}
