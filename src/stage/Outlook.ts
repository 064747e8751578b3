import { Effect } from "effect"
import { type Plan, PROCESS_MEMORY, quantizingStage, type StageName, stageNames, type Step } from "../plan/Plan.ts"
import { stages } from "./registry.ts"
import { InputMissing, OutOfBudget } from "./StageError.ts"

/** What is left to do of a plan in its output folder as it stands. */
export interface Outlook {
  /** steps of the stages that were asked for */
  readonly wanted: ReadonlyArray<Step>
  /** ids of steps that are finished and need not be done again, of any stage */
  readonly kept: ReadonlySet<string>
  /** those of `wanted` that are to be done */
  readonly todo: ReadonlyArray<Step>
  /** stages of which something will still be missing, or of another build, afterwards: nothing runs without them */
  readonly lacking: ReadonlyArray<StageName>
}

const sum = (numbers: ReadonlyArray<number>): number => numbers.reduce((total, n) => total + n, 0)

/** Steps of the stages that the request names; all of them when it names none. */
const selected = ({ job, steps }: Plan): ReadonlyArray<Step> => {
  const names = stages
    .filter(({ flag }) => flag === undefined || job.request.stages.includes(flag))
    .map(({ name }): StageName => name)
  return steps.filter(({ stage }) => names.includes(stage))
}

/** The outlook of a plan, by what `isFresh` says of each finished step. */
export const outlookOf = Effect.fn("Outlook.outlookOf")(function*<E, R>(
  plan: Plan,
  isFresh: (step: Step) => Effect.Effect<boolean, E, R>
) {
  const { request } = plan.job
  const wanted = selected(plan)
  const kept = new Set<string>()
  for (const step of plan.steps) {
    if ((request.resume || !wanted.includes(step)) && (yield* isFresh(step))) kept.add(step.id)
  }
  if (request.keepQuantized === "none") {
    // Their outputs were dropped on purpose; when all that was made of them is there, nothing needs them any more.
    const { name } = quantizingStage[plan.job.checkpoint.kind]
    for (const { id } of plan.steps.filter(({ stage }) => stage === name).toReversed()) {
      const users = plan.steps.filter(({ needs }) => needs.includes(id))
      if (users.every((user) => kept.has(user.id))) kept.add(id)
    }
  }
  // what is made again is looked at again, whatever the stamp says of the same plan
  for (const { id, needs } of plan.steps.filter(({ stage }) => stage === "VERIFY")) {
    if (needs.some((need) => !kept.has(need))) kept.delete(id)
  }
  const todo = wanted.filter(({ id }) => !kept.has(id))
  const done = new Set([...kept, ...todo.map(({ id }) => id)])
  const missing = new Set(
    plan.steps.filter(({ id, stage }) => stage !== "VERIFY" && !done.has(id)).map(({ stage }) => stage)
  )
  const outlook: Outlook = { wanted, kept, todo, lacking: stageNames.filter((name) => missing.has(name)) }
  return outlook
})

/** A step of `todo` whose input nobody will have made. */
export const inputMissing = ({ steps }: Plan, { kept, todo }: Outlook): InputMissing | undefined => {
  const made = new Set([...kept, ...todo.map(({ id }) => id)])
  for (const { id: step, needs } of todo) {
    const input = needs.find((need) => !made.has(need))
    if (input === undefined) continue
    const maker = steps.find(({ id }) => id === input)?.stage ?? ""
    return new InputMissing({
      step,
      input,
      stage: maker,
      flag: `--${stages.find(({ name }) => name === maker)?.flag ?? ""}`
    })
  }
  return undefined
}

/**
 * Bytes that the build holds at most: the process, and as many steps as run together within the limit; one alone may be larger.
 * Verifying comes after all others.
 */
export const peakMemory = (
  todo: ReadonlyArray<Pick<Step, "memory" | "stage">>,
  { jobs, maxMemory }: { readonly jobs: number; readonly maxMemory: number }
): number => {
  const most = (steps: typeof todo): number => {
    const largest = steps.map(({ memory }) => memory).sort((a, b) => b - a)
    return Math.max(largest[0] ?? 0, Math.min(maxMemory - PROCESS_MEMORY, sum(largest.slice(0, jobs))))
  }
  const [last, others] = [
    todo.filter(({ stage }) => stage === "VERIFY"),
    todo.filter(({ stage }) => stage !== "VERIFY")
  ]
  return PROCESS_MEMORY + Math.max(most(last), most(others))
}

// Measured with int4 and int8 builds of 0.27 and 2.5 GB on two cores; a disk or a processor may be twice as slow.
const STARTS = 1
const STEP = 0.012
const BYTES_PER_SECOND = 350e6

/** What a step counts in its stage's progress. */
export const amountOf = ({ reads, stage, writes }: Step): number =>
  stages.find(({ name }) => name === stage)?.unit === "steps" ? 1 : reads + writes

/** Seconds that the steps take, from their bytes, their stages' pace and how many run together: a rough guess. */
export const roughSeconds = (todo: ReadonlyArray<Step>, { jobs }: { readonly jobs: number }): number => {
  const work = todo.map((step) => amountOf(step) * (stages.find(({ name }) => name === step.stage)?.pace ?? 1))
  return STARTS + STEP * todo.length + sum(work) / (BYTES_PER_SECOND * Math.min(2, jobs))
}

/** Why what is to be done cannot be done here: the disk, or the memory that the user allows. */
export const shortfall = ({ job }: Plan, { todo }: Outlook, where: string, free: number): OutOfBudget | undefined => {
  const needed = sum(todo.map(({ writes }) => writes))
  if (needed > free) {
    return new OutOfBudget({
      what: "disk",
      where,
      needed,
      found: free,
      advice: "free some, or choose another folder with --output"
    })
  }
  const { maxMemory, verify } = job.request
  const largest = todo.reduce<Step | undefined>(
    (most, step) => most === undefined || step.memory > most.memory ? step : most,
    undefined
  )
  if (largest === undefined || PROCESS_MEMORY + largest.memory <= maxMemory) return undefined
  const others = Math.max(0, ...todo.filter(({ stage }) => stage !== "VERIFY").map(({ memory }) => memory))
  const without = PROCESS_MEMORY + others
  return new OutOfBudget({
    what: "memory",
    where: largest.stage === "VERIFY" ? `comparing the build with the float model (--verify ${verify})` : largest.id,
    needed: PROCESS_MEMORY + largest.memory,
    found: maxMemory,
    advice: largest.stage === "VERIFY" && without <= maxMemory
      ? `raise --max_memory, or build with --verify none, which needs ${Math.ceil(without / 2 ** 20)} MiB`
      : "raise --max_memory"
  })
}
