import { Context } from "effect"

/** Where progress is drawn and a person is asked; the programs give stderr. */
export interface Screen {
  /** a terminal that can be redrawn */
  readonly live: boolean
  /** somebody types there: stdin is a terminal */
  readonly asks: boolean
  readonly columns: () => number
  readonly rows: () => number
  readonly write: (text: string) => void
  /** the user has asked to stop, and the work is being brought to an end */
  readonly stopping: () => boolean
  /** largest resident set of this process so far, in bytes; undefined where the system does not tell */
  readonly peakMemory: () => number | undefined
}

/** The screen of this process; without one nothing is redrawn. */
export const Screen: Context.Reference<Screen> = Context.Reference<Screen>("llima/cli/Screen", {
  defaultValue: () => ({
    live: false,
    asks: false,
    columns: () => 80,
    rows: () => 24,
    write: () => {},
    stopping: () => false,
    peakMemory: () => undefined
  })
})
