/** A server whose Node is tampered with before it starts: arguments for ServerOptions.nodeArgs. */

const preload = (script: string): readonly string[] => [
  "--import",
  `data:text/javascript,${encodeURIComponent(script)}`,
];

/** Its system clock is off by the milliseconds in the file, which is read twenty times a second. */
export function withClockOffBy(file: string): readonly string[] {
  return preload(`
    import { readFileSync } from "node:fs";
    const RealDate = Date;
    let shift = 0;
    setInterval(() => { shift = Number(readFileSync(${JSON.stringify(file)}, "utf8")); }, 50).unref();
    const now = () => RealDate.now() + shift;
    globalThis.Date = new Proxy(RealDate, {
      construct: (target, args, made) => Reflect.construct(target, args.length === 0 ? [now()] : args, made),
      apply: () => new RealDate(now()).toString(),
      get: (target, key, self) => (key === "now" ? now : Reflect.get(target, key, self)),
    });
  `);
}

/** SIGUSR2 makes it do nothing else for so long, as a handler that computes does. */
export function blockedBySignal(ms: number): readonly string[] {
  return preload(`
    process.on("SIGUSR2", () => {
      for (const end = performance.now() + ${ms}; performance.now() < end; );
    });
  `);
}
