const binary = [["TiB", 2 ** 40], ["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]] as const

/** `1.50 GiB`, `27.3 MiB`, `512 B`: three digits, binary units. */
export const formatSize = (bytes: number): string => {
  const [unit, size] = binary.find(([, size]) => bytes >= size) ?? ["B", 1]
  const value = bytes / size
  return `${
    unit === "B" || value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)
  } ${unit}`
}

// unit, its size, digits behind the point, and the least count that is written in it: one that would round up to it has it
const decimal = [["B", 1e9, 2, 999.95e6], ["M", 1e6, 1, 999.95e3], ["K", 1e3, 1, 1e3]] as const

/** `1.24 B`, `134.5 M`, `49.0 K`, `512`: how many numbers there are. */
export const formatCount = (count: number): string => {
  const found = decimal.find(([, , , least]) => count >= least)
  if (found === undefined) return String(count)
  const [unit, size, digits] = found
  return `${(count / size).toFixed(digits)} ${unit}`
}

/** The largest binary unit of which `bytes` has at least one, and its size; for an axis. */
export const unitFor = (bytes: number): { readonly unit: string; readonly size: number } => {
  const [unit, size] = binary.find(([, size]) => bytes >= size) ?? ["B", 1]
  return { unit, size }
}

const pair = (value: number) => String(value).padStart(2, "0")

/** `850 ms`, `3.2 s`, `2 min 05 s`, `1 h 04 min`, from seconds. */
export const formatSeconds = (seconds: number): string => {
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`
  const whole = Math.round(seconds)
  return whole < 3600
    ? `${Math.floor(whole / 60)} min ${pair(whole % 60)} s`
    : `${Math.floor(whole / 3600)} h ${pair(Math.floor((whole % 3600) / 60))} min`
}

/** All of them together; 0 of none. */
export const sum = (numbers: ReadonlyArray<number>): number => numbers.reduce((total, n) => total + n, 0)

/** Bits that a weight has on average. */
export const bitsPerWeight = (sizes: ReadonlyArray<{ readonly weights: number; readonly after: number }>): number => {
  const weights = sum(sizes.map((size) => size.weights))
  return weights === 0 ? 0 : 8 * sum(sizes.map(({ after }) => after)) / weights
}

/** An error or a limit, four digits behind the point or an exponent. */
export const formatError = (value: number): string =>
  value === 0 ? "0" : value < 0.001 ? value.toExponential(1) : value.toFixed(4)

/** `1 file`, `2 files`. */
export const plural = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`
