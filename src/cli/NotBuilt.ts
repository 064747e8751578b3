import { Runtime, Schema } from "effect"
import { CliError } from "effect/cli"

/** A documented command that this version does not have yet. */
export class NotBuilt extends Schema.TaggedError<NotBuilt>()("NotBuilt", {
  command: Schema.String,
  instead: Schema.String
}) {
  override readonly [Runtime.errorExitCode] = 4
  override get message() {
    return `${this.command} is not built yet; ${this.instead}`
  }
  override get [CliError.userMessage]() {
    return this.message
  }
}
