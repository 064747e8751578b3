import { Runtime, Schema } from "effect"
import { CliError } from "effect/cli"

/** There is no build.json, or none that can be read. */
export class ProvenanceMissing extends Schema.TaggedError<ProvenanceMissing>()("ProvenanceMissing", {
  detail: Schema.String
}) {
  override get message() {
    return `${this.detail}; a build of all stages that has ended well leaves it: name its output folder, or build again with --resume`
  }
}

/** build.json is not what a build writes. */
export class ProvenanceDamaged extends Schema.TaggedError<ProvenanceDamaged>()("ProvenanceDamaged", {
  found: Schema.String
}) {
  override get message() {
    return `expected format 1 of a build's facts, found ${this.found}; build again with --resume`
  }
}

/** Every way in which reading build.json fails. */
export class ProvenanceError extends Schema.TaggedError<ProvenanceError>()("ProvenanceError", {
  path: Schema.String,
  reason: Schema.Union([ProvenanceMissing, ProvenanceDamaged])
}) {
  override readonly [Runtime.errorExitCode] = 3
  override get message() {
    return `${this.path}: ${this.reason.message}`
  }
  override get [CliError.userMessage]() {
    return this.message
  }
}
