// What one call has seen. Layout, all i32, -1 = none:
// NaN: first element @0, infinity: first element @4, largest finite magnitude as f32 bits @8,
// blocks whose scale underflows: count @12, first @16; overflows: count @20, first @24.
// As f64: sum of squares @32, sum of squared errors @40.
import { infinity, magnitude, valueOf } from "./source"

const FACTS = memory.data(48, 16)

/** Address of the facts. */
export function facts(): usize {
  return FACTS
}

export function reset(): void {
  store<i32>(FACTS, -1)
  store<i32>(FACTS, -1, 4)
  store<i32>(FACTS, 0, 8)
  store<i32>(FACTS, 0, 12)
  store<i32>(FACTS, -1, 16)
  store<i32>(FACTS, 0, 20)
  store<i32>(FACTS, -1, 24)
  store<f64>(FACTS, 0, 32)
  store<f64>(FACTS, 0, 40)
}

/** Notes a number that is not finite; the first of each kind counts. */
export function saw(isNotANumber: bool, element: i32): void {
  const at: usize = isNotANumber ? FACTS : FACTS + 4
  if (load<i32>(at) < 0) store<i32>(at, element)
}

/** Notes a finite magnitude. */
export function sawValue(value: f32): void {
  if (value > load<f32>(FACTS, 8)) store<f32>(FACTS, value, 8)
}

/** Adds to the sums of squares: of numbers, and of their errors. */
export function sawDifference(squares: f64, errors: f64): void {
  store<f64>(FACTS, load<f64>(FACTS, 32) + squares, 32)
  store<f64>(FACTS, load<f64>(FACTS, 40) + errors, 40)
}

/** Notes the largest finite magnitude (in the bits of T). f32 bits of magnitudes order like integers. */
export function sawMagnitude<T>(bits: u32): void {
  const value = reinterpret<u32>(valueOf<T>(bits))
  if (value > load<u32>(FACTS, 8)) store<u32>(FACTS, value, 8)
}

export function sawUnderflow(block: i32): void {
  const count = load<i32>(FACTS, 12)
  if (count == 0) store<i32>(FACTS, block, 16)
  store<i32>(FACTS, count + 1, 12)
}

export function sawOverflow(block: i32): void {
  const count = load<i32>(FACTS, 20)
  if (count == 0) store<i32>(FACTS, block, 24)
  store<i32>(FACTS, count + 1, 20)
}

/** Goes through `count` numbers of which one is not finite; `first` is the index of the number at `p`. */
export function inspect<T>(p: usize, count: i32, first: i32): void {
  let top: u32 = 0
  for (let i = 0; i < count; i++, p += sizeof<T>()) {
    const bits = magnitude<T>(p)
    if (bits < infinity<T>()) {
      if (bits > top) top = bits
    } else {
      saw(bits != infinity<T>(), first + i)
    }
  }
  sawMagnitude<T>(top)
}
