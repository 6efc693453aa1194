/**
 * Which faults the tests inject, as a page of the docs: a row is shown by the tests whose names begin with its number,
 * `F4 …`, or with several of them, `F21 F25 …`.
 */
import { type TestName, testNames } from "./test-names.ts";

interface Fault {
  readonly what: string;
  /** Why there is nothing that shows it, or what of it is not shown. */
  readonly open?: string;
}

const REPLICAS = "One server on SQLite has no replicas; it comes with them.";
const POSTGRES = "It comes with PostgreSQL.";

/** By number, F1 first. */
const FAULTS: readonly Fault[] = [
  { what: "the server killed between the commit of a create and its answer" },
  { what: "the server killed while a call waits for its result" },
  { what: "a worker killed in the middle of a batch" },
  { what: "the server killed under a load of running predictions, again and again" },
  { what: "a process stopped for longer than its leases last, and continued" },
  { what: "SIGTERM under load" },
  { what: "the database server restarted under load", open: POSTGRES },
  { what: "a slow database, no connection left", open: POSTGRES },
  { what: "a full disk, a disk that takes no writes" },
  { what: "a crash with writes that are not synced" },
  {
    what: "the clock set by an hour",
    open: "Clocks that differ between machines come with replicas.",
  },
  { what: "a webhook's target that is down, fails or is silent" },
  { what: "a webhook's target that answers strangely: gone, moved, later, slowly, without end" },
  { what: "the dispatcher killed between a delivery and its record" },
  { what: "addresses of pictures and webhooks that lead inside" },
  { what: "watchers that never read" },
  {
    what: "a watcher that drops and comes back",
    open: "Coming back to another replica comes with replicas.",
  },
  { what: "callers that cancel or leave" },
  { what: "a deadline shorter than the queue" },
  { what: "bodies, messages and headers beyond their limits" },
  { what: "compressed bombs" },
  { what: "zip bombs, paths that lead out, links, a million entries" },
  { what: "pictures that are broken, huge or something else" },
  { what: "tensors whose numbers, shapes or sizes are wrong" },
  { what: "JSON and protobuf that are deep, repeated, malformed" },
  { what: "HTTP/2 floods" },
  { what: "senders that trickle, connections that say nothing" },
  { what: "requests that can be read in two ways" },
  { what: "model files that are cut, changed, missing or replaced" },
  { what: "models that crash, hang or swell while they are tried" },
  { what: "a worker out of memory in one request" },
  {
    what: "a GPU that is lost",
    open: "The tests' GPU is an imitation; what a real one did by hand is in bench/native-tensorflow.",
  },
  { what: "models loaded and unloaded, and predictions, for long" },
  { what: "a main thread that stands still" },
  { what: "two replicas that race for one thing", open: REPLICAS },
  { what: "versions of the server beside each other", open: REPLICAS },
  { what: "trainings killed at any step, datasets that cannot be trained from" },
  { what: "nobody who takes logs or metrics, labels that callers choose" },
  { what: "credentials that are missing, wrong, old or another's, and guessed ids" },
  { what: "language models that stall, refuse, break off or go on for ever" },
];

/** The rows that a test shows: the numbers that its name begins with. */
function rowsOf(name: string): readonly number[] {
  const [head = ""] = /^(?:F\d+[\s,:]+(?:and\s+)?)+/.exec(name) ?? [];
  return [...head.matchAll(/F(\d+)/g)].map(([, number]) => Number(number));
}

/** A table's text must not end its cell. */
const cell = (value: string) => value.replaceAll("|", "\\|");

function section(row: number, tests: readonly TestName[]): string {
  const files = Map.groupBy(tests, ({ file }) => file);
  const items = [...files].map(([file, named]) =>
    [`* \`${file}\``, ...new Set(named.map(({ name }) => `  * ${name}`))].join("\n"),
  );
  return `### F${row}: ${FAULTS[row - 1]?.what}\n\n${items.join("\n")}`;
}

export async function faultsPage(): Promise<string> {
  const all = await testNames();
  const shown = Map.groupBy(
    all.flatMap((test) => rowsOf(test.name).map((row) => ({ row, test }))),
    ({ row }) => row,
  );
  const unknown = [...shown.keys()].filter((row) => row < 1 || row > FAULTS.length);
  if (unknown.length > 0) throw new Error(`tests name rows that there are not: F${unknown.join(", F")}`);
  const testsOf = (row: number) => (shown.get(row) ?? []).map(({ test }) => test);
  const rows = FAULTS.map(({ what, open }, i) => {
    const count = testsOf(i + 1).length;
    const said = count > 0 ? `${count} ${count === 1 ? "test" : "tests"}` : "not shown";
    return `| F${i + 1} | ${cell(what)} | ${said} | ${open ?? (count > 0 ? "" : "Everything.")} |`;
  });
  const sections = FAULTS.map((_, i) => i + 1).filter((row) => testsOf(row).length > 0);
  return `# The faults that the tests inject

Written by \`npm run generate\` from the tests' names; not to be edited. A test, or a group of tests, shows a row when
its name begins with the row's number. What a table of cases fills in stands as "…".

${sections.length} of ${FAULTS.length} rows are shown.

| row | fault | shown by | what is open |
|---|---|---|---|
${rows.join("\n")}

## Tests by row

${sections.map((row) => section(row, testsOf(row))).join("\n\n")}
`;
}
