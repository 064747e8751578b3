import { Context, Effect, Layer } from "effect"

/** A stage as the display sees it: a name, and how much there is to do. */
export interface ProgressStage {
  /** `QUANTIZE` */
  readonly name: string
  /** "bytes" have a rate; "steps" are only counted */
  readonly unit: "bytes" | "steps"
  readonly total: number
  /** expected share of the job's time, in any unit that the stages of the job share; for the time left */
  readonly weight: number
}

/** What happens in a job, in order. A stage may advance while another does. */
export type ProgressEvent =
  | { readonly _tag: "Planned"; readonly stages: ReadonlyArray<ProgressStage> }
  | { readonly _tag: "Advanced"; readonly stage: string; readonly amount: number; readonly reused: boolean }
  | { readonly _tag: "Done"; readonly stage: string }

/** Where a job says how far it is. Stages that were not planned are ignored by the displays. */
export class Progress extends Context.Service<Progress, {
  /** names all stages of the job, once, before the first of them begins */
  readonly plan: (stages: ReadonlyArray<ProgressStage>) => Effect.Effect<void>
  /** `amount` more bytes or steps are done; `reused`: kept from an earlier build, which says nothing of the speed */
  readonly advance: (stage: string, amount: number, options?: { readonly reused?: boolean }) => Effect.Effect<void>
  readonly done: (stage: string) => Effect.Effect<void>
}>()("llima/stage/Progress") {
  /** A progress that hands every event to `handle`: a queue, a pub-sub, a display. */
  static readonly make = (handle: (event: ProgressEvent) => Effect.Effect<void>): Progress["Service"] => ({
    plan: (stages) => handle({ _tag: "Planned", stages }),
    advance: (stage, amount, options) => handle({ _tag: "Advanced", stage, amount, reused: options?.reused ?? false }),
    done: (stage) => handle({ _tag: "Done", stage })
  })

  /** Events go to `handle`. */
  static readonly layer = (handle: (event: ProgressEvent) => Effect.Effect<void>): Layer.Layer<Progress> =>
    Layer.succeed(Progress, Progress.make(handle))

  /** Nothing is shown: the library's default. */
  static readonly layerSilent: Layer.Layer<Progress> = Progress.layer(() => Effect.void)
}
