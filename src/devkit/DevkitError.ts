import { Runtime, Schema } from "effect"
import { CliError } from "effect/cli"

/** A file that the device needs cannot be made from what the checkpoint holds. */
export class DevkitError extends Schema.TaggedError<DevkitError>()("DevkitError", {
  /** the file of the checkpoint, or its tensor */
  path: Schema.String,
  /** the key in it, dots between levels; "" for the whole file */
  at: Schema.String,
  expected: Schema.String,
  found: Schema.String,
  advice: Schema.String
}) {
  override readonly [Runtime.errorExitCode] = 3
  override get message() {
    const where = this.at === "" ? this.path : `${this.path}, ${this.at}`
    return `${where}: expected ${this.expected}, found ${this.found}; ${this.advice}`
  }
  override get [CliError.userMessage]() {
    return this.message
  }
}
