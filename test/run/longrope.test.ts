import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import { open } from "../../src/run/Runner.ts"
import { greedyIds } from "../arch/Greedy.ts"
import { buildCase, BuildServices } from "./Build.ts"

layer(Layer.mergeAll(NodeServices.layer, BuildServices), { excludeTestServices: true })("a longrope run", (it) => {
  it.effect("turns all of its positions by the long frequencies from the moment it passes the border of 32", () =>
    Effect.gen(function*() {
      const { cache, out, test } = yield* buildCase("phi3-longrope")
      const runner = yield* open(out, { cache, threads: 1 })
      const ids = test.prompts.long.ids.slice(0, 26)
      const expected = yield* Effect.promise(() => greedyIds("phi3-longrope", ids, 20))
      const events = yield* Stream.runCollect(runner.generate({ ids, maxNewTokens: 20, ignoreEos: true }))
      assert.deepStrictEqual(events.flatMap((event) => event.kind === "token" ? [event.id] : []), expected)
    }).pipe(Effect.scoped))
})
