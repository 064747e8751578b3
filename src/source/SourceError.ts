import { Runtime, Schema } from "effect"
import { CliError } from "effect/cli"
import {
  FileMissing,
  HeaderInvalid,
  IndexInvalid,
  JsonInvalid,
  NotFound,
  NotRecognised,
  Overlap,
  PathEscapes,
  PickleOnly,
  PointerFile,
  ShardMissing,
  TooLarge,
  Truncated,
  Unreadable,
  WeightsMissing
} from "./FileReason.ts"
import {
  ConfigInvalid,
  ConfigUnsupported,
  DTypeUnsupported,
  PieceInvalid,
  TensorsDiffer,
  TensorsUnused,
  UnsupportedArchitecture,
  UnsupportedFormat,
  UnsupportedQuantization,
  ValueInvalid
} from "./ModelReason.ts"

const Reason = Schema.Union([
  NotFound,
  Unreadable,
  NotRecognised,
  FileMissing,
  WeightsMissing,
  PickleOnly,
  PointerFile,
  TooLarge,
  JsonInvalid,
  HeaderInvalid,
  Truncated,
  Overlap,
  IndexInvalid,
  ShardMissing,
  PathEscapes,
  ConfigInvalid,
  ConfigUnsupported,
  TensorsDiffer,
  TensorsUnused,
  DTypeUnsupported,
  ValueInvalid,
  PieceInvalid,
  UnsupportedArchitecture,
  UnsupportedQuantization,
  UnsupportedFormat
])

/** Sound input that is not built; everything else is bad input. */
const unsupported: ReadonlySet<string> = new Set([
  "ConfigUnsupported",
  "DTypeUnsupported",
  "TensorsUnused",
  "UnsupportedArchitecture",
  "UnsupportedQuantization",
  "UnsupportedFormat"
])

/** Every way in which reading a checkpoint fails. `path`: the absolute file or folder; exit code 3 (bad) or 4 (unsupported). */
export class SourceError extends Schema.TaggedError<SourceError>()("SourceError", {
  path: Schema.String,
  reason: Reason
}) {
  override readonly [Runtime.errorExitCode] = unsupported.has(this.reason._tag) ? 4 : 3
  override get message() {
    return `${this.path}: ${this.reason.message}`
  }
  override get [CliError.userMessage]() {
    return this.message
  }
}

/** A problem of a configuration, as a model family reports it (`ConfigProblem` of arch). */
export interface Problem {
  readonly path: string
  readonly expected: string
  readonly found: string
  readonly unsupported: boolean
}

/** The error of a configuration: invalid if any problem makes it wrong, else unsupported. `path` is config.json. */
export const configError = (path: string, problems: ReadonlyArray<Problem>): SourceError => {
  const wrong = problems.filter((problem) => !problem.unsupported)
  const lines = (wrong.length > 0 ? wrong : problems).map(({ expected, found, path }) =>
    `${path}: expected ${expected}, found ${found}`
  )
  return new SourceError({
    path,
    reason: wrong.length > 0 ? new ConfigInvalid({ problems: lines }) : new ConfigUnsupported({ problems: lines })
  })
}
