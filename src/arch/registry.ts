import type { Architecture } from "./Architecture.ts"
import { llama } from "./llama.ts"
import { mistral } from "./mistral.ts"
import { qwen2 } from "./qwen2.ts"
import { qwen3 } from "./qwen3.ts"

/** Every model family that can be compiled. */
export const architectures = [llama, mistral, qwen2, qwen3] as const satisfies ReadonlyArray<Architecture>

/** The family of a `model_type`; undefined where nobody reads it. */
export const find = (modelType: string): Architecture | undefined =>
  architectures.find(({ aliases, name }: Architecture) => name === modelType || aliases.includes(modelType))

/** Every `model_type` that `find` knows. */
export const familyNames = (): ReadonlyArray<string> =>
  architectures.flatMap(({ aliases, name }: Architecture) => [name, ...aliases])
