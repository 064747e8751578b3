// Runs in the session's thread, without Effect: it is 160 times a second the way from a token to the next. Promises are onnxruntime's API.
import type { InferenceSession, Tensor } from "onnxruntime-node"
import type { Ort } from "../verify/Ort.ts"
import { rowReader } from "./Embedding.ts"
import type { Build, Programs, Step } from "./Protocol.ts"
import { States } from "./States.ts"
import { firstSeen, maskRows, rotaryTables } from "./Tables.ts"

/** What a pass gives. */
export interface Outcome {
  readonly token: number
  readonly logits: Float32Array | undefined
}

/** Sessions of both phases. */
export interface Sessions {
  readonly group: InferenceSession
  readonly single: InferenceSession
}

/** Name of the mask of layers with this window; the linker's. */
const maskName = (window: number | null): string => window === null ? "mask_full" : `mask_${window}`

const isBatched = ({ inputMetadata }: InferenceSession): boolean => {
  const hidden = inputMetadata.find(({ name }) => name === "hidden")
  return hidden?.isTensor === true && hidden.shape.length === 3
}

/** K and V of an attention layer, `[positions × width]`. */
interface Cache {
  /** the layer */
  readonly index: number
  readonly width: number
  readonly window: number | null
  readonly K: Float32Array
  readonly V: Float32Array
}

/** Passes over one sequence: owns the caches of attention layers and the states of convolution layers. */
export class Passes {
  readonly #ort: Ort
  readonly #build: Build
  readonly #aliased: boolean
  /** the program under way has a batch dimension */
  #batched = false
  readonly #sessions: Sessions
  readonly #rows: ReturnType<typeof rowReader>
  readonly #hidden: Float32Array
  readonly #angles: ReadonlyArray<{ readonly cos: Float32Array; readonly sin: Float32Array }>
  readonly #masks: ReadonlyMap<number | null, Float32Array>
  readonly #zeros: Float32Array
  readonly #caches: ReadonlyArray<Cache>
  readonly #states: States

  constructor(ort: Ort, build: Build, { aliased }: Programs, sessions: Sessions) {
    const { groupSize, hidden, layers, positions, ropes } = build
    this.#ort = ort
    this.#build = build
    this.#aliased = aliased
    this.#sessions = sessions
    this.#rows = rowReader(build)
    this.#hidden = new Float32Array(groupSize * hidden)
    this.#angles = ropes.map(({ inverseFrequencies }) => ({
      cos: new Float32Array(groupSize * inverseFrequencies.length),
      sin: new Float32Array(groupSize * inverseFrequencies.length)
    }))
    this.#zeros = new Float32Array(positions)
    // The system gives pages of zeros and counts them when they are written: a long context costs memory as it fills.
    this.#caches = layers.flatMap((layer, index) =>
      layer.kind === "convolution" ? [] : [{
        index,
        width: layer.width,
        window: layer.window,
        K: new Float32Array(positions * layer.width),
        V: new Float32Array(positions * layer.width)
      }]
    )
    this.#masks = new Map(this.#caches.map(({ window }) => [window, new Float32Array(groupSize * positions)]))
    this.#states = new States(layers)
  }

  /** Runs tokens through the model; their rows are in the caches afterwards. */
  async run({ ids, long, marks, phase, position, wanted }: Step): Promise<Outcome> {
    const tokens = ids.length
    const { vocabulary } = this.#build
    const session = this.#sessions[phase]
    this.#batched = isBatched(session)
    const rows = wanted === "all" ? tokens : 1
    const first = tokens - rows
    const feeds: Record<string, Tensor> = {
      ...this.#tokenFeeds(ids, position, long),
      rows: new this.#ort.Tensor("int64", BigInt64Array.from({ length: rows }, (_, i) => BigInt(first + i)), [rows])
    }
    const fetches: Record<string, Tensor | null> = {}
    this.#cacheFeeds(feeds, fetches, position, tokens)
    for (const { data, index, shape } of this.#states.at(position)) {
      feeds[`state_${index}`] = this.#f32(data, shape)
      fetches[`state_out_${index}`] = null
    }
    if (wanted === "token") fetches["token"] = null
    if (wanted === "logits" || wanted === "all") fetches["logits"] = null
    const results = await session.run(feeds, fetches)
    if (!this.#aliased) this.#keep(results, position)
    this.#states.put(position, position + tokens, marks, (index) => results[`state_out_${index}`]?.data)
    const token = results["token"]?.data[0]
    const logits = results["logits"]?.data
    return {
      token: typeof token === "bigint" ? Number(token) : -1,
      logits: logits instanceof Float32Array && logits.length === rows * vocabulary ? logits : undefined
    }
  }

  /** Makes rows of the caches unusable, so that a pass that reads one before it is written shows. */
  poison(position: number, tokens: number): void {
    for (const { K, V, width } of this.#caches) {
      K.fill(NaN, position * width, (position + tokens) * width)
      V.fill(NaN, position * width, (position + tokens) * width)
    }
  }

  #f32(data: Float32Array, shape: ReadonlyArray<number>): Tensor {
    return new this.#ort.Tensor("float32", data, this.#batched ? [1, ...shape] : shape)
  }

  #tokenFeeds(ids: ReadonlyArray<number>, position: number, long: boolean): Record<string, Tensor> {
    const tokens = ids.length
    const { hidden, ropes } = this.#build
    ids.forEach((id, i) => this.#rows(id, this.#hidden.subarray(i * hidden, (i + 1) * hidden)))
    const feeds: Record<string, Tensor> = {
      hidden: this.#f32(this.#hidden.subarray(0, tokens * hidden), [tokens, hidden])
    }
    ropes.forEach((rope, i) => {
      const frequencies = long ? rope.long ?? rope.inverseFrequencies : rope.inverseFrequencies
      const { cos, sin } = this.#angles[i] ?? { cos: new Float32Array(), sin: new Float32Array() }
      rotaryTables(frequencies, rope.attentionFactor, position, tokens, cos, sin)
      const half = frequencies.length
      feeds[`cos_${rope.name}`] = this.#f32(cos.subarray(0, tokens * half), [tokens, half])
      feeds[`sin_${rope.name}`] = this.#f32(sin.subarray(0, tokens * half), [tokens, half])
    })
    for (const [window, mask] of this.#masks) {
      const context = position + tokens - firstSeen(position, window)
      // one token sees all of its context
      if (tokens > 1) maskRows(position, tokens, window, mask)
      const rows = (tokens > 1 ? mask : this.#zeros).subarray(0, tokens * context)
      feeds[maskName(window)] = new this.#ort.Tensor("float32", rows, [tokens, context])
    }
    return feeds
  }

  #cacheFeeds(
    feeds: Record<string, Tensor>,
    fetches: Record<string, Tensor | null>,
    position: number,
    tokens: number
  ): void {
    const end = position + tokens
    for (const { K, V, index, width, window } of this.#caches) {
      const start = firstSeen(position, window)
      const until = this.#aliased ? end : position
      for (const [name, cache] of [["K", K], ["V", V]] as const) {
        feeds[`${name}_${index}`] = this.#f32(cache.subarray(start * width, until * width), [until - start, width])
        fetches[`${name.toLowerCase()}_${index}`] = this.#aliased
          ? this.#f32(cache.subarray(position * width, end * width), [tokens, width])
          : null
      }
    }
  }

  #keep(results: InferenceSession.OnnxValueMapType, position: number): void {
    for (const { K, V, index, width } of this.#caches) {
      for (const [name, rows] of [["k", K], ["v", V]] as const) {
        const data = results[`${name}_${index}`]?.data
        if (data instanceof Float32Array) rows.set(data, position * width)
      }
    }
  }
}
