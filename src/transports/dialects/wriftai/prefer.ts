/**
 * The header `Prefer` (RFC 7240): `token [= value] *(; parameter)`, separated by commas, names in any case, values
 * bare or quoted. Only `wait` means anything here; whatever is malformed counts as not sent, which §2 of the RFC
 * asks for.
 */
const PREFERENCE =
  /^\s*([!#$%&'*+.^_`|~0-9a-z-]+)(?:\s*=\s*(?:"([^"\\]*)"|([!#$%&'*+.^_`|~0-9a-z-]*)))?\s*$/i;
const SECONDS = /^[0-9]+$/;

/** Seconds of the first `wait`, as §2 has it when one is repeated; 0 without a valid one. */
export function preferredWait(header: string): number {
  for (const item of splitOutsideQuotes(header, ",")) {
    const [preference = ""] = splitOutsideQuotes(item, ";");
    const [, name = "", quoted, bare] = PREFERENCE.exec(preference) ?? [];
    if (name.toLowerCase() !== "wait") continue;
    const value = quoted ?? bare ?? "";
    return SECONDS.test(value) ? Number(value) : 0;
  }
  return 0;
}

function splitOutsideQuotes(text: string, separator: string): string[] {
  const parts = [""];
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const char = text.charAt(i);
    if (char === '"') quoted = !quoted;
    if (char === separator && !quoted) {
      parts.push("");
      continue;
    }
    // A quoted-pair hides the character behind it, quotes included.
    parts[parts.length - 1] += quoted && char === "\\" ? char + text.charAt(++i) : char;
  }
  return parts;
}
