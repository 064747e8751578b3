import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import { join } from "node:path"
import type { Event } from "../../src/run/Generator.ts"
import { open } from "../../src/run/Runner.ts"
import { json, type Prompt } from "../arch/Case.ts"
import { greedyIds } from "../arch/Greedy.ts"
import { buildCase, BuildServices } from "./Build.ts"

const idsOf = (events: ReadonlyArray<Event>) => events.flatMap((event) => event.kind === "token" ? [event.id] : [])

layer(Layer.mergeAll(NodeServices.layer, BuildServices), { excludeTestServices: true })("a longrope run", (it) => {
  it.effect("turns all of its positions by the long frequencies from the moment it passes the border of 32", () =>
    Effect.gen(function*() {
      const { cache, out, test } = yield* buildCase("phi3-longrope")
      const runner = yield* open(out, { cache, threads: 1 })
      const ids = test.prompts.long.ids.slice(0, 26)
      const expected = yield* Effect.promise(() => greedyIds("phi3-longrope", ids, 20))
      const events = yield* Stream.runCollect(runner.generate({ ids, maxNewTokens: 20, ignoreEos: true }))
      assert.deepStrictEqual(idsOf(events), expected)
    }).pipe(Effect.scoped))

  it.effect("of another family than phi3 keeps the keys it has, as generate() does, and a next prompt turns all of them", () =>
    Effect.gen(function*() {
      const { cache, out, test } = yield* buildCase("llama-longrope")
      const runner = yield* open(out, { cache, threads: 1 })
      const { cross }: { cross: Prompt } = json(join(test.path, "expected/expected.json")).prompts
      const asked = { ids: cross.ids, maxNewTokens: cross.new_ids.length, ignoreEos: true }
      assert.deepStrictEqual(idsOf(yield* Stream.runCollect(runner.generate(asked))), [...cross.new_ids])
      const ids = [...cross.ids, ...cross.new_ids]
      const expected = yield* Effect.promise(() => greedyIds("llama-longrope", ids, 4))
      const next = yield* Stream.runCollect(runner.generate({ ids, maxNewTokens: 4, ignoreEos: true }))
      assert.deepStrictEqual(idsOf(next), expected)
      assert.deepStrictEqual(idsOf(yield* Stream.runCollect(runner.generate(asked))), [...cross.new_ids])
    }).pipe(Effect.scoped))
})
