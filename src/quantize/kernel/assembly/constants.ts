// Vector constants in memory. A literal is rebuilt at every use by V8 (Node 24), inside the loop: rounding of bf16 ran at
// 6 GB/s with literals and at 14 GB/s with these.

const FLOATS = memory.data<f32>([
  768.0, 768.0, 768.0, 768.0, // 1.5·2^9: x plus it is on the grid of 2^-14, for -256 <= x < 256
  12582144.0, 12582144.0, 12582144.0, 12582144.0, // 1.5·2^23 - 768
  12582912.0, 12582912.0, 12582912.0, 12582912.0, // 1.5·2^23: x plus it has rint(x) in its low bits, for |x| < 2^22
  5.192296858534828e33, 5.192296858534828e33, 5.192296858534828e33, 5.192296858534828e33 // 2^112
], 16)

const WORDS = memory.data<u32>([
  0, 0, 0, 0,
  0x7fff7fff, 0x7fff7fff, 0x7fff7fff, 0x7fff7fff, // magnitudes of 16-bit numbers
  0x7fffffff, 0x7fffffff, 0x7fffffff, 0x7fffffff, // magnitudes of f32
  0x8fffe000, 0x8fffe000, 0x8fffe000, 0x8fffe000, // sign, exponent and fraction of an f16 in the place of an f32's
  0x0f0f0f0f, 0x0f0f0f0f, 0x0f0f0f0f, 0x0f0f0f0f, // largest 4-bit code
  0x00ff00ff, 0x00ff00ff, 0x00ff00ff, 0x00ff00ff, // even bytes
  0x4b400000, 0x4b400000, 0x4b400000, 0x4b400000, // bits of 1.5·2^23, less the zero point: 0,
  0x4b3ffff8, 0x4b3ffff8, 0x4b3ffff8, 0x4b3ffff8, // 8,
  0x4b3fff80, 0x4b3fff80, 0x4b3fff80, 0x4b3fff80 // 128
], 16)

// Each byte four times, filled when the module starts.
const BYTES = memory.data(1024, 16)
for (let byte: u32 = 0; byte < 256; byte++) store<u32>(BYTES + (byte << 2), byte * 0x01010101)

/** A byte in every lane. Kernels with one or two constants are as fast with literals. */
// @ts-ignore: decorator
@inline
export function every(byte: u8): v128 {
  return v128.load32_splat(BYTES + (<usize>byte << 2))
}

// @ts-ignore: decorator
@inline
export function grid(): v128 {
  return v128.load(FLOATS)
}

// @ts-ignore: decorator
@inline
export function wholeLessGrid(): v128 {
  return v128.load(FLOATS, 16)
}

// @ts-ignore: decorator
@inline
export function whole(): v128 {
  return v128.load(FLOATS, 32)
}

// @ts-ignore: decorator
@inline
export function two112(): v128 {
  return v128.load(FLOATS, 48)
}

// @ts-ignore: decorator
@inline
export function zeros(): v128 {
  return v128.load(WORDS)
}

// @ts-ignore: decorator
@inline
export function magnitudeMask<T>(): v128 {
  return isFloat<T>() ? v128.load(WORDS, 32) : v128.load(WORDS, 16)
}

// @ts-ignore: decorator
@inline
export function f16Mask(): v128 {
  return v128.load(WORDS, 48)
}

// @ts-ignore: decorator
@inline
export function largestNibble(): v128 {
  return v128.load(WORDS, 64)
}

// @ts-ignore: decorator
@inline
export function evenBytes(): v128 {
  return v128.load(WORDS, 80)
}

/** What `round` takes off so that a number of 0 gets the code `zero`. */
// @ts-ignore: decorator
@inline
export function bias(zero: i32): v128 {
  return zero == 0 ? v128.load(WORDS, 96) : zero == 8 ? v128.load(WORDS, 112) : v128.load(WORDS, 128)
}
