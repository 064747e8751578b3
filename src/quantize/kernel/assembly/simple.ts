// GGUF's blocks of 32 with one scale (and a minimum) → codes, scales, minima. `count` blocks, one after the other.
// Layouts: src/quantize/format/gguf/simple.ts.
import { every } from "./constants"
import { down, pairUp, store32 } from "./emit"
import { half } from "./numbers"

/** d f16 @0, 16 bytes @2: low nibbles are codes 0…15, high nibbles 16…31. */
export function recode_Q4_0(src: usize, count: i32, codes: usize, scales: usize, _: usize): void {
  for (let b = 0; b < count; b++, src += 18, codes += 16, scales += 2) {
    store<u16>(scales, load<u16>(src))
    v128.store(codes, pairUp(v128.load(src, 2)))
  }
}

/** d f16 @0, m f16 @2, 16 bytes @4. */
export function recode_Q4_1(src: usize, count: i32, codes: usize, scales: usize, minimum: usize): void {
  for (let b = 0; b < count; b++, src += 20, codes += 16, scales += 2, minimum += 4) {
    store<u16>(scales, load<u16>(src))
    store<f32>(minimum, half(src + 2))
    v128.store(codes, pairUp(v128.load(src, 4)))
  }
}

const BITS = memory.data<u8>([1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128], 16)

// 16 in the bytes whose bit is set: bit i of the u16 at `p` belongs to byte i
// @ts-ignore: decorator
@inline
function sixteens(p: usize): v128 {
  const bits = v128.shuffle<u64>(v128.load8_splat(p), v128.load8_splat(p, 1), 0, 2), mask = v128.load(BITS)
  return v128.and(i8x16.eq(v128.and(bits, mask), mask), every(16))
}

// 32 codes of 5 bits: fifth bits u32 at `high`, 16 bytes at `low`; `bias` is added
// @ts-ignore: decorator
@inline
function five(high: usize, low: usize, codes: usize, bias: u8): void {
  const q = v128.load(low)
  store32(
    codes,
    i8x16.add(v128.or(v128.and(q, every(15)), sixteens(high)), every(bias)),
    i8x16.add(v128.or(down(q, 4, 15), sixteens(high + 2)), every(bias))
  )
}

/** d f16 @0, fifth bits u32 @2, 16 bytes @6. */
export function recode_Q5_0(src: usize, count: i32, codes: usize, scales: usize, _: usize): void {
  for (let b = 0; b < count; b++, src += 22, codes += 32, scales += 2) {
    store<u16>(scales, load<u16>(src))
    five(src + 2, src + 6, codes, 112)
  }
}

/** d f16 @0, m f16 @2, fifth bits u32 @4, 16 bytes @8. */
export function recode_Q5_1(src: usize, count: i32, codes: usize, scales: usize, minimum: usize): void {
  for (let b = 0; b < count; b++, src += 24, codes += 32, scales += 2, minimum += 4) {
    store<u16>(scales, load<u16>(src))
    store<f32>(minimum, half(src + 2))
    five(src + 4, src + 8, codes, 0)
  }
}

/** d f16 @0, 32 i8 @2. */
export function recode_Q8_0(src: usize, count: i32, codes: usize, scales: usize, _: usize): void {
  for (let b = 0; b < count; b++, src += 34, codes += 32, scales += 2) {
    store<u16>(scales, load<u16>(src))
    store32(codes, v128.xor(v128.load(src, 2), i8x16.splat(-128)), v128.xor(v128.load(src, 18), i8x16.splat(-128)))
  }
}
