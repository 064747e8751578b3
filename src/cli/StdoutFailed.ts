import { Runtime, Schema } from "effect"
import { CliError } from "effect/cli"

/** What was printed on stdout did not arrive. */
export class StdoutFailed extends Schema.TaggedError<StdoutFailed>()("StdoutFailed", {
  /** the system's name of the failure: `ENOSPC` */
  code: Schema.String,
  text: Schema.String
}) {
  private get full() {
    return this.code === "ENOSPC" || this.code === "EDQUOT"
  }
  override readonly [Runtime.errorExitCode] = this.full ? 7 : 1
  override get message() {
    return `stdout cannot be written: ${this.full ? "no space left on its disk" : this.text}`
  }
  override get [CliError.userMessage]() {
    return this.message
  }
}
