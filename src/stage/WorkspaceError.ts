import { Runtime, Schema } from "effect"
import { CliError } from "effect/cli"

/** The output folder holds files and was not made by this program. */
export class ForeignFolder extends Schema.TaggedError<ForeignFolder>()("ForeignFolder", {
  found: Schema.Array(Schema.String)
}) {
  override get message() {
    return `the folder is not empty and no build made it (it has ${
      this.found.join(", ")
    }); expected a new folder, an empty one or an earlier build: choose another with --output, or use --force to build in it`
  }
}

/** Another run works in the folder. */
export class FolderInUse extends Schema.TaggedError<FolderInUse>()("FolderInUse", {
  pid: Schema.Int,
  host: Schema.String,
  lock: Schema.String
}) {
  override get message() {
    return `process ${this.pid} on ${this.host} is building in this folder; wait for it or choose another --output (if it no longer runs, remove ${this.lock})`
  }
}

/** The folder or a file in it may not be written. */
export class NotWritable extends Schema.TaggedError<NotWritable>()("NotWritable", { detail: Schema.String }) {
  override get message() {
    return `cannot be written (${this.detail}); change its permissions or choose another --output`
  }
}

/** The disk is full, or will be. `needed`, `free` in bytes; null where it is not known. */
export class NoSpace extends Schema.TaggedError<NoSpace>()("NoSpace", {
  needed: Schema.NullOr(Schema.Finite),
  free: Schema.NullOr(Schema.Finite)
}) {
  override get message() {
    const needed = this.needed === null ? "" : `${this.needed} bytes are needed, `
    const free = this.free === null ? "" : `${this.free} bytes are free; `
    return `the disk is full: ${needed}${free}free some space or choose another --output, then use --resume`
  }
}

/** A name that would leave the output folder. */
export class OutsideFolder extends Schema.TaggedError<OutsideFolder>()("OutsideFolder", { folder: Schema.String }) {
  override get message() {
    return `is not inside ${this.folder}; a build writes nowhere else`
  }
}

/** Any other failure of the file system; `inTheWay`: something else has the name. */
export class FileFailed extends Schema.TaggedError<FileFailed>()("FileFailed", {
  detail: Schema.String,
  inTheWay: Schema.Boolean
}) {
  override get message() {
    return `cannot be made or read: ${this.detail}; ${
      this.inTheWay ? "move it away" : "check the path"
    }, or choose another --output`
  }
}

/** Every way in which the output folder fails. Exit code 7 when the disk is full, else 3. */
export class WorkspaceError extends Schema.TaggedError<WorkspaceError>()("WorkspaceError", {
  path: Schema.String,
  reason: Schema.Union([ForeignFolder, FolderInUse, NotWritable, NoSpace, OutsideFolder, FileFailed])
}) {
  override readonly [Runtime.errorExitCode] = this.reason._tag === "NoSpace" ? 7 : 3
  override get message() {
    return `${this.path}: ${this.reason.message}`
  }
  override get [CliError.userMessage]() {
    return this.message
  }
}
