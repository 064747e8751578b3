// What one call has seen. Layout, all i32, -1 = none:
// NaN: first element @0, infinity: first element @4, largest finite magnitude as f32 bits @8,
// blocks whose scale underflows: count @12, first @16; overflows: count @20, first @24.
import { infinity, magnitude, valueOf } from "./source"

const FACTS = memory.data(32, 16)

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
      const at: usize = bits == infinity<T>() ? FACTS + 4 : FACTS
      if (load<i32>(at) < 0) store<i32>(at, first + i)
    }
  }
  sawMagnitude<T>(top)
}
