/** The limits as a page of the docs: their values and reasons from where they stand, the rest from the table. */
import { SETTINGS, type Setting } from "../src/setting-table.ts";
import { NO_LIMITS, REQUEST_LIMITS, SETTING_LIMITS } from "./limit-table.ts";
import { sourceConstants } from "./source-constants.ts";
import { type TestName, testNames } from "./test-names.ts";

const number = (value: number) => value.toLocaleString("en-US", { maximumSignificantDigits: 15 });
/** A table's text must not end its cell. */
const row = (...cells: readonly string[]) =>
  `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;

function settingRows(tests: readonly TestName[]): readonly string[] {
  return (Object.entries(SETTINGS) as [string, Setting<unknown>][]).flatMap(
    ([name, { shown, help, ...setting }]) => {
      if (NO_LIMITS.has(name)) return [];
      const limit = SETTING_LIMITS[name];
      if (!limit) throw new Error(`${name} is in neither table of scripts/limit-table.ts`);
      const test = tests.find((one) => one.name === limit.edge);
      if (!test) throw new Error(`${name}: there is no test called ${JSON.stringify(limit.edge)}`);
      const value =
        typeof setting.default === "number" ? number(setting.default) : String(setting.default ?? "off");
      return [
        row(`\`${name}\``, limit.of, shown ?? value, help, limit.at, `${test.name} (\`${test.file}\`)`),
      ];
    },
  );
}

function requestRows(): readonly string[] {
  const constants = new Map(sourceConstants().map((constant) => [constant.key, constant]));
  return Object.entries(REQUEST_LIMITS).map(([key, { of, why }]) => {
    const constant = constants.get(key);
    if (!constant) throw new Error(`${key} is no constant of the sources`);
    const reason = constant.reason || why;
    if (!reason)
      throw new Error(`${key} has no reason, neither in the sources nor in scripts/limit-table.ts`);
    return row(of, number(constant.value), reason, `\`${key.replace(" ", "` `")}\``);
  });
}

/** What callers do not meet as such: bounds of what is done inside. */
function innerRows(): readonly string[] {
  return sourceConstants()
    .filter(({ key, reason }) => !(key in REQUEST_LIMITS) && reason !== "")
    .map(({ key, value, reason }) => row(`\`${key.replace(" ", "` `")}\``, number(value), reason));
}

export async function limitsPage(): Promise<string> {
  return `# Limits

Written by \`npm run generate\` from the table of settings and the constants of the sources; not to be edited.

## Settings

Environment variables with the prefix \`AUSPEX_\`. The last column names the test that stands at the edge.

| setting | of | default | reason | what happens at it | test |
|---|---|---|---|---|---|
${settingRows(await testNames()).join("\n")}

## Requests

Past one of these a request is refused with INVALID_ARGUMENT (400 in the dialects), which names the field; nothing of it
is done. \`test/limits/edges.test.ts\` sends one at each and one above it.

| of | at most | reason | where |
|---|---|---|---|
${requestRows().join("\n")}

## Inside

Bounds of what the server does by itself: of queues, caches, tries, and of what it reads of files and of other servers.

| where | value | reason |
|---|---|---|
${innerRows().join("\n")}
`;
}
