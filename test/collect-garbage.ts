/**
 * Loaded into a server under test (`--import`): on SIGUSR2 collects all garbage, so that what is in use can be measured.
 * The last resort, since only that has V8 give back the pages that it keeps for what will be allocated: up to some 60 MiB,
 * more and more of which become resident for tens of thousands of predictions.
 */
process.on("SIGUSR2", () => globalThis.gc?.({ type: "major", execution: "sync", flavor: "last-resort" }));
