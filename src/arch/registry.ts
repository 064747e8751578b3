import type { Architecture } from "./Architecture.ts"
import { gemma } from "./gemma.ts"
import { gemma2 } from "./gemma2.ts"
import { gemma3_text } from "./gemma3_text.ts"
import { gpt_oss } from "./gpt_oss.ts"
import { granite } from "./granite.ts"
import { lfm2 } from "./lfm2.ts"
import { llama } from "./llama.ts"
import { mistral } from "./mistral.ts"
import { olmo2 } from "./olmo2.ts"
import { olmoe } from "./olmoe.ts"
import { phi3 } from "./phi3.ts"
import { qwen2 } from "./qwen2.ts"
import { qwen3 } from "./qwen3.ts"
import { qwen3_moe } from "./qwen3_moe.ts"
import { smollm3 } from "./smollm3.ts"
import { stablelm } from "./stablelm.ts"
import { starcoder2 } from "./starcoder2.ts"

/** Every model family that can be compiled. */
export const architectures = [
  gemma,
  gemma2,
  gemma3_text,
  gpt_oss,
  granite,
  lfm2,
  llama,
  mistral,
  olmo2,
  olmoe,
  phi3,
  qwen2,
  qwen3,
  qwen3_moe,
  smollm3,
  stablelm,
  starcoder2
] as const satisfies ReadonlyArray<Architecture>

/** The family of a `model_type`; undefined where nobody reads it. */
export const find = (modelType: string): Architecture | undefined =>
  architectures.find(({ aliases, name }: Architecture) => name === modelType || aliases.includes(modelType))

/** Every `model_type` that `find` knows. */
export const familyNames = (): ReadonlyArray<string> =>
  architectures.flatMap(({ aliases, name }: Architecture) => [name, ...aliases])
