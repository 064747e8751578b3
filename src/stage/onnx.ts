import { Effect } from "effect"
import { check } from "../onnx/Check.ts"
import { encode } from "../onnx/OnnxFile.ts"
import { graphOf } from "../plan/Job.ts"
import { paths, type Plan, programsOf, type Step } from "../plan/Plan.ts"
import { linkWeights } from "./Links.ts"
import type { Stage } from "./Stage.ts"
import { Workspace } from "./Workspace.ts"

const run = Effect.fn("onnx.run")(function*({ layer }: Step, { job }: Plan) {
  if (layer === undefined) return yield* linkWeights(job, paths.onnx)
  const workspace = yield* Workspace
  const outputs = yield* Effect.forEach(programsOf(job, layer), ({ program }) => {
    const graph = graphOf(job, program)
    const [problem] = check(graph)
    if (problem !== undefined) return Effect.die(new Error(`${graph.name}: ${JSON.stringify(problem)}`))
    const path = paths.onnxGraph(program)
    return Effect.as(workspace.write(path, encode(graph)), { path })
  }, { concurrency: "unbounded" })
  return { outputs }
})

/** ONNX: one float graph per program; weights stay in the checkpoint's own files, which `weights/` links to. */
export const onnx = { name: "ONNX", flag: "onnx", unit: "steps", pace: 4e6, run } as const satisfies Stage<
  unknown,
  unknown
>
