import type { Model, Weights } from "../arch/Architecture.ts"
import type { Graph } from "../onnx/Graph.ts"
import type { Checkpoint } from "../source/Checkpoint.ts"
import type { TargetFacts } from "../target/Target.ts"
import { type Program, programName } from "./Parts.ts"
import type { PrecisionTable } from "./Precision.ts"
import type { CompileRequest } from "./Request.ts"

/** What a build works on: the user's request and the facts it was checked against. */
export interface Job {
  readonly request: CompileRequest
  readonly checkpoint: Checkpoint
  readonly model: Model
  readonly weights: Weights
  readonly table: PrecisionTable
  readonly target: TargetFacts
  /** the output folder is on another disk than the source, whose files are then copied */
  readonly otherDisk: boolean
}

/** The float graph of one program, with symbolic `tokens` and `context`. */
export const graphOf = (job: Job, { index, isGroup, part }: Program): Graph => {
  const graph = part === "PRE"
    ? job.model.pre(index, job.weights)
    : part === "CACHE"
    ? job.model.cache(index, job.weights)
    : job.model[part === "CONV" ? "conv" : "post"](index, job.weights, job.request.returnLogits ? "logits" : "token")
  return { ...graph, name: programName({ part, isGroup, index }) }
}

const fileName = (path: string): string => path.split(/[\\/]/).at(-1) ?? path

/** The files that graphs' weights lie in, as a key sees them: their folder may move, their content may not. */
export const identitiesOf = (
  { checkpoint }: Job,
  graphs: ReadonlyArray<Graph>
): ReadonlyArray<{ readonly name: string; readonly bytes: number; readonly mtimeMillis: number }> => {
  const used = new Set(
    graphs.flatMap(({ initializers }) =>
      initializers.flatMap(({ data }) => data.kind === "external" ? [fileName(data.location)] : [])
    )
  )
  return checkpoint.files
    .map(({ bytes, mtimeMillis, path }) => ({ name: fileName(path), bytes, mtimeMillis }))
    .filter(({ name }) => used.has(name))
}
