import { Effect } from "effect"
import type { ModelFacts } from "../../arch/Architecture.ts"
import type { RuntimeConfig } from "../../devkit/RuntimeConfig.ts"
import { type Activations, anglesOf, matrix } from "./Activations.ts"
import { checkTensor } from "./Programs.ts"

const ROWS = 16

/** What drives one layer: rotary tables at the first and at the last positions, and how far it sees. */
const tables = (
  rope: Parameters<typeof anglesOf>[0],
  window: number | null | undefined,
  maxNumTokens: number
): Activations => {
  const rows = Math.min(ROWS, maxNumTokens)
  const first = anglesOf(rope, 0, rows, rows)
  const last = anglesOf(rope, maxNumTokens - rows, rows, maxNumTokens)
  const named = (at: string, angles: Activations) =>
    Object.entries(angles).map(([name, values]) => [`${name} of the ${at} ${rows} positions`, values] as const)
  return {
    ...Object.fromEntries([...named("first", first), ...named("last", last)]),
    window: matrix(Float32Array.of(Math.min(window ?? maxNumTokens, maxNumTokens)), 1, 1)
  }
}

/**
 * The build's rotary tables and windows beside the model's: with rounded weights a wrong rotary base is no larger an error than
 * the weights' own (0.25 in q and k at 4 bits), and a short text does not reach a window's end. Layers that are driven alike count once.
 */
export const checkTables = Effect.fnUntraced(function*({ layers, ropes }: ModelFacts, config: RuntimeConfig) {
  const seen = new Set<string>()
  const checks = yield* Effect.forEach(layers, (facts, index) =>
    Effect.gen(function*() {
      const built = config.layers[index]
      if (facts.kind !== "attention" || built?.kind !== "attention") return []
      const wanted = ropes.find(({ name }) => name === facts.rope)
      const found = config.ropes.find(({ name }) => name === built.rope)
      const key = JSON.stringify([wanted, found, facts.window ?? null, built.window])
      if (seen.has(key)) return []
      seen.add(key)
      const expected = tables(wanted, facts.window, config.maxNumTokens)
      const made = tables(found, built.window, config.maxNumTokens)
      return yield* Effect.forEach(Object.entries(expected), ([tensor, values]) =>
        checkTensor(
          { program: `runtime.json, layer ${index}`, tensor, arithmetic: "FLOAT" },
          made[tensor] ?? matrix(new Float32Array(), 0, values.shape[1] ?? 1),
          values
        ))
    }))
  return checks.flat()
})
