import { Runtime, Schema } from "effect"
import { CliError } from "effect/cli"

/** A step's input is not there, or is another build's: the stage that makes it has to run first. */
export class InputMissing extends Schema.TaggedError<InputMissing>()("InputMissing", {
  step: Schema.String,
  input: Schema.String,
  stage: Schema.String,
  flag: Schema.String
}) {
  override readonly [Runtime.errorExitCode] = 3
  override get message() {
    return `${this.step} needs ${this.input}, which the ${this.stage} stage makes; run it with ${this.flag} (and the same options), or run without a stage flag`
  }
  override get [CliError.userMessage]() {
    return this.message
  }
}

const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`

/** The plan asks for more than the machine or the user's limit has. */
export class OutOfBudget extends Schema.TaggedError<OutOfBudget>()("OutOfBudget", {
  what: Schema.Literals(["disk", "memory"]),
  where: Schema.String,
  needed: Schema.Finite,
  found: Schema.Finite,
  advice: Schema.String
}) {
  override readonly [Runtime.errorExitCode] = 7
  override get message() {
    return `not enough ${this.what}: ${this.where} needs ${mib(this.needed)} and has ${mib(this.found)}; ${this.advice}`
  }
  override get [CliError.userMessage]() {
    return this.message
  }
}

/** The request is sound, but this version cannot do it. */
export class NotSupported extends Schema.TaggedError<NotSupported>()("NotSupported", {
  what: Schema.String,
  advice: Schema.String
}) {
  override readonly [Runtime.errorExitCode] = 4
  override get message() {
    return `${this.what} is not supported: ${this.advice}`
  }
  override get [CliError.userMessage]() {
    return this.message
  }
}

/** A checkpoint is not the one that a build was made of. */
export class OtherSource extends Schema.TaggedError<OtherSource>()("OtherSource", {
  output: Schema.String,
  source: Schema.String,
  file: Schema.String,
  expected: Schema.String,
  found: Schema.String
}) {
  override readonly [Runtime.errorExitCode] = 3
  override get message() {
    return `${this.source} is not the checkpoint that ${this.output} was made of: ${this.file}: expected ${this.expected}, found ${this.found}; name the right one with --model, or compile again with --resume if the checkpoint is meant to be new`
  }
  override get [CliError.userMessage]() {
    return this.message
  }
}

/** LoRA branches are asked for in programs that do not share their weights. */
export class SharingNeeded extends Schema.TaggedError<SharingNeeded>()("SharingNeeded", { layers: Schema.String }) {
  override readonly [Runtime.errorExitCode] = 2
  override get message() {
    return `LoRA in layers ${this.layers} (configuration file) needs --enable_filter_sharing: prefill and decode then share the weights that adapters are added to`
  }
  override get [CliError.userMessage]() {
    return this.message
  }
}
