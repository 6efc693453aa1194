/** What a Keras layer is set to, read with care: the JSON may come from any version of Keras, or from nobody. */
import { isRecord } from "../graph-def.ts";
import { type ElementType, NotCovered, type Shape } from "../value.ts";

/** Settings by their names in Keras' JSON. A missing or null one is the fallback, or a fault of the model. */
export interface Config {
  has(name: string): boolean;
  number(name: string, fallback?: number): number;
  int(name: string, fallback?: number): number;
  bool(name: string, fallback: boolean): boolean;
  text(name: string, fallback?: string): string;
  /** Whole numbers; one alone is a list of itself. */
  ints(name: string, fallback?: readonly number[]): readonly number[];
  /** One whole number for each of `length` dimensions; one alone stands for all. */
  perAxis(name: string, length: number, fallback?: number): readonly number[];
  /** Sizes, null or negative where only a run tells. */
  shape(name: string): Shape;
  /** A setting of a form of its own. */
  raw(name: string): unknown;
}

/** @param layer for what is thrown */
export function configOf(layer: string, raw: Readonly<Record<string, unknown>>): Config {
  const fault = (name: string, what: string) => new Error(`${name} of the layer ${layer} ${what}`);
  function read<T>(name: string, fallback: T | undefined, decode: (value: unknown) => T | undefined): T {
    const value = numberOf(raw[name]);
    if (value === undefined || value === null) {
      if (fallback === undefined) throw fault(name, "is missing");
      return fallback;
    }
    const decoded = decode(value);
    if (decoded === undefined) throw fault(name, `is ${JSON.stringify(value).slice(0, 80)}`);
    return decoded;
  }
  const toInts = (value: unknown): readonly number[] | undefined => {
    const list = Array.isArray(value) ? value : [value];
    return list.every(isInt) ? list : undefined;
  };
  return {
    has: (name) => (raw[name] ?? undefined) !== undefined,
    number: (name, fallback) => read(name, fallback, (value) => (isNumber(value) ? value : undefined)),
    int: (name, fallback) => read(name, fallback, (value) => (isInt(value) ? value : undefined)),
    bool: (name, fallback) =>
      read(name, fallback, (value) => (typeof value === "boolean" ? value : undefined)),
    text: (name, fallback) =>
      read(name, fallback, (value) => (typeof value === "string" ? value : undefined)),
    ints: (name, fallback) => read(name, fallback, toInts),
    perAxis(name, length, fallback) {
      const list = read(name, fallback === undefined ? undefined : [fallback], toInts);
      const all = list.length === 1 ? Array.from({ length }, () => list[0] ?? 0) : list;
      if (all.length !== length || all.some((size) => size < 1))
        throw fault(name, `is [${list}], where ${length} sizes are wanted`);
      return all;
    },
    shape: (name) =>
      read(name, undefined, (value) => {
        if (!Array.isArray(value) || !value.every((size) => size === null || isInt(size))) return undefined;
        return value.map((size: number | null) => (size === null || size < 0 ? null : size));
      }),
    raw: (name) => raw[name],
  };
}

/** Some versions of Keras write a number as an array without axes. */
function numberOf(value: unknown): unknown {
  return isRecord(value) && value.type === "ndarray" ? value.value : value;
}

const isNumber = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value);
const isInt = (value: unknown): value is number => typeof value === "number" && Number.isSafeInteger(value);

export function typeOf(name: string): ElementType {
  if (name === "float32" || name === "int32" || name === "bool") return name;
  throw new NotCovered(`an input of the type ${name}`);
}

/** What Keras writes for an object: its class, and its settings. */
export function readObject(value: unknown): {
  readonly className: string;
  readonly config: Readonly<Record<string, unknown>> | readonly unknown[];
  readonly raw: Readonly<Record<string, unknown>>;
} {
  if (!isRecord(value) || typeof value.class_name !== "string")
    throw new Error("the model has a layer without a class_name");
  const { class_name: className, config } = value;
  if (!isRecord(config) && !Array.isArray(config)) throw new Error(`a layer ${className} has no config`);
  return { className, config, raw: value };
}
