/** Which web pages may call. */

const LOOPBACK = /^https?:\/\/(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?$/;

/**
 * @param origin as a browser names it, e.g. `https://example.org`
 * @param origins `*` for any, [] for loopback ones alone
 */
export function mayCall(origin: string, origins: readonly string[]): boolean {
  if (origins.length === 0) return LOOPBACK.test(origin);
  return origins.includes("*") || origins.includes(origin);
}
