// Without Effect: the threads of the kernels load it too.

/** Characters of somebody else's text that an error quotes. */
const quotedLength = 120

/** A text that others wrote as an error may show it: one line, printable, at most 120 characters. */
export const quoted = (text: string): string => {
  const line = Array.from(text.slice(0, 8 * quotedLength).trim().replaceAll(/\s+/g, " "))
    .map((char) => /\p{C}/u.test(char) ? "\ufffd" : char)
  return line.length > quotedLength ? `${line.slice(0, quotedLength - 1).join("")}…` : line.join("")
}

/** The system's codes for what the platform's errors call by a name. */
const codes: Readonly<Record<string, string>> = {
  NotFound: "ENOENT",
  PermissionDenied: "EACCES",
  AlreadyExists: "EEXIST",
  Busy: "EBUSY"
}

/** The system's code of a failed call (`ENOSPC`), looked for in its causes too; "" where there is none. */
export const codeOf = (error: unknown): string => {
  if (typeof error !== "object" || error === null) return ""
  if ("code" in error && typeof error.code === "string") return error.code
  const inner = ("reason" in error && codeOf(error.reason)) || ("cause" in error && codeOf(error.cause)) || ""
  return inner === "" && "_tag" in error && typeof error._tag === "string" ? codes[error._tag] ?? "" : inner
}

const words: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file or folder",
  ENOTDIR: "a file stands where a folder belongs",
  EISDIR: "a folder stands where a file belongs",
  EEXIST: "there is something of that name already",
  ENOTEMPTY: "the folder is not empty",
  EACCES: "permission denied",
  EPERM: "permission denied",
  EROFS: "the disk is read-only",
  ENOSPC: "no space left on the disk",
  EDQUOT: "the user's share of the disk is used up",
  EMFILE: "too many files are open",
  ENFILE: "too many files are open",
  ENAMETOOLONG: "the name is too long",
  ELOOP: "its symbolic links lead in a circle",
  EBUSY: "it is in use",
  ETXTBSY: "it is being run",
  EIO: "the disk fails to read or write",
  ENOEXEC: "it is no program"
}

/** Why a call to the system failed, in words without the call's name: `permission denied`. */
export const faultOf = (error: unknown): string => {
  const code = codeOf(error)
  return words[code] ?? quoted(code !== "" ? code : error instanceof Error ? error.message : String(error))
}
