import { NodeServices } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { Effect, FileSystem, Layer, Ref, Runtime } from "effect"
import {
  Compiler,
  compilerFor,
  Kernels,
  Mpk,
  Progress,
  type ProgressEvent,
  servicesFor,
  Target
} from "../../src/index.ts"
import { MockTarget } from "../../src/testing.ts"
import { archiveOf, requestFor } from "../testing/Build.ts"

layer(NodeServices.layer)("servicesFor", (it) => {
  it.effect("gives the target that the request names", () =>
    Effect.gen(function*() {
      for (const target of ["host", "mock"] as const) {
        const request = yield* requestFor({}, { target })
        const { facts } = yield* Effect.provide(Target, servicesFor(request))
        assert.strictEqual(facts.name, target)
      }
    }))

  it.effect("refuses the target that is not built yet, with what to do", () =>
    Effect.gen(function*() {
      const request = yield* requestFor({}, { target: "modalix" })
      const error = yield* Effect.flip(Effect.provide(Target, servicesFor(request)))
      assert.strictEqual(
        error.message,
        "--target modalix is not supported: the bridge to the vendor's SDK is not built yet; use --target host"
      )
      assert.strictEqual(Runtime.getErrorExitCode(error), 4)
    }))

  it.effect("lets a layer of one's own stand in for each service of a stage", () =>
    Effect.gen(function*() {
      const request = yield* requestFor({}, { quantizeEmbeddings: true })
      const used = yield* Ref.make<ReadonlySet<string>>(new Set())
      const use = (name: string) => Ref.update(used, (names) => new Set([...names, name]))
      const events = yield* Ref.make<ReadonlyArray<ProgressEvent["_tag"]>>([])
      const OwnKernels = Layer.effect(
        Kernels,
        Effect.map(Kernels, (kernels) =>
          Kernels.of({
            ...kernels,
            quantizeRows: (options) => Effect.andThen(use("Kernels"), kernels.quantizeRows(options))
          }))
      ).pipe(Layer.provide(Kernels.layer(1)))
      const OwnMpk = Layer.effect(
        Mpk,
        Effect.map(FileSystem.FileSystem, (fs) =>
          Mpk.of({
            write: (path, entries) =>
              use("Mpk").pipe(
                Effect.andThen(Effect.orDie(fs.writeFileString(path, entries.map(({ name }) => name).join(" ")))),
                Effect.as({ bytes: 0, sha256: "" })
              )
          }))
      )
      const Own = Layer.mergeAll(servicesFor(request), MockTarget.layer({ shapes: "fixed" }), OwnKernels, OwnMpk)
      yield* Effect.gen(function*() {
        const plan = yield* (yield* Compiler).plan(request)
        assert.deepStrictEqual(plan.job.target, { name: "mock", shapes: "fixed" })
        yield* (yield* Compiler).compile(request)
      }).pipe(
        Effect.provide(Compiler.layer.pipe(
          Layer.provide(Own),
          Layer.provide(Progress.layer(({ _tag }) => Ref.update(events, (tags) => [...tags, _tag])))
        ))
      )
      assert.deepStrictEqual([...yield* Ref.get(used)].sort(), ["Kernels", "Mpk"])
      assert.strictEqual((yield* Ref.get(events))[0], "Planned")
      const text = new TextDecoder().decode(yield* archiveOf(request.output, 0))
      assert.isTrue(text.startsWith("group_pre_0.bin group_cache_0_0.bin group_cache_0_128.bin"), text)
    }))
})

layer(NodeServices.layer)("compilerFor", (it) => {
  it.effect("plans with a warning for a rule that has no effect", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const configurationFile = `${yield* fs.makeTempDirectoryScoped()}/rules.json`
      yield* fs.writeFileString(configurationFile, `{"rules": [{"layers": 7, "precision": "BF16"}]}`)
      const request = yield* requestFor({ layers: 1 }, { configurationFile, target: "mock" })
      const plan = Effect.flatMap(Compiler, (compiler) => compiler.plan(request))
      const { warnings } = yield* Effect.provide(plan, Layer.provide(compilerFor(request), Progress.layerSilent))
      assert.include(
        warnings,
        "rule 1 of the configuration file has no effect: the model has layer 0 only, not 7"
      )
    }))

  it.effect("builds with the request's target", () =>
    Effect.gen(function*() {
      const request = yield* requestFor({ layers: 1 }, { target: "mock", jobs: 1 })
      const compile = Effect.flatMap(Compiler, (compiler) => compiler.compile(request))
      const report = yield* Effect.provide(compile, Layer.provide(compilerFor(request), Progress.layerSilent))
      assert.deepStrictEqual(report.steps.map(({ id }) => id).sort(), [
        "compile/layer_0",
        "devkit",
        "onnx/layer_0",
        "onnx/weights",
        "quantize/layer_0",
        "quantize/weights"
      ])
    }))
})
