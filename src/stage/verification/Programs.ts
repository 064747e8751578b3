import { Effect } from "effect"
import type { RuntimeConfig } from "../../devkit/RuntimeConfig.ts"
import type { Graph } from "../../onnx/Graph.ts"
import { encode } from "../../onnx/OnnxFile.ts"
import type { Job } from "../../plan/Job.ts"
import { programName } from "../../plan/Parts.ts"
import { type Chosen, compiledOf, programsOf } from "../../plan/Plan.ts"
import { FAST_ACCURACY, withAccuracy } from "../../target/lower/nbits.ts"
import { differenceOf, faultOf } from "../../verify/Compare.ts"
import type { Values } from "../../verify/Messages.ts"
import { readsCodes, withLogits } from "../../verify/Reference.ts"
import type { Runtime } from "../../verify/Runtime.ts"
import { type Arithmetic, kindOf, thresholds } from "../../verify/Thresholds.ts"
import type { TensorCheck } from "../../verify/Verification.ts"
import { OutputBroken } from "../../verify/VerificationFailed.ts"
import { type Activations, anglesOf, maskOf, rowRange, rowsOf } from "./Activations.ts"
import { runEach } from "./RunEach.ts"

const floats = ({ data }: Values): Float32Array => data instanceof Float32Array ? data : new Float32Array()

// Six digits: what differs beyond them differs between machines.
const rounded = (value: number): number => Number(value.toPrecision(6))

/** One output beside the reference's; fails for what is no number. */
export const checkTensor = Effect.fnUntraced(function*(
  { arithmetic, program, tensor }: {
    readonly program: string
    readonly tensor: string
    readonly arithmetic: Arithmetic
  },
  found: Values,
  expected: Values,
  before?: Values
) {
  const [numbers, wanted] = [floats(found), floats(expected)]
  const columns = found.shape.at(-1) ?? 1
  const fault = faultOf(numbers, wanted)
  if (fault !== undefined || numbers.length !== wanted.length) {
    return yield* new OutputBroken({
      program,
      tensor,
      index: fault === undefined ? [] : [Math.floor(fault.index / columns), fault.index % columns],
      found: fault?.found ?? `${numbers.length} numbers, not ${wanted.length}`
    })
  }
  const { error, largest } = differenceOf(
    numbers,
    wanted,
    columns,
    before === undefined ? undefined : floats(before)
  )
  const { limit } = thresholds[arithmetic][kindOf(tensor)]
  const check: TensorCheck = {
    program,
    tensor,
    precision: arithmetic,
    error: rounded(error),
    largest: rounded(largest),
    threshold: limit,
    passed: error <= limit
  }
  return check
})

/** A layer of a build. */
export interface BuiltLayer {
  readonly index: number
  readonly graphs: ReadonlyMap<string, Graph>
  /** absolute folder that the graphs' locations start from */
  readonly folder: string
}

/** What programs are run in, and what they are given beside the activations. */
export interface ProgramOptions {
  readonly job: Job
  readonly config: RuntimeConfig
  readonly runtime: Runtime["Service"]
  readonly threads: number
  readonly accuracy: 1 | 4
}

/** Programs of one part that are to be run: both phases, or one where their bytes are the same. */
const distinct = (chosen: ReadonlyArray<Chosen>, graphs: BuiltLayer["graphs"]): ReadonlyArray<Chosen> => {
  const seen = new Set<string>()
  return chosen.filter(({ program }) => {
    const graph = graphs.get(programName(program))
    const key = graph === undefined
      ? programName(program)
      : `${program.part} ${Buffer.from(encode({ ...graph, name: "", metadata: {} })).toString("base64")}`
    return seen.has(key) ? false : seen.add(key) !== undefined
  })
}

const arithmeticOf = ({ checkpoint }: Job, { choice: { precision = "BF16" } }: Chosen, graph: Graph): Arithmetic =>
  // a source's own codes stay codes whatever is asked for; its converted numbers are rounded once more
  precision === "BF16" && (readsCodes(graph) || checkpoint.kind !== "huggingface") ? "A_BF16_W_INT8" : precision

/** Inputs as the build's own files have them: rotary tables and masks; activations are the reference's. */
const givenTo = (
  { config }: ProgramOptions,
  index: number,
  isGroup: boolean,
  reference: Activations,
  before: Activations
): Activations => {
  const layer = config.layers[index]
  const tokens = reference["hidden"]?.shape[0] ?? 0
  const window = layer !== undefined && "window" in layer ? layer.window : null
  const name = layer !== undefined && "rope" in layer ? layer.rope : null
  const rope = config.ropes.find((one) => one.name === name)
  if (isGroup) return { ...reference, ...before, ...anglesOf(rope, 0, tokens, tokens), ...maskOf(window, 0, tokens) }
  const last = Object.fromEntries(
    ["hidden", "q", "attended"].flatMap((one) => {
      const value = reference[one]
      return value === undefined ? [] : [[one, rowRange(value, tokens - 1, tokens)] as const]
    })
  )
  const start = window === null ? 0 : Math.max(0, tokens - window)
  const seen = Object.fromEntries(
    ["K", "V"].flatMap((one) => {
      const value = reference[one]
      return value === undefined ? [] : [[one, rowRange(value, start, tokens)] as const]
    })
  )
  return {
    ...reference,
    ...before,
    ...last,
    ...seen,
    ...anglesOf(rope, tokens - 1, 1, tokens),
    ...maskOf(window, tokens - 1, 1),
    ...rowsOf(0, 1)
  }
}

/**
 * Runs the programs of a layer as they lie in its archive, each on what the reference has at its inputs, and compares what they
 * make. `before`: inputs of the decode programs that depend on the tokens before the last one. `own`: what the build itself has at the
 * layer's inputs; the prefill programs run on that too, one after the other, and `made` is what they end with: undefined where one of
 * them is left out.
 */
export const checkLayer = Effect.fnUntraced(function*(
  options: ProgramOptions,
  { folder, graphs, index }: BuiltLayer,
  reference: Activations,
  before: Activations,
  own?: Activations
) {
  const { accuracy, job, runtime, threads } = options
  const checks: Array<TensorCheck> = []
  let made = own
  for (const chosen of distinct(compiledOf(job, index), graphs)) {
    const name = programName(chosen.program)
    const { isGroup } = chosen.program
    const graph = graphs.get(name)
    if (graph === undefined) continue
    const shown = withLogits(accuracy === FAST_ACCURACY ? graph : withAccuracy(graph, accuracy))
    const given = givenTo(options, index, isGroup, reference, isGroup ? {} : before)
    const chained = isGroup && made !== undefined ? [givenTo(options, index, true, made, {})] : []
    const [outputs = {}, next] = yield* runEach(runtime, shown, {
      name,
      folder,
      threads,
      accuracy,
      // scales of codes are constants that the kernels want as f32; plain weights would be cast at load and kept
      optimisation: readsCodes(graph) ? "basic" : "disabled"
    }, [given, ...chained])
    if (made !== undefined && next !== undefined) {
      const { k, v } = next
      made = { ...made, ...next, ...k === undefined ? {} : { K: k }, ...v === undefined ? {} : { V: v } }
    }
    const arithmetic = arithmeticOf(job, chosen, graph)
    for (const { name: tensor } of shown.outputs) {
      const [found, whole] = [outputs[tensor], reference[tensor]]
      if (found === undefined || whole === undefined) {
        return yield* Effect.die(new Error(`${name} gives ${tensor}, which the float model has not`))
      }
      const rows = whole.shape[0] ?? 0
      const expected = isGroup || tensor === "state_out" ? whole : rowRange(whole, rows - 1, rows)
      checks.push(
        yield* checkTensor(
          { program: name, tensor, arithmetic },
          found,
          expected,
          kindOf(tensor) === "stream" ? given["hidden"] : undefined
        )
      )
    }
  }
  const whole = programsOf(job, index).every(({ choice, program }) => choice.compile || !program.isGroup)
  return { checks, made: whole ? made : undefined }
})
