import { NodeServices } from "@effect/platform-node"
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect } from "effect"
import { availableOf, coresOf, halfOfFreeMemory, physicalCores } from "../../src/plan/Machine.ts"

const thread = (processor: number, socket: number, core: number) =>
  `processor\t: ${processor}\nmodel name\t: Some CPU\nphysical id\t: ${socket}\ncore id\t\t: ${core}\n`

describe("coresOf", () => {
  it("counts two threads of a core once, and cores of two packages apart", () => {
    assert.strictEqual(coresOf([thread(0, 0, 0), thread(1, 0, 1), thread(2, 0, 0), thread(3, 1, 0)].join("\n")), 3)
  })
  it("is 0 where no core is named", () => {
    assert.strictEqual(coresOf("processor\t: 0\nBogoMIPS\t: 50.00\n"), 0)
    assert.strictEqual(coresOf(""), 0)
  })
})

describe("availableOf", () => {
  it("reads kibibytes", () => {
    assert.strictEqual(availableOf("MemTotal:  8000 kB\nMemFree: 10 kB\nMemAvailable:    2048 kB\n"), 2 ** 21)
    assert.isUndefined(availableOf("MemTotal:  8000 kB\n"))
  })
})

layer(NodeServices.layer)("this machine", (it) => {
  it.effect("has a core and some memory", () =>
    Effect.gen(function*() {
      const cores = yield* physicalCores
      assert.isAtLeast(cores, 1)
      assert.isAtMost(cores, navigator.hardwareConcurrency)
      assert.isAtLeast(yield* halfOfFreeMemory, 64 * 2 ** 20)
    }))
})
