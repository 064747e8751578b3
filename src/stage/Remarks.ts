import { Effect, Schema } from "effect"
import { guard, unlikely, type WeightFacts } from "../quantize/WeightFacts.ts"
import type { Tensor } from "../tensor/Tensor.ts"

/** What the stamp of a step says that met unlikely weights. */
const Facts = Schema.Struct({ remarks: Schema.Array(Schema.String) })

/** The remarks that a step's facts tell of; none for other facts. */
export const remarksOf = Schema.decodeUnknownOption(Facts)

/** Looks at what the kernels saw of a step's weights, and keeps what is to be said of them. */
export const examiner = () => {
  const remarks = new Set<string>()
  return {
    /** Fails for a weight that nothing could be made of; one that is only unlikely is a warning. */
    examine: Effect.fnUntraced(function*(tensor: Tensor, facts: WeightFacts) {
      yield* Effect.fromResult(guard(tensor, facts))
      for (const text of unlikely(tensor, facts)) {
        remarks.add(text)
        yield* Effect.logWarning(text)
      }
    }),
    /** for the step's stamp */
    facts: (): typeof Facts.Type | undefined => remarks.size === 0 ? undefined : { remarks: [...remarks].sort() }
  }
}
export type Examiner = ReturnType<typeof examiner>
