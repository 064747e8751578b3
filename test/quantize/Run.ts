import { Instance } from "../../src/quantize/kernel/Instance.ts"
import type { KernelDType, Seen } from "../../src/quantize/kernel/Task.ts"

const instance = new Instance()

/** What a kernel makes of a whole matrix. */
export interface Made {
  readonly codes: Uint8Array
  /** bits */
  readonly scales: Uint16Array
  readonly seen: Seen
}

/** Calls a kernel on the bytes of a matrix, in this thread. */
export const runKernel = (
  name: "int4" | "int8" | "rows",
  dtype: KernelDType,
  bytes: Uint8Array,
  rows: number,
  columns: number
): Made => {
  const blocks = name === "rows" ? 1 : Math.ceil(columns / 32)
  const codeBytes = name === "rows" ? rows * columns : rows * blocks * (name === "int4" ? 16 : 32)
  // a canary after each region: kernels write what they own
  const [from = 0, codes = 0, scales = 0] = instance.place([bytes.length, codeBytes + 64, rows * blocks * 2 + 64])
  instance.bytes.set(bytes, from)
  instance.bytes.fill(0xa5, codes, codes + codeBytes + 64)
  instance.bytes.fill(0xa5, scales, scales + rows * blocks * 2 + 64)
  instance.exports.reset()
  instance.exports[`${name}_${dtype}`](from, rows, columns, codes, scales)
  const scaleBytes = instance.bytes.slice(scales, scales + rows * blocks * 2)
  const after = [
    ...instance.bytes.subarray(codes + codeBytes, codes + codeBytes + 64),
    ...instance.bytes.subarray(scales + rows * blocks * 2, scales + rows * blocks * 2 + 64)
  ]
  if (after.some((byte) => byte !== 0xa5)) throw new Error(`${name}_${dtype} wrote past its buffers`)
  return {
    codes: instance.bytes.slice(codes, codes + codeBytes),
    scales: new Uint16Array(scaleBytes.buffer),
    seen: instance.seen
  }
}

/** Calls a scan kernel. */
export const runScan = (dtype: KernelDType, bytes: Uint8Array): Seen => {
  const [from = 0] = instance.place([bytes.length])
  instance.bytes.set(bytes, from)
  instance.exports.reset()
  instance.exports[`scan_${dtype}`](from, bytes.length / (dtype === "f32" ? 4 : 2))
  return instance.seen
}
