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

/** `1.2 of 3.0 GiB  850 MB/s`, or `12 of 30`; the rate is over this run's work in the stage. */
export const amount = (stage: StageState, now: number): string => {
  if (stage.unit === "steps") return `${stage.done} of ${stage.total}`
  const took = stage.started === undefined ? 0 : seconds(stage.started, stage.ended ?? now)
  const fresh = stage.done - stage.reused
  const rate = took > 0.05 && fresh > 0 ? `  ${(fresh / took / 1e6).toFixed(0)} MB/s` : ""
  return `${formatSize(stage.done)} of ${formatSize(stage.total)}${rate}`
}

const barWidth = 20

/** What is said from the first Ctrl-C on. */
export const stoppingText = "stopping; Ctrl-C again ends at once"

/** The block at the bottom of a terminal: one line a stage, then the job's time so far and left. */
export const block = (state: ProgressState, now: number, columns: number, stopping = false): ReadonlyArray<string> => {
  if (state.stages.length === 0) return []
  const name = Math.max(...state.stages.map(({ name }) => name.length))
  const lines = state.stages.map((stage) => {
    const part = fraction(stage)
    const full = Math.floor(part * barWidth)
    const bar = `${"━".repeat(full)}${"╌".repeat(barWidth - full)}`
    const time = stage.ended !== undefined && stage.started !== undefined
      ? `  ${formatSeconds(seconds(stage.started, stage.ended))}`
      : ""
    const facts = stage.started === undefined ? "" : `  ${amount(stage, now)}${time}`
    return `${stage.name.padEnd(name)} ${bar} ${String(Math.floor(part * 100)).padStart(3)} %${facts}`
  })
  const left = remaining(state, now)
  const total = stopping
    ? stoppingText
    : `${formatSeconds(seconds(state.began, now))} so far${
      left === undefined ? "" : `, about ${formatSeconds(left)} left`
    }`
  return [...lines, total].map((line) => line.slice(0, Math.max(1, columns - 1)))
}

/** Milliseconds without a line after which one says how far a stage is. */
const plainEvery = 2000

/**
 * Lines to print where nothing can be redrawn: one when a stage ends, and one when it passes a tenth of its work if the last line, printed
 * at `said`, is two seconds old.
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
    if (now - said < plainEvery || tenth(stage) <= tenth(earlier) || stage.done >= stage.total) return []
    const left = remaining(after, now)
    return [
      `${stage.name}: ${Math.floor(fraction(stage) * 100)} %, ${amount(stage, now)}${
        left === undefined ? "" : `, about ${formatSeconds(left)} left`
      }`
    ]
  })
