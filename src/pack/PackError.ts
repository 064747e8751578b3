import { Predicate, Runtime, Schema } from "effect"
import { CliError } from "effect/cli"

/** The name of an archive's file could lead out of the folder that it is unpacked in, or is there twice. */
export class NameRefused extends Schema.TaggedError<NameRefused>()("NameRefused", {
  name: Schema.String,
  found: Schema.String
}) {
  override get message() {
    return `an archive cannot hold ${
      JSON.stringify(this.name)
    }: ${this.found}; expected a relative path with "/" between names, each once`
  }
}

/** A file ends before the bytes that belong in the archive. */
export class SourceTruncated extends Schema.TaggedError<SourceTruncated>()("SourceTruncated", {
  file: Schema.String,
  offset: Schema.Finite,
  expected: Schema.Finite,
  found: Schema.Finite
}) {
  override get message() {
    return `${this.file} has ${this.found} of the ${this.expected} bytes expected at offset ${this.offset}; it changed or was cut short, make it again`
  }
}

/** A file whose bytes belong in the archive cannot be read. */
export class SourceUnreadable extends Schema.TaggedError<SourceUnreadable>()("SourceUnreadable", {
  file: Schema.String,
  detail: Schema.String
}) {
  override get message() {
    return `cannot read ${this.file}: ${this.detail}`
  }
}

/** The archive cannot be written. */
export class Unwritable extends Schema.TaggedError<Unwritable>()("Unwritable", { detail: Schema.String }) {
  override get message() {
    return `cannot write: ${this.detail}; check that the folder is there and may be written`
  }
}

/** The disk is full. `expected`: bytes that the archive has at most; `found`: bytes that were written. */
export class DiskFull extends Schema.TaggedError<DiskFull>()("DiskFull", {
  expected: Schema.Finite,
  found: Schema.Finite
}) {
  override get message() {
    return `the disk is full: ${this.found} of up to ${this.expected} bytes written; free some space, then use --resume`
  }
}

/** Every way in which writing an archive fails. Exit code 7 when the disk is full, else 3. */
export class PackError extends Schema.TaggedError<PackError>()("PackError", {
  path: Schema.String,
  reason: Schema.Union([NameRefused, SourceTruncated, SourceUnreadable, Unwritable, DiskFull])
}) {
  override readonly [Runtime.errorExitCode] = this.reason._tag === "DiskFull" ? 7 : 3
  override get message() {
    return `${this.path}: ${this.reason.message}`
  }
  override get [CliError.userMessage]() {
    return this.message
  }
}

/** The system's code of a failed call (`ENOSPC`), "" where it has none. */
export const systemCode = (cause: unknown): string =>
  Predicate.hasProperty(cause, "code") && typeof cause.code === "string" ? cause.code : ""

/** What a failed call says of itself. */
export const systemText = (cause: unknown): string => cause instanceof Error ? cause.message : String(cause)
