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
  /** held at most, the process included */
  readonly memory: number
  /** roughly what it takes */
  readonly seconds: number
  /** free on the output's disk; undefined where the system does not tell */
  readonly diskFree: number | undefined
  /** those that will be done */
  readonly steps: ReadonlyArray<PlannedStep>
  /** steps that are finished and kept */
  readonly kept: number
  /** stages of which something will be missing afterwards */
  readonly lacking: ReadonlyArray<string>
  /** what becomes of weights that were quantised before, one line a way */
  readonly intake: ReadonlyArray<string>
  readonly table: PrecisionTable
  readonly warnings: ReadonlyArray<string>
}

const sum = <A>(items: ReadonlyArray<A>, value: (item: A) => number): number =>
  items.reduce((total, item) => total + value(item), 0)

const count = (number: number, noun: string): string => `${number} ${noun}${number === 1 ? "" : "s"}`

const stepRow = (name: string, steps: ReadonlyArray<PlannedStep>) => [
  name,
  String(steps.length),
  formatSize(sum(steps, ({ reads }) => reads)),
  formatSize(sum(steps, ({ writes }) => writes))
]

const written = ({ steps }: PlanView): number => sum(steps, ({ writes }) => writes)

const ofFree = ({ diskFree }: PlanView): string => diskFree === undefined ? "" : ` of ${formatSize(diskFree)} free`

const lackingText = (lacking: ReadonlyArray<string>): string => `${lacking.join(", ")}: not there, or of other options`

/** What a build will do, for people: sizes by stage, memory, disk, time, precision by layers, warnings. */
export const formatPlan = (plan: PlanView): string => {
  const stages = [...Map.groupBy(plan.steps, ({ stage }) => stage)]
  const facts = columns([
    ["model", `${plan.model} (${plan.facts})`],
    ["output", plan.output],
    ["target", `${plan.target}, ${count(plan.jobs, "job")}`],
    ...plan.steps.length === 0 ? [] : [
      ["memory", `about ${formatSize(plan.memory)} at most, limit ${formatSize(plan.maxMemory)}`],
      ["disk", `${formatSize(written(plan))}${ofFree(plan)}`],
      ["time", `roughly ${formatSeconds(plan.seconds)}`]
    ],
    ...plan.kept === 0 ? [] : [["kept", `${count(plan.kept, "step")} that an earlier build finished`]],
    ...plan.lacking.length === 0 ? [] : [["missing", `${lackingText(plan.lacking)}; run these stages too`]],
    ...plan.intake.map((line, i) => [i === 0 ? "source" : "", line])
  ])
  const work = plan.steps.length === 0 ? ["nothing is left to do"] : columns([
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

/** The same in a few lines, for the head of a run. */
export const formatHead = (plan: PlanView): string => {
  const precisions = Map.groupBy(
    plan.table,
    ({ choice }) => choice.compile ? choice.precision ?? "" : "left out"
  )
  const kept = plan.kept === 0 ? "" : ` (${plan.kept} kept)`
  return [
    `${plan.model} (${plan.facts}) → ${plan.output}, ${plan.target}, ${count(plan.jobs, "job")}`,
    plan.steps.length === 0
      ? `nothing is left to do: ${count(plan.kept, "step")} kept`
      : `${count(plan.steps.length, "step")}${kept}: ${formatSize(written(plan))} to write${ofFree(plan)}, about ${
        formatSize(plan.memory)
      } of memory, roughly ${formatSeconds(plan.seconds)}`,
    `${
      [...precisions].map(([precision, programs]) => `${precision} ${programs.length}`).join(", ")
    } of ${plan.table.length} programs; --dry_run shows them by layer`
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
  /** stages of which something is missing, or of another build, and the flags that make it */
  readonly lacking: ReadonlyArray<{ readonly stage: string; readonly flag: string }>
  /** programs that the configuration file left out */
  readonly omitted: number
  /** the archives run on this machine, all programs being there */
  readonly runnable: boolean
}

/** What a user does after a build. */
const nextLine = ({ lacking, omitted, output, runnable }: BuildView): ReadonlyArray<string> =>
  lacking.length > 0
    ? [
      `not whole yet: ${lackingText(lacking.map(({ stage }) => stage))}; next: the same command with ${
        [...new Set(lacking.map(({ flag }) => flag))].join(" ")
      }`
    ]
    : omitted > 0
    ? [
      `${count(omitted, "program")} left out by the configuration file ("compile": False): llima run needs all of them`
    ]
    : runnable
    ? [`next: llima run ${shellWord(output)} --prompt "Once upon a time"`]
    : []

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
    `${build.output}: ${count(build.archives, "archive")} in ${formatSeconds(build.seconds)}, ` +
    `${formatSize(build.written)} written${memory}`,
    "",
    ...build.sizes.length === 0 ? [] : [...sizes, ""],
    ...intakeLine(build),
    ...stages,
    ...build.verified === undefined ? [] : ["", `verified: ${build.verified}`],
    ...build.files.length === 0 ? [] : ["", `facts: ${build.files.join(", ")}`],
    ...nextLine(build).flatMap((line) => ["", line])
  ].join("\n")
}
