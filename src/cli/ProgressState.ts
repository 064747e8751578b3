import type { ProgressEvent, ProgressStage } from "../stage/Progress.ts"
import { formatSeconds, formatSize } from "./Size.ts"

/** One stage as it stands. Times in milliseconds of one clock. */
export interface StageState extends ProgressStage {
  readonly done: number
  /** part of `done` that was kept from an earlier build */
  readonly reused: number
  readonly started: number | undefined
  readonly ended: number | undefined
}

/** The job as it stands. */
export interface ProgressState {
  readonly began: number
  readonly stages: ReadonlyArray<StageState>
}

export const begin = (now: number): ProgressState => ({ began: now, stages: [] })

/** The state after an event at `now`; amounts never pass the total, and `Done` fills it. */
export const update = (state: ProgressState, event: ProgressEvent, now: number): ProgressState => {
  if (event._tag === "Planned") {
    const fresh = { done: 0, reused: 0, started: undefined, ended: undefined }
    return { ...state, stages: event.stages.map((stage) => ({ ...stage, ...fresh })) }
  }
  const advanced = (stage: StageState): StageState => {
    const started = stage.started ?? now
    if (event._tag === "Done") return { ...stage, done: stage.total, started, ended: stage.ended ?? now }
    const done = Math.min(stage.total, stage.done + event.amount)
    return { ...stage, started, done, reused: stage.reused + (event.reused ? done - stage.done : 0) }
  }
  return { ...state, stages: state.stages.map((stage) => stage.name === event.stage ? advanced(stage) : stage) }
}

const fraction = ({ done, ended, total }: StageState): number => ended !== undefined ? 1 : total > 0 ? done / total : 0

const seconds = (from: number, to: number): number => Math.max(0, to - from) / 1000

/** Seconds until the whole job is done, from the work done in this run and the stages' weights; undefined while that is a guess. */
export const remaining = (state: ProgressState, now: number): number | undefined => {
  const elapsed = seconds(state.began, now)
  const work = (share: (stage: StageState) => number) =>
    state.stages.reduce((sum, stage) => sum + stage.weight * share(stage), 0)
  const left = work((stage) => 1 - fraction(stage))
  const fresh = work((stage) => stage.total > 0 ? fraction(stage) - stage.reused / stage.total : 0)
  const all = work(() => 1)
  // Under 2 % or half a second the rate is that of opening files.
  return elapsed < 0.5 || left <= 0 || fresh < 0.02 * all ? undefined : elapsed * left / fresh
}

/** `850 MB/s`, over this run's work in the stage; undefined of steps, and while it is a guess. */
const rate = (stage: StageState, now: number): string | undefined => {
  const took = stage.started === undefined ? 0 : seconds(stage.started, stage.ended ?? now)
  const fresh = stage.done - stage.reused
  return stage.unit === "bytes" && took > 0.05 && fresh >= 1e6 * took
    ? `${(fresh / took / 1e6).toFixed(0)} MB/s`
    : undefined
}

const done = ({ done, total, unit }: StageState): string =>
  unit === "steps" ? `${done} of ${total}` : `${formatSize(done)} of ${formatSize(total)}`

const joined = (fields: ReadonlyArray<string | undefined>): string =>
  fields.filter((field) => field !== undefined).join("  ")

/** `1.2 GiB of 3.0 GiB  850 MB/s`, or `12 of 30`. */
export const amount = (stage: StageState, now: number): string => joined([done(stage), rate(stage, now)])

/** What is said from the first Ctrl-C on. */
export const stoppingText = "stopping; Ctrl-C again ends at once"

/** What the lines of stages have; wider ones first. A narrow terminal loses whole fields, never digits. */
const layouts = [
  { bar: 20, amount: true, time: true, rate: true },
  { bar: 20, amount: true, time: true, rate: false },
  { bar: 20, amount: true, time: false, rate: false },
  { bar: 10, amount: true, time: false, rate: false },
  { bar: 4, amount: true, time: false, rate: false },
  { bar: 10, amount: false, time: false, rate: false },
  { bar: 4, amount: false, time: false, rate: false },
  { bar: 0, amount: false, time: false, rate: false }
] as const

const stageLine = (stage: StageState, now: number, name: number, layout: (typeof layouts)[number]): string => {
  const part = fraction(stage)
  const full = Math.floor(part * layout.bar)
  const bar = layout.bar > 0 ? ` ${"━".repeat(full)}${"╌".repeat(layout.bar - full)}` : ""
  const { ended, started } = stage
  return joined([
    `${stage.name.padEnd(name)}${bar} ${String(Math.floor(part * 100)).padStart(3)} %`,
    layout.amount && started !== undefined ? done(stage) : undefined,
    layout.rate ? rate(stage, now) : undefined,
    layout.time && started !== undefined && ended !== undefined ? formatSeconds(seconds(started, ended)) : undefined
  ])
}

/** The block at the bottom of a terminal: one line a stage, then the job's time so far and left. */
export const block = (state: ProgressState, now: number, columns: number, stopping = false): ReadonlyArray<string> => {
  if (state.stages.length === 0) return []
  const width = Math.max(1, columns - 1)
  const fits = (line: string) => line.length <= width
  const name = Math.max(...state.stages.map((stage) => stage.name.length))
  const drawn = layouts.map((layout) => state.stages.map((stage) => stageLine(stage, now, name, layout)))
  const so = `${formatSeconds(seconds(state.began, now))} so far`
  const left = remaining(state, now)
  const about = left === undefined ? undefined : `about ${formatSeconds(left)} left`
  const totals = stopping ? [stoppingText, "stopping"] : about === undefined ? [so] : [`${so}, ${about}`, about]
  return [
    ...drawn.find((lines) => lines.every(fits)) ?? drawn.at(-1) ?? [],
    totals.find(fits) ?? totals.at(-1) ?? ""
  ].map((line) => line.slice(0, width))
}

/** Milliseconds without a line after which one says how far a stage is. */
const plainEvery = 2000

/**
 * Lines to print where nothing can be redrawn: one when a stage ends, and one when it passes a tenth of its work if the last line, printed
 * at `said`, is two seconds old. Nothing is said of work that was kept.
 */
export const plainLines = (
  before: ProgressState,
  after: ProgressState,
  now: number,
  said: number
): ReadonlyArray<string> =>
  after.stages.flatMap((stage, position) => {
    const earlier = before.stages[position]
    if (earlier === undefined) return []
    if (stage.ended !== undefined && earlier.ended === undefined) {
      const kept = stage.reused > 0 ? ", some of it kept" : ""
      return [
        `${stage.name}: done in ${formatSeconds(seconds(stage.started ?? now, stage.ended))}, ${
          amount(stage, now)
        }${kept}`
      ]
    }
    const tenth = (at: StageState) => Math.floor(fraction(at) * 10)
    if (stage.reused > earlier.reused || now - said < plainEvery) return []
    if (tenth(stage) <= tenth(earlier) || stage.done >= stage.total) return []
    const left = remaining(after, now)
    return [
      `${stage.name}: ${Math.floor(fraction(stage) * 100)} %, ${amount(stage, now)}${
        left === undefined ? "" : `, about ${formatSeconds(left)} left`
      }`
    ]
  })
