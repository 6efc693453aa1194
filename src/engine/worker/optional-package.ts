/** Packages of runtimes, any of which may be missing: not installed, or without a library for this machine. */
import { Unsupported } from "./runtime.ts";

/** Imports a package that may not be installed. */
export type ImportPackage = (name: string) => Promise<unknown>;

/** @throws Unsupported with the reason */
export async function importOptional(importPackage: ImportPackage, name: string): Promise<unknown> {
  try {
    return await importPackage(name);
  } catch (error) {
    const isAbsent = error instanceof Error && "code" in error && error.code === "ERR_MODULE_NOT_FOUND";
    throw new Unsupported(
      isAbsent ? "is not installed" : `cannot be loaded: ${error instanceof Error ? error.message : error}`,
    );
  }
}
