import { Array as Arr, Effect, Result } from "effect"
import type { Tensor } from "../../tensor/Tensor.ts"
import { PieceInvalid, UnsupportedQuantization } from "../ModelReason.ts"
import { SourceError } from "../SourceError.ts"
import { activationSuffixes, compressedSuffixes, compressedWeight } from "./compressed.ts"
import type { CompressedGroup } from "./CompressedSettings.ts"
import { legacySuffixes, legacyWeight } from "./legacy.ts"
import { compilePattern } from "./Pattern.ts"
import { Pieces } from "./Pieces.ts"
import type { Settings } from "./Settings.ts"

/** Modules read at a time. */
const concurrency = 8

/** The tensors of a folder that was quantised before, by the names of the unquantised model. */
export interface Assembled {
  readonly tensors: ReadonlyMap<string, Tensor>
  readonly warnings: ReadonlyArray<string>
}

/** Module and last part of a tensor's name. */
const split = (name: string): readonly [module: string, suffix: string] => {
  const dot = name.lastIndexOf(".")
  return [name.slice(0, Math.max(0, dot)), name.slice(dot + 1)]
}

type Test = (module: string) => boolean

/** Who a target means: a module, a pattern of modules, or a class, of which only linear layers are quantised. */
const compileTarget = (path: string, target: string): Result.Result<Test, SourceError> => {
  if (!target.startsWith("re:")) return Result.succeed((module) => module === target)
  return Result.mapError(compilePattern(target.slice(3)), (found) => {
    const supported = ["literals", ".", "[…]", "(…|…)", "*", "+", "?", "^", "$"]
    const where = "quantization_config.config_groups.targets"
    const reason = new UnsupportedQuantization({ where, setting: "pattern", found, supported, advice: "" })
    return new SourceError({ path, reason })
  })
}

/** The group of a module: one that names it, else one whose pattern fits, else one of a class. */
const groupFinder = (path: string, groups: ReadonlyArray<CompressedGroup>) =>
  Result.gen(function*() {
    const tests: Array<readonly [rank: number, test: Test, group: CompressedGroup]> = []
    for (const group of groups) {
      for (const target of group.targets) {
        const isClass = /^[A-Z][A-Za-z0-9]*$/.test(target)
        const compiled = isClass ? Result.succeed(() => true) : compileTarget(path, target)
        // of one group, a pattern that cannot be read decides nothing that its tensors do not
        const test = groups.length === 1 ? Result.getOrElse(compiled, () => () => true) : yield* compiled
        tests.push([isClass ? 2 : target.startsWith("re:") ? 1 : 0, test, group])
      }
    }
    tests.sort(([a], [b]) => a - b)
    return (module: string) => tests.find(([, test]) => test(module))?.[2]
  })

/** The entry of `ignore` that means a module, if one does. Patterns that cannot be read decide nothing: a tensor's presence does. */
const ignoring = (path: string, ignore: ReadonlyArray<string>) => {
  const tests = ignore.flatMap((entry) =>
    Result.match(compileTarget(path, entry), { onFailure: () => [], onSuccess: (test) => [{ entry, test }] })
  )
  return (module: string) => tests.find(({ test }) => test(module))?.entry
}

/** Modules, and a file that holds some of each, of which a tensor of one of these suffixes, or a weight that is no plain number, is stored. */
const modulesOf = (
  stored: ReadonlyMap<string, Tensor>,
  suffixes: ReadonlyArray<string>
): ReadonlyMap<string, string> => {
  const modules = new Map<string, string>()
  for (const [name, { dtype, range }] of stored) {
    const [module, suffix] = split(name)
    if (suffixes.includes(suffix) || suffix === "weight" && (dtype === "i8" || dtype === "f8_e4m3")) {
      modules.set(module, range.file)
    }
  }
  return modules
}

/** The first failure, which names the modules that the others are about. */
const together = ([first, ...others]: Arr.NonEmptyReadonlyArray<SourceError>): SourceError => {
  const { path, reason } = first
  if (reason._tag !== "PieceInvalid") return first
  const { expected, found, tensor } = reason
  const also = others.flatMap(({ reason: other }) =>
    other._tag !== "PieceInvalid"
      ? []
      : [other.expected === expected ? other.tensor : `${other.tensor} (${other.expected} expected)`]
  )
  return new SourceError({ path, reason: new PieceInvalid({ tensor, expected, found, also }) })
}

/** Puts the pieces of every quantised module together; everything is checked but the numbers themselves. `config`: the file that says how. */
export const assemble = Effect.fn("quantized.assemble")(
  function*(config: string, settings: Settings, stored: ReadonlyMap<string, Tensor>) {
    const isCompressed = settings.method === "compressed-tensors"
    const suffixes = isCompressed ? compressedSuffixes : legacySuffixes
    const dropped = isCompressed ? [...suffixes, ...activationSuffixes] : suffixes
    const groupOf = settings.method === "compressed-tensors"
      ? yield* Effect.fromResult(groupFinder(config, settings.groups))
      : undefined
    const ignoredBy = settings.method === "compressed-tensors" ? ignoring(config, settings.ignore) : undefined
    const readOne = Effect.fnUntraced(function*([module, file]: readonly [string, string]) {
      const pieces = new Pieces(module, file, stored)
      const other = stored.get(`${module}.weight`)
      const packed = isCompressed ? "weight_packed" : "qweight"
      if (other !== undefined && pieces.find(packed) !== undefined) {
        return yield* Effect.fromResult(pieces.wrong("", `either weight or ${packed}`, "both"))
      }
      if (settings.method !== "compressed-tensors") return yield* legacyWeight(pieces, settings)
      const group = groupOf?.(module)
      const ignored = ignoredBy?.(module)
      if (group === undefined || ignored !== undefined) {
        const found = ignored === undefined ? "none" : `ignore: ${ignored}`
        return yield* Effect.fromResult(pieces.wrong("", "a group of config.json for its quantised tensors", found))
      }
      return yield* compressedWeight(pieces, group)
    })
    const read = yield* Effect.forEach(modulesOf(stored, suffixes), (module) => Effect.result(readOne(module)), {
      concurrency
    })
    const [weights, failures] = Arr.separate(read)
    if (Arr.isReadonlyArrayNonEmpty(failures)) return yield* together(failures)
    if (weights.length === 0) {
      const expected = `modules that ${settings.method} quantised`
      return yield* Effect.fromResult(new Pieces("the weights", config, stored).wrong("", expected, "none"))
    }
    const plain = Array.from(stored).filter(([name]) => !dropped.includes(split(name)[1]))
    return {
      tensors: new Map([...plain, ...weights.map((weight) => [weight.name, weight] as const)]),
      warnings: isCompressed ? settings.warnings : []
    } satisfies Assembled
  }
)
