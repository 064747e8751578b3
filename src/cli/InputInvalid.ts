import { Runtime, Schema } from "effect"
import { CliError } from "effect/cli"

/** A file that a command was given is not what it should be. */
export class InputInvalid extends Schema.TaggedError<InputInvalid>()("InputInvalid", {
  path: Schema.String,
  expected: Schema.String,
  found: Schema.String
}) {
  override readonly [Runtime.errorExitCode] = 3
  override get message() {
    return `${this.path}: expected ${this.expected}, found ${this.found}`
  }
  override get [CliError.userMessage]() {
    return this.message
  }
}
