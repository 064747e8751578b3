import { Effect, FileSystem, Path, Schema } from "effect"
import { RuntimeConfig, runtimeConfigPath } from "../../devkit/RuntimeConfig.ts"
import { decoderPrograms, programName } from "../../plan/Parts.ts"
import { loraModes, precisions } from "../../plan/Precision.ts"
import { CompileRequest } from "../../plan/Request.ts"
import { Damaged, RunError, Unreadable } from "../../run/RunError.ts"
import { prepare } from "../Prepare.ts"

const precisionPath = "sima_files/devkit/precision.json"

/** `devkit/precision.json`, as `precisionList` writes it. */
const PrecisionFile = Schema.fromJsonString(Schema.Struct({
  format: Schema.Literal(1),
  programs: Schema.Record(
    Schema.String,
    Schema.Struct({
      precision: Schema.NullOr(Schema.Literals(precisions)),
      compile: Schema.Boolean,
      lora: Schema.Literals(loraModes)
    })
  )
}))

/** The job that a finished build was made by, as its own files tell it, over a checkpoint. The configuration file is not needed. */
export const builtJob = Effect.fn("BuiltJob.builtJob")(function*(output: string, modelPath: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const read = Effect.fnUntraced(function*<A>(name: string, schema: Schema.Codec<A, string>) {
    const file = path.resolve(output, name)
    const text = yield* Effect.mapError(fs.readFileString(file), ({ message: detail }) =>
      new RunError({
        path: file,
        reason: new Unreadable({ detail, advice: `is ${output} the output folder of a finished build?` })
      }))
    return yield* Effect.mapError(
      Schema.decodeEffect(schema)(text),
      ({ message: found }) =>
        new RunError({ path: file, reason: new Damaged({ where: "JSON", expected: "format 1", found }) })
    )
  })
  const { programs } = yield* read(precisionPath, PrecisionFile)
  const config = yield* read(runtimeConfigPath, Schema.fromJsonString(RuntimeConfig))
  const job = yield* prepare(CompileRequest.make({
    modelPath,
    output,
    maxNumTokens: config.maxNumTokens,
    languageGroupSize: config.groupSize,
    returnLogits: config.returnLogits
  }))
  const table = decoderPrograms(job.model.facts.layers).map((program) => {
    const { compile, lora, precision } = programs[programName(program)] ??
      { compile: false, lora: "LORA_DISABLED" as const, precision: null }
    return { program, choice: { compile, lora, precision: precision ?? undefined } }
  })
  return { ...job, table }
})
