/** Routes as patterns, for those who have to say which methods a path has. */

/** @param pattern with Fastify's `:parameters`, each of which stands for one part that is not empty */
export function matchesPattern(pattern: string, path: string): boolean {
  const [wanted, given] = [pattern.split("/"), path.split("/")];
  return (
    wanted.length === given.length &&
    wanted.every((part, i) => (part.startsWith(":") ? given[i] !== "" : part === given[i]))
  );
}
