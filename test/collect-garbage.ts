/** Loaded into a server under test (`--import`): collects garbage on SIGUSR2, so that what is in use can be measured. */
process.on("SIGUSR2", () => globalThis.gc?.());
