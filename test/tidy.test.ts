/**
 * Style as a test: floors, cycles, dead files, sizes and leftovers. It reads what git tracks or would track, so a file
 * counts from the moment it is written.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import { describe, expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "..");
const LINES_MAX = 400;
const FUNCTION_LINES_MAX = 70;

const FILES: readonly string[] = execFileSync(
  "git",
  ["ls-files", "--cached", "--others", "--exclude-standard"],
  { cwd: ROOT, encoding: "utf8" },
)
  .split("\n")
  // A file that was just deleted is still in the index.
  .filter((file) => file !== "" && existsSync(join(ROOT, file)));
const SOURCES = FILES.filter((file) => file.startsWith("src/") && file.endsWith(".ts"));
const TYPESCRIPT = FILES.filter((file) => file.endsWith(".ts") && !file.startsWith("gen/"));

const texts = new Map<string, string>();

function textOf(file: string): string {
  const text = texts.get(file) ?? readFileSync(join(ROOT, file), "utf8");
  texts.set(file, text);
  return text;
}

/** The text with comments blanked out, line numbers kept; string contents stay. */
function codeOf(file: string): string {
  return textOf(file)
    .replaceAll(/\/\*[\s\S]*?\*\//g, (comment) => comment.replaceAll(/[^\n]/g, " "))
    .replaceAll(/(^|[^:"'`\\])\/\/.*$/gm, "$1");
}

const IMPORT =
  /^\s*(?:import|export)\s[^;"']*?from\s*["']([^"']+)["']|^\s*import\s*["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']/gm;

interface Import {
  readonly from: string;
  /** As written. */
  readonly specifier: string;
  /** Path from the root for a relative import; undefined for a package. */
  readonly to: string | undefined;
}

function importsOf(file: string): readonly Import[] {
  return [...codeOf(file).matchAll(IMPORT)].map((match) => {
    const specifier = match[1] ?? match[2] ?? match[3] ?? "";
    const to = specifier.startsWith(".") ? posix.join(posix.dirname(file), specifier) : undefined;
    return { from: file, specifier, to };
  });
}

/** What a floor may import besides itself. The joints, which put the floors together, may import all. */
const FLOORS: Readonly<Record<string, readonly string[]>> = {
  domain: [],
  store: ["domain"],
  engine: ["domain", "gen"],
  services: ["domain", "store", "engine", "config.ts", "gen", "package.json"],
  transports: ["domain", "services", "config.ts", "gen", "package.json"],
  "config.ts": ["setting-table.ts", "setting.ts"],
  "setting-table.ts": ["domain", "setting.ts", "accounts-file.ts"],
  "accounts-file.ts": ["domain"],
  "setting.ts": [],
  "log-output.ts": [],
  "collector-flags.ts": [],
};

/** `src/store/x.ts` → `store`, `src/config.ts` → `config.ts`, `gen/…` → `gen`. */
function floorOf(path: string): string {
  const parts = path.split("/");
  return (parts[0] === "src" ? parts[1] : parts[0]) ?? "";
}

/** Worker entries: named by a `new URL("./x.ts", import.meta.url)` or by a path joined to `import.meta.dirname`. */
function entriesNamedIn(file: string): readonly string[] {
  return [...codeOf(file).matchAll(/["']((?:\.{0,2}\/)*[\w./-]+\.ts)["']/g)]
    .map((match) => posix.join(posix.dirname(file), match[1] ?? ""))
    .filter((path) => SOURCES.includes(path));
}

function reachableFrom(entry: string): ReadonlySet<string> {
  const seen = new Set<string>();
  const waiting = [entry];
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    if (seen.has(file)) continue;
    seen.add(file);
    for (const { to } of importsOf(file)) if (to && SOURCES.includes(to)) waiting.push(to);
    waiting.push(...entriesNamedIn(file));
  }
  return seen;
}

/** The first import cycle among the sources, as a path; [] for none. */
function findCycle(): readonly string[] {
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): readonly string[] => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (done.has(file)) return [];
    for (const { to } of importsOf(file)) {
      if (!to || !SOURCES.includes(to)) continue;
      const cycle = visit(to, [...path, file]);
      if (cycle.length > 0) return cycle;
    }
    done.add(file);
    return [];
  };
  for (const file of SOURCES) {
    const cycle = visit(file, []);
    if (cycle.length > 0) return cycle;
  }
  return [];
}

/** `file:line text` of every line in which the pattern matches. */
function linesMatching(files: readonly string[], pattern: RegExp, read = textOf): readonly string[] {
  return files.flatMap((file) =>
    read(file)
      .split("\n")
      .flatMap((line, index) => (pattern.test(line) ? [`${file}:${index + 1} ${line.trim()}`] : [])),
  );
}

/**
 * Functions that are too long, found by the formatter's indentation: from a line that opens a function body to the
 * next line that closes it at the same depth. The factories that hold a whole object's closures are not meant: a
 * function directly in a file may be as long as a file if it declares functions of its own.
 */
function longFunctions(file: string): readonly string[] {
  const lines = codeOf(file).split("\n");
  const opens =
    /^(\s*)(?!if\b|for\b|while\b|switch\b|catch\b|else\b|\})[^"'`]*(?:\)|\)\s*:\s*[^=]+|=>)\s*\{$/;
  const declares =
    /^\s+(?:async )?function\b|^\s+const \w+ = (?:async )?\(.*=>|^\s+(?:async )?\*?\w+\(.*\)(?:: .+)? \{$/;
  return lines.flatMap((line, start) => {
    const indent = opens.exec(line)?.[1];
    if (indent === undefined) return [];
    const end = lines.findIndex((other, at) => at > start && new RegExp(`^${indent}\\}`).test(other));
    const isFactory = lines.slice(start + 1, end).some((inner) => declares.test(inner));
    return end - start > FUNCTION_LINES_MAX && !isFactory
      ? [`${file}:${start + 1} ${end - start} lines: ${line.trim()}`]
      : [];
  });
}

describe("floors", () => {
  test("a file imports only what its floor may see", () => {
    const joints = ["src/main.ts", "src/server.ts", "src/doors.ts"];
    const wrong = SOURCES.filter((file) => !joints.includes(file)).flatMap((file) => {
      const floor = floorOf(file);
      const allowed = FLOORS[floor];
      if (!allowed) return [`${file}: ${floor} is not a floor`];
      return importsOf(file)
        .filter(({ to }) => to !== undefined && floorOf(to) !== floor && !allowed.includes(floorOf(to)))
        .map(({ specifier }) => `${file} imports ${specifier}`);
    });
    expect(wrong).toEqual([]);
  });

  test("the domain imports no package and nothing of Node's", () => {
    const wrong = SOURCES.filter((file) => floorOf(file) === "domain")
      .flatMap(importsOf)
      .filter(({ to }) => to === undefined)
      .map(({ from, specifier }) => `${from} imports ${specifier}`);
    expect(wrong).toEqual([]);
  });

  test("only main reads the environment", () => {
    const below = SOURCES.filter((file) => file !== "src/main.ts");
    expect(linesMatching(below, /\bprocess\.env\b/, codeOf)).toEqual([]);
  });
});

describe("imports", () => {
  test("every relative import names a file that is there", () => {
    const wrong = TYPESCRIPT.flatMap(importsOf)
      .filter(({ to }) => to !== undefined && !existsSync(join(ROOT, to)))
      .map(({ from, specifier }) => `${from} imports ${specifier}`);
    expect(wrong).toEqual([]);
  });

  test("every package that the sources import is a dependency", () => {
    const manifest: { dependencies: object; devDependencies: object } = JSON.parse(textOf("package.json"));
    const own = Object.keys(manifest.dependencies);
    const all = [...own, ...Object.keys(manifest.devDependencies)];
    const wrong = TYPESCRIPT.flatMap(importsOf)
      .filter(({ to, specifier }) => to === undefined && !specifier.startsWith("node:"))
      .filter(({ from, specifier }) => {
        const name = specifier.split("/", specifier.startsWith("@") ? 2 : 1).join("/");
        return !(from.startsWith("src/") ? own : all).includes(name);
      })
      .map(({ from, specifier }) => `${from} imports ${specifier}`);
    expect(wrong).toEqual([]);
  });

  test("there are no cycles", () => {
    expect(findCycle()).toEqual([]);
  });

  test("every source is reached from main", () => {
    const reached = reachableFrom("src/main.ts");
    expect(SOURCES.filter((file) => !reached.has(file))).toEqual([]);
  });
});

describe("files", () => {
  test("are named after what they hold", () => {
    const vague = /\/(?:utils?|common|helpers?|index|misc|shared)\.ts$/;
    expect(SOURCES.filter((file) => vague.test(file))).toEqual([]);
  });

  test(`have at most ${LINES_MAX} lines`, () => {
    const long = SOURCES.map((file) => `${file}: ${textOf(file).split("\n").length - 1}`).filter(
      (entry) => Number(entry.split(": ")[1]) > LINES_MAX,
    );
    expect(long).toEqual([]);
  });

  test(`have no function of more than ${FUNCTION_LINES_MAX} lines`, () => {
    expect(SOURCES.flatMap(longFunctions)).toEqual([]);
  });

  test("have no barrels", () => {
    expect(linesMatching(SOURCES, /^export \* from/, codeOf)).toEqual([]);
  });
});

describe("leftovers", () => {
  const self = "test/tidy.test.ts";
  const readable = FILES.filter(
    (file) =>
      file !== self &&
      file !== "package-lock.json" &&
      /\.(ts|json|md|proto|ya?ml|sh|html)$|\.ci\/run|\.npmrc|\.gitignore/.test(file),
  );

  test("no work is left marked as undone", () => {
    expect(linesMatching(readable, /\b(?:TODO|FIXME|XXX)\b/)).toEqual([]);
  });

  test("nothing names a registry's host or a place of one machine", () => {
    const places = /registry\.(?:npmjs|yarnpkg)|npm\.pkg\.github|\/(?:home|Users|work|root)\/[\w.-]+/;
    expect(linesMatching(readable, places)).toEqual([]);
  });

  test("no unchecked types and no silenced tools", () => {
    expect(
      linesMatching(
        TYPESCRIPT.filter((f) => f !== self),
        /@ts-(?:ignore|nocheck|expect-error)/,
      ),
    ).toEqual([]);
    expect(linesMatching(SOURCES, /\bas any\b|: any\b|<any>/, codeOf)).toEqual([]);
  });

  test("no test is switched off or runs alone", () => {
    const tests = FILES.filter((file) => file.endsWith(".test.ts") && file !== self);
    expect(
      linesMatching(tests, /\b(?:test|it|describe)\.(?:only|todo)\b|\b(?:test|it|describe)\.skip\(/),
    ).toEqual([]);
  });
});

test.runIf(existsSync(join(ROOT, "README.md")))("the README's layout names what is there", () => {
  const readme = readFileSync(join(ROOT, "README.md"), "utf8");
  // Paths that the README sets in code: `src/store/`, `bench/README.md`.
  const named = [...readme.matchAll(/`((?:[\w.-]+\/)+[\w.-]*)`/g)].map((match) => match[1] ?? "");
  const inRepository = named.filter((path) => existsSync(join(ROOT, dirname(path).split("/")[0] ?? "")));
  expect(inRepository.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  const folders = [
    ...new Set(FILES.filter((file) => file.includes("/")).map((file) => `${file.split("/")[0]}/`)),
  ];
  expect(folders.filter((folder) => !folder.startsWith(".") && !readme.includes(folder))).toEqual([]);
});
