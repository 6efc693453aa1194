/** What main.ts fetches and makes lies here, outside of what git keeps. */
import { join } from "node:path";

export const CACHE = join(import.meta.dirname, "..", ".cache", "conformance");
export const DESCRIPTORS = join(CACHE, "suite.binpb");
