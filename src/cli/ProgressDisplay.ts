import { Clock, Console, Context, Duration, Effect, Layer } from "effect"
import { Progress } from "../stage/Progress.ts"
import { begin, block, plainLines, type ProgressState, update } from "./ProgressState.ts"
import { Screen } from "./Screen.ts"

const hideCursor = "\x1b[?25l"
/** gives the cursor back after `hideCursor` */
export const showCursor = "\x1b[?25h"
/** cursor to the start of its line, for Ctrl-C is echoed as ^C, up `lines`, then erase to the end of the screen */
const eraseUp = (lines: number) => `\r\x1b[${lines}A\x1b[0J`

/** Faster than the eye reads figures, slow enough to cost nothing. */
const redraw = Duration.millis(100)

/**
 * A block at the bottom of the screen, redrawn ten times a second; what is printed through `Console` (logs too) scrolls above it.
 * The block goes and the cursor comes back when the scope closes, whatever closes it.
 */
export const layerLive: Layer.Layer<Progress> = Layer.effectContext(Effect.gen(function*() {
  const screen = yield* Screen
  const clock = yield* Clock.Clock
  const now = () => clock.currentTimeMillisUnsafe()
  let state: ProgressState = begin(now())
  let drawn = 0
  const clear = () => {
    if (drawn > 0) screen.write(eraseUp(drawn))
    drawn = 0
  }
  const draw = () => {
    const lines = block(state, now(), screen.columns() || 80, screen.stopping()).slice(
      -Math.max(1, (screen.rows() || 24) - 2)
    )
    if (lines.length > 0) screen.write(`${lines.join("\n")}\n`)
    drawn = lines.length
  }
  const above = <A extends ReadonlyArray<unknown>>(print: (...args: A) => void) => (...args: A) => {
    clear()
    print(...args)
    draw()
  }
  const base = yield* Console.Console
  const scrolling: Console.Console = {
    ...base,
    log: above((...args) => base.log(...args)),
    error: above((...args) => base.error(...args)),
    warn: above((...args) => base.warn(...args)),
    info: above((...args) => base.info(...args)),
    debug: above((...args) => base.debug(...args))
  }
  yield* Effect.acquireRelease(
    Effect.sync(() => screen.write(hideCursor)),
    () =>
      Effect.sync(() => {
        clear()
        screen.write(showCursor)
      })
  )
  yield* Effect.forever(Effect.andThen(
    Effect.sync(() => {
      clear()
      draw()
    }),
    Effect.sleep(redraw)
  )).pipe(Effect.forkScoped)
  const progress = Progress.make((event) =>
    Effect.sync(() => {
      state = update(state, event, now())
    })
  )
  return Context.make(Progress, progress).pipe(Context.add(Console.Console, scrolling))
}))

/** Now and then a line for a tenth of a stage, and one for its end, through `print`. */
const layerLines = (print: (line: string) => Effect.Effect<void>): Layer.Layer<Progress> =>
  Layer.effect(
    Progress,
    Effect.gen(function*() {
      const clock = yield* Clock.Clock
      let state = begin(clock.currentTimeMillisUnsafe())
      let said = state.began
      return Progress.make((event) =>
        Effect.suspend(() => {
          const time = clock.currentTimeMillisUnsafe()
          const before = state
          state = update(before, event, time)
          const lines = plainLines(before, state, time, said)
          if (lines.length > 0) said = time
          return Effect.forEach(lines, print, { discard: true })
        })
      )
    })
  )

/** Plain lines on stderr, for pipes, files and CI. */
export const layerPlain: Layer.Layer<Progress> = layerLines((line) => Console.error(line))

/** The same lines as log records at INFO, so that every line of a JSON log is JSON. */
export const layerLogged: Layer.Layer<Progress> = layerLines((line) => Effect.logInfo(line))
