/**
 * The key in `Authorization: Bearer <key>`; undefined when there is none. The scheme's case does not matter
 * (RFC 9110 §11.1).
 */
export function bearerToken(header: string | undefined): string | undefined {
  return header === undefined ? undefined : /^bearer +(\S+) *$/i.exec(header)?.[1];
}
