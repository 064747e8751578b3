import type { KernelDType, Seen } from "./Task.ts"
import { wasm } from "./wasm.ts"

type Kernel = (source: number, rows: number, columns: number, codes: number, scales: number) => void
type Scan = (source: number, count: number) => void

/** The blocks of GGUF that have a kernel. */
export const recodedBlocks = [
  "Q4_0",
  "Q4_1",
  "Q5_0",
  "Q5_1",
  "Q8_0",
  "Q2_K",
  "Q3_K",
  "Q4_K",
  "Q5_K",
  "Q6_K",
  "IQ4_NL",
  "IQ4_XS",
  "MXFP4",
  "TQ1_0",
  "TQ2_0"
] as const
type Recode = (source: number, blocks: number, codes: number, scales: number, minimum: number) => void
type Move = (source: number, count: number, to: number) => void
type Codes = [
  rows: number,
  columns: number,
  blocks: number,
  size: number,
  bits: number,
  codes: number,
  zeros: number,
  zero: number,
  scales: number,
  isHalf: number,
  minimum: number
]

interface Exports
  extends
    Readonly<Record<`${"int4" | "int8" | "rows"}_${KernelDType}`, Kernel>>,
    Readonly<Record<`scan_${KernelDType}`, Scan>>,
    Readonly<Record<`recode_${typeof recodedBlocks[number]}`, Recode>>,
    Readonly<Record<`${"widen" | "narrow"}_${"bf16" | "f16"}`, Move>>
{
  readonly survey: (...of: [...Codes, low: number, high: number]) => void
  readonly expand: (...of: [...Codes, to: number]) => void
  readonly expand_rows: (rows: number, columns: number, codes: number, scales: number, to: number) => void
  readonly add: (at: number, count: number, addend: number) => void
  readonly transpose_words: (source: number, stride: number, height: number, count: number, to: number) => void
  readonly untangle_words: (
    source: number,
    stride: number,
    columns: number,
    skip: number,
    count: number,
    to: number
  ) => void
  readonly gather_nibbles: (source: number, order: number, count: number, to: number) => void
  readonly differ: (source: number, other: number, count: number) => void
  readonly memory: { readonly buffer: ArrayBuffer; readonly grow: (pages: number) => number }
  readonly reset: () => void
  readonly facts: () => number
}

// Neither the es2024 library nor @types/node 24 declares it.
declare const WebAssembly: {
  readonly Module: new(bytes: Uint8Array) => object
  readonly Instance: new(module: object) => { readonly exports: Exports }
}

/** Bytes of a WebAssembly page. */
const PAGE = 65536
/** The kernels' own data lies in the first page; the first buffer begins after it. */
const FIRST = PAGE

/** One set of kernels with its memory. Buffers are reused: a new page costs as much as quantising it ten times. */
export class Instance {
  readonly exports: Exports = new WebAssembly.Instance(new WebAssembly.Module(Buffer.from(wasm, "base64"))).exports
  #bytes = new Uint8Array(this.exports.memory.buffer)

  /** The memory; valid until the next `place`. */
  get bytes(): Uint8Array {
    return this.#bytes
  }

  /** Addresses of buffers of these sizes, aligned to 64 bytes; the memory grows when they do not fit. */
  place(sizes: ReadonlyArray<number>): ReadonlyArray<number> {
    let end = FIRST
    const addresses = sizes.map((size) => {
      const address = end
      end += Math.ceil(size / 64) * 64
      return address
    })
    const missing = end - this.#bytes.length
    if (missing > 0) {
      this.exports.memory.grow(Math.ceil(missing / PAGE))
      this.#bytes = new Uint8Array(this.exports.memory.buffer)
    }
    return addresses
  }

  /** Puts f32 to an aligned address. */
  floats(address: number, values: Float32Array): void {
    new Float32Array(this.exports.memory.buffer, address, values.length).set(values)
  }

  /** What the kernels saw since the last `reset`. Layout: assembly/facts.ts. */
  get seen(): Seen {
    const view = new DataView(this.exports.memory.buffer, this.exports.facts(), 48)
    return {
      nan: view.getInt32(0, true),
      infinity: view.getInt32(4, true),
      largest: view.getFloat32(8, true),
      underflows: view.getInt32(12, true),
      firstUnderflow: view.getInt32(16, true),
      overflows: view.getInt32(20, true),
      firstOverflow: view.getInt32(24, true),
      squares: view.getFloat64(32, true),
      errors: view.getFloat64(40, true)
    }
  }
}
