/** What the operating system says of a folder, for a person. */

const PROBLEMS: Readonly<Record<string, string>> = {
  ENOSPC: "the disk is full",
  EDQUOT: "the disk quota is used up",
  EFBIG: "files there may not grow any more",
  EROFS: "the file system is read-only",
  EACCES: "this user may not write or read there",
  EPERM: "this user may not write or read there",
  ENOTDIR: "it is not a folder, or lies below something that is none",
  EEXIST: "it is not a folder",
  ELOOP: "its links go in a circle",
  ENAMETOOLONG: "its name is too long",
  EIO: "the disk does not answer as it should",
  ESTALE: "the file server does not know it any more",
  EMFILE: "this process has too many open files",
};

/** Plain words for a system error; its own text where it is another one. */
export function folderProblem(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  const words = PROBLEMS[code];
  return words === undefined ? error.message : `${words} (${code})`;
}
