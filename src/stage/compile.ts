import { Effect, FileSystem, Path, Schedule } from "effect"
import { fixShapes } from "../onnx/FixedShapes.ts"
import { decode } from "../onnx/OnnxFile.ts"
import { Mpk } from "../pack/Mpk.ts"
import { compiledOf, paths, type Plan, quantizingStage, type Step } from "../plan/Plan.ts"
import { shapedOf } from "../plan/Shapes.ts"
import { Target, type TargetError } from "../target/Target.ts"
import type { Stage } from "./Stage.ts"
import { InputMissing } from "./StageError.ts"
import { Workspace } from "./Workspace.ts"

/** 1 s, 2 s, 4 s, jittered, and only for failures that can pass. */
const retrySame = Schedule.min([Schedule.exponential("1 second"), Schedule.spaced("10 seconds")]).pipe(
  Schedule.jittered,
  Schedule.upTo({ times: 3 }),
  Schedule.setInputType<TargetError>(),
  Schedule.while(({ input }) => input.retry === "same"),
  Schedule.tap(({ input }) => Effect.logWarning(`${input.message}; trying again`))
)

const run = Effect.fn("compile.run")(function*({ id, layer }: Step, { job }: Plan) {
  if (layer === undefined) return { outputs: [] }
  const workspace = yield* Workspace
  const target = yield* Target
  const mpk = yield* Mpk
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const maker = quantizingStage[job.checkpoint.kind]
  const parts = yield* Effect.forEach(
    compiledOf(job, layer),
    Effect.fnUntraced(function*({ program }) {
      const file = yield* workspace.at(paths.quantizedGraph(program))
      const missing = () => new InputMissing({ step: id, input: file, stage: maker.name, flag: maker.flag })
      const bytes = yield* Effect.mapError(fs.readFile(file), missing)
      const graph = yield* Effect.mapError(Effect.fromResult(decode(bytes)), missing)
      return yield* Effect.forEach(shapedOf(job, program), ({ dims, name }) =>
        Effect.retry(
          target.compile({ name, graph: { ...fixShapes(graph, dims), name }, folder: path.dirname(file) }),
          retrySame
        ))
    })
  )
  const entries = yield* target.link(`layer_${layer}`, parts.flat())
  const archive = paths.archive(layer)
  const { sha256 } = yield* workspace.publish(archive, (temporary) => mpk.write(temporary, entries, job.request.pack))
  return { outputs: [{ path: archive, sha256 }] }
})

/** COMPILE: each quantised part becomes the target's program; a layer's programs and their data become one archive. */
export const compile = { name: "COMPILE", flag: "compile", unit: "bytes", pace: 0.7, run } as const satisfies Stage<
  unknown,
  unknown
>
