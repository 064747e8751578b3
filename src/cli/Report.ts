import { type Intake, intakes } from "../plan/Intake.ts"
import type { PrecisionTable } from "../plan/Precision.ts"
import { precisionLines } from "./PrecisionText.ts"
import { formatCount, formatSeconds, formatSize } from "./Size.ts"
import { columns } from "./Table.ts"

/** What the plan's text needs of a step; sizes in bytes. */
export interface PlannedStep {
  readonly stage: string
  readonly reads: number
  readonly writes: number
  /** held while it runs */
  readonly memory: number
}

/** What the plan's text needs of a plan; sizes in bytes. */
export interface PlanView {
  /** `SmolLM2-135M-Instruct` */
  readonly model: string
  /** `llama, 30 layers, Hugging Face` */
  readonly facts: string
  readonly output: string
  readonly target: string
  readonly jobs: number
  readonly maxMemory: number
  /** free on the output's disk; undefined where the system does not tell */
  readonly diskFree: number | undefined
  readonly steps: ReadonlyArray<PlannedStep>
  /** what becomes of weights that were quantised before, one line a way */
  readonly intake: ReadonlyArray<string>
  readonly table: PrecisionTable
  readonly warnings: ReadonlyArray<string>
}

const sum = <A>(items: ReadonlyArray<A>, value: (item: A) => number): number =>
  items.reduce((total, item) => total + value(item), 0)

/** Bytes that steps hold together at most: the `jobs` largest of them, within the limit unless one alone is larger. */
export const peakMemory = ({ jobs, maxMemory, steps }: Pick<PlanView, "jobs" | "maxMemory" | "steps">): number => {
  const largest = steps.map(({ memory }) => memory).sort((a, b) => b - a)
  return Math.max(largest[0] ?? 0, Math.min(maxMemory, sum(largest.slice(0, jobs), (memory) => memory)))
}

const stepRow = (name: string, steps: ReadonlyArray<PlannedStep>) => [
  name,
  String(steps.length),
  formatSize(sum(steps, ({ reads }) => reads)),
  formatSize(sum(steps, ({ writes }) => writes))
]

/** What a build will do, for people: sizes by stage, memory, disk, precision by layers, warnings. */
export const formatPlan = (plan: PlanView): string => {
  const stages = [...Map.groupBy(plan.steps, ({ stage }) => stage)]
  const written = sum(plan.steps, ({ writes }) => writes)
  const free = plan.diskFree === undefined ? "" : ` of ${formatSize(plan.diskFree)} free`
  const facts = columns([
    ["model", `${plan.model} (${plan.facts})`],
    ["output", plan.output],
    ["target", `${plan.target}, ${plan.jobs} job${plan.jobs === 1 ? "" : "s"}`],
    ["memory", `about ${formatSize(peakMemory(plan))} for the steps, limit ${formatSize(plan.maxMemory)}`],
    ["disk", `${formatSize(written)}${free}`],
    ...plan.intake.map((line, i) => [i === 0 ? "source" : "", line])
  ])
  const work = columns([
    ["stage", "steps", "reads", "writes"],
    ...stages.map(([stage, steps]) => stepRow(stage, steps)),
    stepRow("total", plan.steps)
  ], [1, 2, 3])
  return [
    ...facts,
    "",
    ...work,
    "",
    ...precisionLines(plan.table),
    ...plan.warnings.length === 0 ? [] : ["", ...plan.warnings.map((warning) => `warning: ${warning}`)]
  ].join("\n")
}

/** Weights of one precision before and after; sizes in bytes. */
export interface PrecisionSize {
  /** `A_BF16_W_INT4` */
  readonly precision: string
  /** numbers, not bytes */
  readonly weights: number
  readonly before: number
  readonly after: number
}

/** What the closing text needs of a build; sizes in bytes, times in seconds. */
export interface BuildView {
  readonly output: string
  readonly archives: number
  readonly sizes: ReadonlyArray<PrecisionSize>
  /** what became of each tensor that was quantised before, `error` relative where it was rounded */
  readonly intake: ReadonlyArray<{ readonly kind: Intake; readonly error: number | null }>
  readonly stages: ReadonlyArray<{
    readonly name: string
    readonly seconds: number
    readonly steps: number
    /** steps kept from an earlier build */
    readonly reused: number
  }>
  readonly seconds: number
  readonly written: number
  /** largest resident set; undefined where the system does not tell */
  readonly peakMemory: number | undefined
  /** what the parts' errors came to, in a few words; undefined without verification */
  readonly verified: string | undefined
  /** what tells of the build, in the output folder: `build.json`, `report.html`; none of a part of a build */
  readonly files: ReadonlyArray<string>
  /** the archives run on this machine */
  readonly runnable: boolean
}

const sizeRow = ({ after, before, precision, weights }: PrecisionSize) => [
  precision,
  formatCount(weights),
  formatSize(before),
  formatSize(after),
  weights === 0 ? "" : (after * 8 / weights).toFixed(2)
]

/** A name as a shell takes it. */
const shellWord = (text: string): string => /^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`

/** `intake: 210 exact, 1 requantised (error 8.1 % at most)`; nothing for a source of plain numbers. */
const intakeLine = ({ intake }: BuildView): ReadonlyArray<string> => {
  if (intake.length === 0) return []
  const groups = Map.groupBy(intake, ({ kind }) => kind)
  const kinds = intakes.flatMap((kind) => {
    const all = groups.get(kind) ?? []
    if (all.length === 0) return []
    const worst = Math.max(...all.map(({ error }) => error ?? 0))
    return [`${all.length} ${kind}${worst > 0 ? ` (error ${(100 * worst).toPrecision(2)} % at most)` : ""}`]
  })
  return [`tensors quantised before: ${kinds.join(", ")}`, ""]
}

/** What a build came to, for people: sizes and bits per weight, time by stage, memory, what to do next. */
export const formatBuild = (build: BuildView): string => {
  const total = {
    precision: "total",
    weights: sum(build.sizes, ({ weights }) => weights),
    before: sum(build.sizes, ({ before }) => before),
    after: sum(build.sizes, ({ after }) => after)
  }
  const sizes = columns([
    ["weights", "numbers", "before", "after", "bits per weight"],
    ...build.sizes.map(sizeRow),
    ...build.sizes.length > 1 ? [sizeRow(total)] : []
  ], [1, 2, 3, 4])
  const stages = columns([
    ["stage", "steps", "kept", "time"],
    ...build.stages.map(({ name, reused, seconds, steps }) => [name, `${steps}`, `${reused}`, formatSeconds(seconds)])
  ], [1, 2, 3])
  const memory = build.peakMemory === undefined ? "" : `, ${formatSize(build.peakMemory)} of memory at most`
  return [
    `${build.output}: ${build.archives} archive${build.archives === 1 ? "" : "s"} in ${
      formatSeconds(build.seconds)
    }, ` +
    `${formatSize(build.written)} written${memory}`,
    "",
    ...build.sizes.length === 0 ? [] : [...sizes, ""],
    ...intakeLine(build),
    ...stages,
    ...build.verified === undefined ? [] : ["", `verified: ${build.verified}`],
    ...build.files.length === 0 ? [] : ["", `facts: ${build.files.join(", ")}`],
    ...build.runnable ? ["", `next: llima run ${shellWord(build.output)} --prompt "Once upon a time"`] : []
  ].join("\n")
}
