import { Schema } from "effect"
import type { ModelFacts } from "../arch/Architecture.ts"
import { layerPrograms, type ProgramChoice } from "./PrecisionList.ts"
import { RuntimeConfig } from "./RuntimeConfig.ts"
import type { EndTokens } from "./Tokenizer.ts"

/** What a runner's file says beside the facts of the model. */
export interface RuntimeOptions {
  /** `--max_num_tokens`, `--language_group_size`, `--future_token_mask_size`, `--return_logits` */
  readonly maxNumTokens: number
  readonly groupSize: number
  readonly futureTokenMaskSize: number
  readonly returnLogits: boolean
  readonly programs: ReadonlyArray<ProgramChoice>
  readonly embeddings: Pick<RuntimeConfig["embeddings"], "file" | "dtype" | "scales" | "codes">
  readonly tokens: EndTokens
}

/** The content of `devkit/runtime.json`. */
export const runtimeConfig = (facts: ModelFacts, options: RuntimeOptions): RuntimeConfig => ({
  format: 1,
  family: facts.family,
  hidden: facts.hidden,
  vocabulary: facts.vocabulary,
  heads: facts.heads,
  keyValueHeads: facts.keyValueHeads,
  headSize: facts.headSize,
  maxNumTokens: options.maxNumTokens,
  groupSize: options.groupSize,
  futureTokenMaskSize: options.futureTokenMaskSize,
  returnLogits: options.returnLogits,
  layers: facts.layers.map((layer, index) => {
    const programs = layerPrograms(options.programs, index)
    if (layer.kind === "convolution") return { ...layer, ...programs }
    return { ...layer, window: layer.window ?? null, rope: layer.rope ?? null, ...programs }
  }),
  ropes: facts.ropes,
  embeddings: { ...options.embeddings, multiplier: facts.embedding.multiplier },
  eosTokenIds: options.tokens.eos,
  bosTokenId: options.tokens.bos ?? null
})

const encode = Schema.encodeSync(RuntimeConfig)

/** The text of `devkit/runtime.json`. Dies for a config that its own schema refuses: facts of a model are checked before. */
export const encodeRuntimeConfig = (config: RuntimeConfig): string => json(encode(config))

/** JSON as the devkit's files have it: two spaces, a newline at the end. */
export const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`
