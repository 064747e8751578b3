import { Result } from "effect"
import { find } from "../../src/arch/registry.ts"
import { readCase } from "./Case.ts"
import { withChain } from "./Chain.ts"

/**
 * The `count` most likely ids after `ids`, each from a pass over all tokens before it, part by part, without a cache: what a
 * cached run of the case must give. `test/arch` holds these passes against transformers.
 */
export const greedyIds = async (
  name: string,
  ids: ReadonlyArray<number>,
  count: number
): Promise<ReadonlyArray<number>> => {
  const example = readCase(name)
  const model = Result.getOrThrow(
    Result.flatMap(
      Result.fromNullishOr(find(example.config.model_type), () => []),
      (family) => family.read(example.config)
    )
  )
  const weights = (tensor: string) => Result.getOrThrow(Result.fromNullishOr(example.tensors.get(tensor), () => tensor))
  return withChain(model, weights, example, async (chain) => {
    const all = [...ids]
    while (all.length < ids.length + count) {
      const { last } = await chain(all, "token", [all.length - 1])
      all.push(Number(last[0]))
    }
    return all.slice(ids.length)
  })
}
