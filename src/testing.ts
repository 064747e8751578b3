/**
 * The test kit: hardware that does what a test says, checkpoints that no download needs, time that passes when it is told to.
 *
 * ```ts
 * it.effect("tries a busy device again", () =>
 *   Effect.gen(function*() {
 *     const modelPath = yield* checkpoint({ layers: 2 })
 *     const request = CompileRequest.make({ modelPath, output: `${modelPath}-out` })
 *     const busy = MockTarget.layer({
 *       behaviour: (part) => part === "group_pre_0" ? { failure: { kind: "transient", times: 1 } } : { delay: "1 minute" }
 *     })
 *     yield* Effect.gen(function*() {
 *       const report = yield* elapse((yield* Compiler).compile(request))
 *       assert.strictEqual(report.archives, 2)
 *       const calls = yield* (yield* MockTarget).calls
 *       assert.strictEqual(calls.filter(({ outcome }) => outcome === "failed").length, 1)
 *     }).pipe(Effect.provide(compilerTest(busy)))
 *   }).pipe(Effect.provide(NodeServices.layer)))
 * ```
 */
import { type Duration, Effect, Fiber, FileSystem, Layer, Path, type PlatformError, Result, type Scope } from "effect"
import { TestClock } from "effect/testing"
import { architectures, find } from "./arch/registry.ts"
import { Mpk } from "./pack/Mpk.ts"
import { Kernels } from "./quantize/Kernels.ts"
import { configError, type SourceError } from "./source/SourceError.ts"
import { Compiler } from "./stage/Compiler.ts"
import { Progress } from "./stage/Progress.ts"
import { Verifier } from "./stage/Verifier.ts"
import { toBf16 } from "./tensor/Float.ts"
import { storedOf } from "./tensor/Slice.ts"

export { type MockBehaviour, type MockCall, type MockLink, type MockOptions, MockTarget } from "./target/mock.ts"

/** A checkpoint to be made. Sizes as in config.json; `hidden` must be a multiple of `heads`, `heads` of `keyValueHeads`. */
export interface CheckpointOptions {
  /** "llama" when absent */
  readonly family?: (typeof architectures)[number]["name"]
  /** 2 when absent */
  readonly layers?: number
  /** 64 when absent */
  readonly hidden?: number
  /** twice `hidden` when absent */
  readonly intermediate?: number
  /** 4 when absent */
  readonly heads?: number
  /** 2 when absent */
  readonly keyValueHeads?: number
  /** 288 when absent; the tokenizer has 257 tokens */
  readonly vocabulary?: number
  /** the head is the embedding; false when absent */
  readonly tied?: boolean
  /** equal seeds give equal bytes; 1 when absent */
  readonly seed?: number
  /** more keys of config.json, or others in place of the above */
  readonly config?: Readonly<Record<string, unknown>>
  /** "random" when absent; "holes": a sparse file of zeros, for plans of models larger than the disk */
  readonly weights?: "random" | "holes"
}

/** Numbers in [0, 1): the same on every machine. Source: mulberry32 of Tommy Ettinger (public domain). */
const uniform = (seed: number): () => number => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let bits = Math.imul(state ^ (state >>> 15), state | 1)
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61)
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32
  }
}

/** bf16 of one tensor: matrices keep the size of what passes through them, norms are near 1, biases near 0. */
const numbersOf = (name: string, shape: ReadonlyArray<number>, next: () => number): Uint8Array => {
  const columns = shape.at(-1) ?? 1
  const [middle, spread] = shape.length > 1
    ? [0, Math.sqrt(3 / columns)]
    : name.endsWith(".bias")
    ? [0, 0.1]
    : [1, 0.1]
  const numbers = Uint16Array.from(
    { length: shape.reduce((a, b) => a * b, 1) },
    () => toBf16(Math.fround(middle + spread * (2 * next() - 1)))
  )
  return new Uint8Array(numbers.buffer)
}

const shown = (byte: number): boolean => (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad)

/** Characters that stand for the 256 bytes in a byte-level vocabulary. Source: `bytes_to_unicode` of GPT-2. */
const byteCharacters = (): ReadonlyArray<string> => {
  let others = 256
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(shown(byte) ? byte : others++))
}

const END = 256
const endToken = "<|end|>"
const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false }

/** A token for each byte, and one that ends an answer; reads any text. */
const tokenizer = {
  version: "1.0",
  truncation: null,
  padding: null,
  added_tokens: [{
    id: END,
    content: endToken,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true
  }],
  normalizer: null,
  pre_tokenizer: byteLevel,
  post_processor: null,
  decoder: byteLevel,
  model: {
    type: "BPE",
    dropout: null,
    unk_token: null,
    continuing_subword_prefix: null,
    end_of_word_suffix: null,
    fuse_unk: false,
    byte_fallback: false,
    vocab: Object.fromEntries(byteCharacters().map((character, byte) => [character, byte])),
    merges: []
  }
}

const tokenizerConfig = {
  tokenizer_class: "PreTrainedTokenizerFast",
  eos_token: endToken,
  chat_template: "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}" +
    "{% if add_generation_prompt %}assistant: {% endif %}"
}

/**
 * Writes a tiny model as a Hugging Face folder (config.json, tokenizer.json, model.safetensors in bf16) and gives its path; the
 * folder goes with the scope. Fails for a configuration that the family does not take.
 */
export const checkpoint = Effect.fn("testing.checkpoint")(function*(
  options: CheckpointOptions = {}
): Effect.fn.Return<
  string,
  SourceError | PlatformError.PlatformError,
  FileSystem.FileSystem | Path.Path | Scope.Scope
> {
  const { family = "llama", heads = 4, hidden = 64, keyValueHeads = 2, layers = 2, seed = 1 } = options
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const folder = path.join(yield* fs.makeTempDirectoryScoped({ prefix: "llima-checkpoint-" }), `tiny-${family}`)
  yield* fs.makeDirectory(folder)
  const config = {
    model_type: family,
    hidden_size: hidden,
    intermediate_size: options.intermediate ?? 2 * hidden,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: keyValueHeads,
    head_dim: hidden / heads,
    vocab_size: options.vocabulary ?? 288,
    max_position_embeddings: 2048,
    rms_norm_eps: 1e-5,
    rope_theta: 10_000,
    hidden_act: "silu",
    num_experts: 4,
    num_local_experts: 4,
    num_experts_per_tok: 2,
    moe_intermediate_size: hidden,
    tie_word_embeddings: options.tied ?? false,
    torch_dtype: "bfloat16",
    eos_token_id: END,
    ...options.config
  }
  const model = yield* Effect.fromResult(
    Result.mapError(
      (find(family) ?? architectures[0]).read(config),
      (problems) => configError(path.join(folder, "config.json"), problems)
    )
  )
  const entries: Record<string, unknown> = {}
  let end = 0
  const tensors = storedOf(model.tensors)
  for (const { name, shape } of tensors) {
    const begin = end
    end += 2 * shape.reduce((a, b) => a * b, 1)
    entries[name] = { dtype: "BF16", shape, data_offsets: [begin, end] }
  }
  const text = JSON.stringify(entries)
  const header = new TextEncoder().encode(text.padEnd(Math.ceil(text.length / 8) * 8))
  const length = new Uint8Array(8)
  new DataView(length.buffer).setBigUint64(0, BigInt(header.length), true)
  const weights = path.join(folder, "model.safetensors")
  yield* Effect.scoped(Effect.gen(function*() {
    const file = yield* fs.open(weights, { flag: "wx" })
    yield* file.writeAll(length)
    yield* file.writeAll(header)
    if (options.weights === "holes") return yield* file.truncate(length.length + header.length + end)
    const next = uniform(seed)
    yield* Effect.forEach(tensors, ({ name, shape }) => file.writeAll(numbersOf(name, shape, next)))
  }))
  yield* Effect.forEach(
    Object.entries({ "config.json": config, "tokenizer.json": tokenizer, "tokenizer_config.json": tokenizerConfig }),
    ([name, content]) => fs.writeFileString(path.join(folder, name), JSON.stringify(content, undefined, 1))
  )
  return folder
})

/** The compiler over a target of the test's choice, one worker, and progress that nobody sees; needs a platform. The target stays in reach. */
export const compilerTest = <ROut, E, RIn>(target: Layer.Layer<ROut, E, RIn>) =>
  Compiler.layer.pipe(
    Layer.provideMerge(target),
    Layer.provide([Kernels.layer(1), Mpk.layer, Progress.layerSilent, Verifier.layer])
  )

/** Lets other things than the clock happen: files, threads. */
const breathe = TestClock.withLive(Effect.sleep("1 millis"))

/**
 * Runs the effect, and the `TestClock` on by `step` again and again until it has ended: for what sleeps between reads of real
 * files, where one `TestClock.adjust` may come before the sleep. What sleeps side by side wakes in the clock's order.
 */
export const elapse = <A, E, R>(effect: Effect.Effect<A, E, R>, step: Duration.Input = "1 second") =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(effect)
    while (fiber.pollUnsafe() === undefined) {
      yield* breathe
      yield* TestClock.adjust(step)
    }
    return yield* Fiber.join(fiber)
  })
