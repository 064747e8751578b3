import { Effect, FileSystem, Path, Schema } from "effect"
import { stageNames } from "../plan/Plan.ts"
import { loraModes, precisions } from "../plan/Precision.ts"
import { CompileRequest, keepModes, packModes, qualities, targets, verifyModes } from "../plan/Request.ts"
import { Verification } from "../verify/Verification.ts"
import { TensorIntake } from "./Intake.ts"
import { ProvenanceDamaged, ProvenanceError, ProvenanceMissing } from "./ProvenanceError.ts"

/** Files that tell of a build, relative to its output folder. */
export const provenancePath = "build.json"
export const reportPath = "report.html"

const Count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))

/** A file of the source, by its name alone: its folder may move. */
export const SourceIdentity = Schema.Struct({
  name: Schema.String,
  bytes: Count,
  /** of all its bytes; null where the file is larger than 16 MiB, which nobody wants to wait for */
  sha256: Schema.NullOr(Schema.String),
  /** of 64 pieces of 64 KiB, from the first byte to the last, evenly apart; null where `sha256` is there */
  sample: Schema.NullOr(Schema.String)
})

/** A file that is shipped. */
export const Artifact = Schema.Struct({
  /** relative to the output folder, `/` between folders */
  path: Schema.String,
  bytes: Count,
  sha256: Schema.String
})

/** What was asked of a build, but for what changes no byte of it (that is in `run`). null: not given. */
const Options = Schema.Struct({
  target: Schema.Literals(targets),
  /** its content; null too where the file has gone since */
  configuration: Schema.NullOr(Schema.Struct({ sha256: Schema.NullOr(Schema.String) })),
  python: Schema.NullOr(Schema.String),
  maxNumTokens: Count,
  languageGroupSize: Count,
  futureTokenMaskSize: Count,
  imageHeight: Schema.NullOr(Count),
  imageWidth: Schema.NullOr(Count),
  enableFilterSharing: Schema.Boolean,
  quantizeEmbeddings: Schema.Boolean,
  returnLogits: Schema.Boolean,
  loras: Schema.Array(Schema.Struct({ name: Schema.String })),
  loraRank: Schema.NullOr(Count),
  quality: Schema.Literals(qualities),
  verify: Schema.Literals(verifyModes),
  keepQuantized: Schema.Literals(keepModes),
  pack: Schema.Literals(packModes)
})

/** One program: what the configuration file asked for, what it is, and its weights' bytes in the source and in the archive. */
const PartFacts = Schema.Struct({
  /** `group_pre_0` */
  program: Schema.String,
  layer: Count,
  /** `PRE` */
  part: Schema.String,
  phase: Schema.Literals(["group", "single"]),
  /** null: not compiled */
  precision: Schema.NullOr(Schema.Literals(precisions)),
  before: Count,
  after: Count
})

/** Weights that have one precision; a weight that programs share counts once. */
const size = {
  precision: Schema.Literals(precisions),
  /** numbers, not bytes */
  weights: Count,
  before: Count,
  after: Count
}

/** What differs from one run to the next: nothing outside of it does, for the same source and options. */
const Run = Schema.Struct({
  /** ISO 8601, UTC */
  started: Schema.String,
  seconds: Schema.Finite,
  /** resident set of the process at most, bytes */
  peakMemory: Count,
  /** by the plan, bytes */
  written: Count,
  /** in the plan's order; a kept step has the time that it took when it was made, null where that is not known */
  steps: Schema.Array(Schema.Struct({
    id: Schema.String,
    stage: Schema.Literals(stageNames),
    layer: Schema.NullOr(Count),
    kept: Schema.Boolean,
    seconds: Schema.NullOr(Schema.Finite)
  })),
  /** files as they were given; relative ones start from `folder` */
  model: Schema.String,
  configurationFile: Schema.NullOr(Schema.String),
  loraPaths: Schema.Array(Schema.String),
  output: Schema.String,
  folder: Schema.String,
  jobs: Count,
  maxMemory: Count,
  resume: Schema.Boolean,
  force: Schema.Boolean,
  host: Schema.Struct({
    system: Schema.String,
    cores: Count,
    node: Schema.String,
    /** null where it is not installed */
    onnxruntime: Schema.NullOr(Schema.String)
  })
})

/**
 * `build.json`: enough to make the build again, and to know that it is the same. Sizes in bytes, times in seconds. The same source and
 * options give the same bytes, but for `run`.
 */
export const Provenance = Schema.Struct({
  /** raised when a reader of an older file could go wrong */
  format: Schema.Literal(1),
  tool: Schema.Struct({ name: Schema.String, version: Schema.String }),
  source: Schema.Struct({
    kind: Schema.Literals(["huggingface", "gguf", "quantized"]),
    name: Schema.String,
    family: Schema.String,
    layers: Count,
    /** by name */
    files: Schema.Array(SourceIdentity)
  }),
  request: Options,
  /** what the configuration file says of every program */
  precision: Schema.Array(Schema.Struct({
    program: Schema.String,
    precision: Schema.NullOr(Schema.Literals(precisions)),
    compile: Schema.Boolean,
    lora: Schema.Literals(loraModes)
  })),
  /** what became of every program */
  parts: Schema.Array(PartFacts),
  layers: Schema.Array(Schema.Struct({ layer: Count, ...size })),
  /** all layers together, by precision */
  weights: Schema.Array(Schema.Struct(size)),
  /** what became of tensors that were quantised before; absent where none was */
  intake: Schema.optionalKey(Schema.Struct({
    exact: Count,
    converted: Count,
    requantised: Count,
    tensors: Schema.Array(TensorIntake)
  })),
  /** errors beside the float model; absent where nothing was compared */
  verification: Schema.optionalKey(Verification),
  warnings: Schema.Array(Schema.String),
  /** by path */
  artifacts: Schema.Array(Artifact),
  run: Run
})
export type Provenance = typeof Provenance.Type

/** The text of build.json: two spaces a level, keys in the order of the schema. */
export const provenanceText = (provenance: Provenance): string =>
  `${JSON.stringify(Schema.encodeSync(Provenance)(provenance), null, 2)}\n`

const decode = Schema.decodeEffect(Schema.fromJsonString(Provenance))

/** Reads build.json of an output folder. */
export const readProvenance = Effect.fn("Provenance.readProvenance")(function*(output: string) {
  const fs = yield* FileSystem.FileSystem
  const paths = yield* Path.Path
  const path = paths.resolve(output, provenancePath)
  const text = yield* Effect.mapError(
    fs.readFileString(path),
    ({ message }) => new ProvenanceError({ path, reason: new ProvenanceMissing({ detail: message }) })
  )
  return yield* Effect.mapError(
    decode(text),
    ({ message }) => new ProvenanceError({ path, reason: new ProvenanceDamaged({ found: message }) })
  )
})

const absolute = /^(?:[\\/]|[A-Za-z]:[\\/])/

/** The request that a build was made by, of all stages; files as they were named, from the folder in which the program ran. */
export const requestOf = ({ request, run }: Provenance): CompileRequest => {
  const at = (path: string): string => absolute.test(path) ? path : `${run.folder}/${path}`
  return CompileRequest.make({
    modelPath: at(run.model),
    output: at(run.output),
    configurationFile: run.configurationFile === null ? undefined : at(run.configurationFile),
    maxNumTokens: request.maxNumTokens,
    resume: run.resume,
    jobs: run.jobs,
    imageHeight: request.imageHeight ?? undefined,
    imageWidth: request.imageWidth ?? undefined,
    languageGroupSize: request.languageGroupSize,
    futureTokenMaskSize: request.futureTokenMaskSize,
    enableFilterSharing: request.enableFilterSharing,
    quantizeEmbeddings: request.quantizeEmbeddings,
    returnLogits: request.returnLogits,
    loras: request.loras.map(({ name }, i) => ({ name, path: at(run.loraPaths[i] ?? "") })),
    loraRank: request.loraRank ?? undefined,
    target: request.target,
    python: request.python ?? undefined,
    maxMemory: run.maxMemory,
    quality: request.quality,
    verify: request.verify,
    force: run.force,
    keepQuantized: request.keepQuantized,
    pack: request.pack
  })
}
