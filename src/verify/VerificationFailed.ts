import { Runtime, Schema } from "effect"
import { CliError } from "effect/cli"
import { Verification, worstOf } from "./Verification.ts"

const figure = (value: number): string => value < 0.001 ? value.toExponential(2) : value.toFixed(4)

/** What a user can do about a program that misses. */
const advice =
  "if that is a rounding too coarse for this layer, give it a higher precision in the configuration file (-c) and run again with --resume; if not, the archives or the checkpoint are damaged, compile without --resume. " +
  "The archives are kept: `llima verify OUT` repeats the comparison, --verify none builds without it"

const lines = (verification: Verification): ReadonlyArray<string> => {
  const missed = verification.checks.filter(({ passed }) => !passed)
  const worst = worstOf(verification)
  const shown = missed.slice(0, 3).map(({ error, largest, precision, program, tensor, threshold }) =>
    `${program}, ${tensor}: relative error ${figure(error)}, at most ${
      figure(threshold)
    } for ${precision} (largest difference ${figure(largest)})`
  )
  const more = missed.length > shown.length ? [`${missed.length - shown.length} more outputs miss theirs`] : []
  const { divergence } = verification
  const drift = divergence === undefined || divergence.passed ? [] : [
    `final distribution: KL ${figure(divergence.kl)} nats, at most ${
      figure(divergence.threshold)
    }, over ${divergence.positions} positions${
      worst === undefined ? "" : `; the part closest to its threshold is ${worst.program}, ${worst.tensor}`
    }`
  ]
  return [...shown, ...more, ...drift]
}

/** Programs or predictions of a build are further from the float model than their precision explains. */
export class VerificationFailed extends Schema.TaggedError<VerificationFailed>()("VerificationFailed", {
  verification: Verification
}) {
  override readonly [Runtime.errorExitCode] = 6
  override get message() {
    return [...lines(this.verification), advice].join("\n")
  }
  override get [CliError.userMessage]() {
    return this.message
  }
}

const shown = 3

/** Shipped files of a build are not what the build wrote. */
export class FilesChanged extends Schema.TaggedError<FilesChanged>()("FilesChanged", {
  /** paths relative to the output folder; what build.json says of them, and what is there */
  files: Schema.Array(Schema.Struct({ path: Schema.String, expected: Schema.String, found: Schema.String }))
}) {
  override readonly [Runtime.errorExitCode] = 6
  override get message() {
    const more = this.files.length > shown ? [`${this.files.length - shown} more files differ`] : []
    return [
      ...this.files.slice(0, shown).map(({ expected, found, path }) => `${path}: expected ${expected}, found ${found}`),
      ...more,
      "files of the build changed after it was made: the same llima-compile command with --resume makes these again"
    ].join("\n")
  }
  override get [CliError.userMessage]() {
    return this.message
  }
}

/** A program's output holds a number that no arithmetic on a sound weight gives. */
export class OutputBroken extends Schema.TaggedError<OutputBroken>()("OutputBroken", {
  program: Schema.String,
  tensor: Schema.String,
  /** of the first such number, as `[row, column]` */
  index: Schema.Array(Schema.Int),
  found: Schema.String
}) {
  override readonly [Runtime.errorExitCode] = 6
  override get message() {
    const what = this.found === "zeros"
      ? "expected other numbers than zeros, found zeros only"
      : `expected a finite number at [${this.index.join(", ")}], found ${this.found}`
    return `${this.program}, ${this.tensor}: ${what}; ${advice}`
  }
  override get [CliError.userMessage]() {
    return this.message
  }
}

/** The float model itself cannot be followed: its own numbers overflow or are not numbers. */
export class ReferenceBroken extends Schema.TaggedError<ReferenceBroken>()("ReferenceBroken", {
  part: Schema.String,
  tensor: Schema.String,
  index: Schema.Array(Schema.Int),
  found: Schema.String
}) {
  override readonly [Runtime.errorExitCode] = 3
  override get message() {
    return `${this.part} of the float model, ${this.tensor}: found ${this.found} at [${this.index.join(", ")}]; ` +
      "the checkpoint's weights are damaged, download it again; --verify none builds without looking"
  }
  override get [CliError.userMessage]() {
    return this.message
  }
}
