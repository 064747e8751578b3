import { Runtime, Schema } from "effect"
import { CliError } from "effect/cli"

/** The file ends inside the tensor. */
export class SourceTruncated extends Schema.TaggedError<SourceTruncated>()("SourceTruncated", {
  file: Schema.String,
  /** bytes of the tensor, from `offset` */
  expected: Schema.Int,
  found: Schema.Int,
  offset: Schema.Int
}) {
  override get message() {
    return `${this.file} has ${this.found} of ${this.expected} bytes at ${this.offset}; download the file again`
  }
}

/** The source cannot be read. */
export class SourceUnreadable extends Schema.TaggedError<SourceUnreadable>()("SourceUnreadable", {
  file: Schema.String,
  detail: Schema.String
}) {
  override get message() {
    return `cannot read ${this.file}: ${this.detail}; check that it is still there and may be read`
  }
}

/** The destination cannot be written. */
export class DestinationUnwritable extends Schema.TaggedError<DestinationUnwritable>()("DestinationUnwritable", {
  file: Schema.String,
  detail: Schema.String
}) {
  override get message() {
    return `cannot write ${this.file}: ${this.detail}; check the folder's permissions, or choose another --output`
  }
}

/** No room for the destination. */
export class DiskFull extends Schema.TaggedError<DiskFull>()("DiskFull", {
  file: Schema.String,
  /** bytes that were being written, and where */
  bytes: Schema.Int,
  offset: Schema.Int
}) {
  override get message() {
    return `no space for ${this.bytes} bytes at ${this.offset} of ${this.file}; free some or choose another output folder`
  }
}

/** A weight is not a number or infinite. */
export class NotFinite extends Schema.TaggedError<NotFinite>()("NotFinite", {
  /** that holds the number */
  file: Schema.String,
  value: Schema.Literals(["NaN", "Infinity"]),
  index: Schema.Array(Schema.Int)
}) {
  override get message() {
    return `${this.value} at [${
      this.index.join(", ")
    }] in ${this.file}, expected finite numbers; the checkpoint is damaged, or was saved after training had diverged: download that `
      + "file again"
  }
}

/** A block's scale is larger than the largest f16. */
export class ScaleOverflow extends Schema.TaggedError<ScaleOverflow>()("ScaleOverflow", {
  blocks: Schema.Int,
  index: Schema.Array(Schema.Int),
  largest: Schema.Finite
}) {
  override get message() {
    return `${this.blocks} blocks have a scale above 65504, the first at [${
      this.index.join(", ")
    }] (largest magnitude ${this.largest.toPrecision(4)}); keep this layer in BF16`
  }
}

/** A tensor that the kernels do not take. */
export class NotQuantizable extends Schema.TaggedError<NotQuantizable>()("NotQuantizable", {
  expected: Schema.String,
  found: Schema.String
}) {
  override get message() {
    return `expected ${this.expected}, found ${this.found}; keep this layer in BF16`
  }
}

/** A worker thread ended in the middle of its work. */
export class WorkerLost extends Schema.TaggedError<WorkerLost>()("WorkerLost", { detail: Schema.String }) {
  override get message() {
    return `a worker thread ended: ${this.detail}; run again with --resume, with fewer --jobs if memory is short`
  }
}

const exitCodes: Readonly<Record<string, number>> = { NotQuantizable: 4, DiskFull: 7, WorkerLost: 1 }

/** Every way in which the kernels fail. `subject` is the tensor, or the file of a plain copy. */
export class KernelError extends Schema.TaggedError<KernelError>()("KernelError", {
  subject: Schema.String,
  reason: Schema.Union([
    SourceTruncated,
    SourceUnreadable,
    DestinationUnwritable,
    DiskFull,
    NotFinite,
    ScaleOverflow,
    NotQuantizable,
    WorkerLost
  ])
}) {
  override readonly [Runtime.errorExitCode] = exitCodes[this.reason._tag] ?? 3
  override get message() {
    return `${this.subject}: ${this.reason.message}`
  }
  override get [CliError.userMessage]() {
    return this.message
  }
}
