import { Runtime, Schema } from "effect"
import { CliError } from "effect/cli"
import { quoted } from "../tensor/Fault.ts"

// What is quoted may be any file's bytes.
const lineOf = (label: string, text: string | undefined) => text === undefined ? [] : [`  ${label}${text}`]

/** A configuration file that cannot be used: where, what is wrong, with which arguments, and what to do. */
export class PrecisionError extends Schema.TaggedError<PrecisionError>()("PrecisionError", {
  file: Schema.String,
  /** 1-based; absent where no line can be blamed */
  line: Schema.optional(Schema.Int),
  /** 1-based; absent where all of the line is meant */
  column: Schema.optional(Schema.Int),
  /** the text of that line */
  source: Schema.optional(Schema.String),
  /** the call that went wrong, as Python would write it */
  call: Schema.optional(Schema.String),
  problem: Schema.String,
  expected: Schema.optional(Schema.String),
  found: Schema.optional(Schema.String),
  advice: Schema.optional(Schema.String)
}) {
  override readonly [Runtime.errorExitCode] = 3
  override get message() {
    const place = [this.file, this.line, this.column].filter((one) => one !== undefined).join(":")
    return [
      `${place}: ${this.problem}`,
      ...lineOf("  ", this.source === undefined ? undefined : quoted(this.source)),
      ...lineOf("in ", this.call),
      ...lineOf("expected ", this.expected),
      ...lineOf("found ", this.found === undefined ? undefined : quoted(this.found)),
      ...lineOf("", this.advice)
    ].join("\n")
  }
  override get [CliError.userMessage]() {
    return this.message
  }
}
