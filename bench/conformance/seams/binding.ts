/** The suite's service in place of ours. */
import type { Binding } from "../../../src/transports/binding.ts";
import { conformanceBindings } from "../service.ts";

export * from "../../../src/transports/binding.ts";

export const bindings = (): readonly Binding[] => conformanceBindings;
