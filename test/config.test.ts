import { availableParallelism } from "node:os";
import { describe, expect, test } from "vitest";
import { ConfigError, helpText, readConfig } from "../src/config.ts";

function complaints(env: Record<string, string>): string[] {
  try {
    readConfig(env);
  } catch (error) {
    if (error instanceof ConfigError) return [...error.complaints];
    throw error;
  }
  return [];
}

test("without any setting everything has a default", () => {
  expect(readConfig({})).toMatchObject({
    HOST: "127.0.0.1",
    HTTP_PORT: 8080,
    GRPC_PORT: 50051,
    QUEUE_MAX: 100_000,
  });
});

test("an empty value is an unset one", () => {
  expect(readConfig({ AUSPEX_HTTP_PORT: "" }).HTTP_PORT).toBe(8080);
});

test.each([
  ["AUSPEX_HTTP_PORT", "65535", "65536"],
  ["AUSPEX_QUEUE_MAX", "1", "0"],
  ["AUSPEX_RETENTION", "1s", "999ms"],
  ["AUSPEX_DISK_RESERVE", "1024GiB", "1025GiB"],
  ["AUSPEX_DISK_RESERVE", "0", "-1"],
  ["AUSPEX_MAX_BODY_BYTES", "1024", "1023"],
  ["AUSPEX_MAX_BODY_BYTES", "1GiB", "2GiB"],
  ["AUSPEX_MAX_BYTES_IN_FLIGHT", "200MiB", "199MiB"],
  ["AUSPEX_MAX_CONNECTIONS", "1", "0"],
  ["AUSPEX_REQUEST_TIMEOUT", "100ms", "99ms"],
  ["AUSPEX_ANSWER_TIMEOUT", "1h", "61m"],
  ["AUSPEX_IDLE_TIMEOUT", "1d", "25h"],
  ["AUSPEX_LEASE", "200ms", "199ms"],
  ["AUSPEX_RUNTIME", "tfjs-wasm", "wasm"],
  ["AUSPEX_BATCH_DELAY", "0ms", "1001ms"],
  ["AUSPEX_BATCH_DELAY", "1s", "-1ms"],
  ["AUSPEX_RATE_LIMIT", "off", "0"],
  ["AUSPEX_API_KEYS", "a:0123456789abcdef", "a:0123456789abcde"],
  ["AUSPEX_INSECURE", "yes", "maybe"],
  ["AUSPEX_CATALOGUE", "auspex/minilm, auspex/mobilenet", "auspex/minilm, mobilenet"],
  ["AUSPEX_JWT_SECRET", "s".repeat(32), "s".repeat(31)],
  ["AUSPEX_JWT_SECRET", "s".repeat(1024), "s".repeat(1025)],
  ["AUSPEX_MONTHLY_QUOTA", "off", "0"],
  ["AUSPEX_MONTHLY_QUOTA", "1000000000", "1000000001"],
])("%s: %s is in, %s is out", (name, inside, outside) => {
  expect(complaints({ [name]: inside })).toEqual([]);
  expect(complaints({ [name]: outside }).join()).toContain(name);
});

test("the bytes in flight are four of the largest bodies at least", () => {
  expect(readConfig({}).MAX_BYTES_IN_FLIGHT).toBe(512 * 1024 ** 2);
  expect(readConfig({ AUSPEX_MAX_BODY_BYTES: "1GiB" }).MAX_BYTES_IN_FLIGHT).toBe(4 * 1024 ** 3);
});

describe("threads", () => {
  const cores = availableParallelism();
  const settings = (workers: number, threads?: number): Record<string, string> => ({
    AUSPEX_WORKERS: String(workers),
    ...(threads === undefined ? {} : { AUSPEX_THREADS: String(threads) }),
  });

  test("share the cores out among the workers, and each has one at least", () => {
    expect(readConfig({})).toMatchObject({ WORKERS: cores, THREADS: 1 });
    expect(readConfig(settings(1)).THREADS).toBe(cores);
    expect(readConfig(settings(cores * 2)).THREADS).toBe(1);
    for (let workers = 1; workers <= cores; workers++) {
      expect(workers * readConfig(settings(workers)).THREADS).toBeLessThanOrEqual(cores);
    }
  });

  test("are refused where they are more than the cores together", () => {
    expect(complaints(settings(1, cores))).toEqual([]);
    expect(complaints(settings(1, cores + 1)).join()).toContain(`1 × ${cores + 1}`);
    expect(complaints(settings(cores, 2)).join()).toContain(`there are ${cores} cores`);
  });
});

describe("an open server", () => {
  test.each(["127.0.0.1", "127.9.9.9", "::1", "localhost"])("may bind %s", (host) => {
    expect(complaints({ AUSPEX_HOST: host })).toEqual([]);
  });
  test.each(["0.0.0.0", "::", "192.168.1.1", "example.org", "127.0.0.1.example.org"])(
    "may not bind %s",
    (host) => {
      expect(complaints({ AUSPEX_HOST: host }).join()).toContain("AUSPEX_API_KEYS");
      expect(complaints({ AUSPEX_HOST: host, AUSPEX_INSECURE: "1" })).toEqual([]);
      expect(complaints({ AUSPEX_HOST: host, AUSPEX_API_KEYS: "a:0123456789abcdef" })).toEqual([]);
    },
  );
});

test("API keys: the catalogue's name and a shared key are refused", () => {
  expect(complaints({ AUSPEX_API_KEYS: "auspex:0123456789abcdef" })).toHaveLength(1);
  expect(complaints({ AUSPEX_API_KEYS: "chatflow:0123456789abcdef" })).toHaveLength(1);
  expect(complaints({ AUSPEX_API_KEYS: "a:0123456789abcdef,b:0123456789abcdef" })).toHaveLength(1);
});

test("dialects: all, some in any order, or none; never one that there is not", () => {
  const served = (text: string) => readConfig({ AUSPEX_DIALECTS: text }).DIALECTS;
  expect(readConfig({}).DIALECTS).toEqual(["wriftai", "einstein-vision", "einstein-prediction", "studio"]);
  expect(served("einstein-vision, wriftai")).toEqual(["wriftai", "einstein-vision"]);
  expect(served("none")).toEqual([]);
  expect(complaints({ AUSPEX_DIALECTS: "einstein" }).join()).toContain('"einstein"');
});

test("a certificate without its key is refused", () => {
  expect(complaints({ AUSPEX_TLS_CERT: import.meta.filename }).join()).toContain("AUSPEX_TLS_KEY");
});

test("unknown settings are refused, so that a typing error cannot pass", () => {
  expect(complaints({ AUSPEX_HTP_PORT: "1" }).join()).toContain("AUSPEX_HTP_PORT");
});

test("help names every setting", () => {
  const names = Object.keys(readConfig({})).filter((name) => name === name.toUpperCase());
  for (const name of names) expect(helpText()).toContain(`AUSPEX_${name}`);
});

describe("keys of language models", () => {
  const key = { LLM_A: "sk-a", LLM_B: "sk-b" };

  test("are read from the variables that LLM_KEYS names, for the origins it names", () => {
    const config = readConfig({
      ...key,
      AUSPEX_LLM_KEYS: "LLM_A=https://a.example, LLM_B=http://127.0.0.1:8000,LLM_A=https://b.example:8443",
    });
    expect(Object.fromEntries(config.llmKeys)).toEqual({
      LLM_A: { origins: ["https://a.example", "https://b.example:8443"], key: "sk-a" },
      LLM_B: { origins: ["http://127.0.0.1:8000"], key: "sk-b" },
    });
    expect(readConfig(key).llmKeys.size).toBe(0);
  });

  test.each([
    ["LLM_A", "pairs"],
    ["LLM_A=", "pairs"],
    ["=https://a.example", "pairs"],
    ["LLM-A=https://a.example", "pairs"],
    ["LLM_A=a.example", "pairs"],
    ["LLM_A=https://a.example/v1", "pairs"],
    ["LLM_A=https://a.example/", "pairs"],
    ["LLM_A=https://user@a.example", "pairs"],
    ["LLM_A=ftp://a.example", "pairs"],
    ["AUSPEX_JWT_SECRET=https://a.example", "stay with it"],
    ["LLM_NONE=https://a.example", "LLM_NONE, which is not set"],
  ])("%s is refused", (value, why) => {
    expect(complaints({ ...key, AUSPEX_LLM_KEYS: value })).toEqual([expect.stringContaining(why)]);
  });

  test.each(["sk a", "sk\nb", "schlüssel"])("%j cannot be sent", (value) => {
    expect(complaints({ LLM_A: value, AUSPEX_LLM_KEYS: "LLM_A=https://a.example" })).toEqual([
      "LLM_A holds what cannot be sent as a key",
    ]);
  });
});
