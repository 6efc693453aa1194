/** What an endpoint answers to a webhook: `judge`, with its Retry-After; and paths against patterns of routes. */
import { judge } from "../../../src/services/webhook-attempt.ts";
import { matchesPattern } from "../../../src/transports/path-pattern.ts";
import { headed, holds } from "../target.ts";

export const claim =
  "An answer is one verdict, and the pause that it asks for is no less than nothing; a path matches its pattern exactly when a regular expression says so.";

const DATE_MS = Date.UTC(2026, 0, 1);

export function fuzz(data: Buffer): void {
  const { head, rest } = headed(data);
  for (const status of [200, 301, 410, 429, 500, 503]) {
    const verdict = judge({ status, headers: { "retry-after": head }, body: rest }, DATE_MS);
    if (verdict.kind !== "failed") continue;
    const { retryAfterMs } = verdict;
    holds(retryAfterMs === undefined || retryAfterMs > 0, "a pause is more than nothing");
    holds(
      retryAfterMs === undefined || status === 429 || status === 503,
      "only who is busy asks for a pause",
    );
  }
  const second = headed(rest);
  const [pattern, path] = [second.head, second.rest.toString("latin1")];
  const expression = pattern
    .split("/")
    .map((part) =>
      part.startsWith(":")
        ? "[^/]+"
        : part.replaceAll(/[^A-Za-z0-9]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`),
    )
    .join("/");
  holds(
    matchesPattern(pattern, path) === new RegExp(`^${expression}$`).test(path),
    "a pattern means what its expression does",
  );
}

export const seeds = (): readonly string[] => [
  "120\n/a/:b\n/a/x",
  "Wed, 21 Oct 2026 07:28:00 GMT\n/a/:b/c\n/a//c",
  "99999999999999999999\n:x\n",
  "-1\n/\n/",
];

export const words = ["Wed, ", " GMT", ":", "/", "0x", "1e9"];
