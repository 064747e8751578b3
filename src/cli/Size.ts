const units: Readonly<Record<string, number>> = {
  "": 1,
  B: 1,
  K: 1e3,
  KB: 1e3,
  KIB: 2 ** 10,
  M: 1e6,
  MB: 1e6,
  MIB: 2 ** 20,
  G: 1e9,
  GB: 1e9,
  GIB: 2 ** 30,
  T: 1e12,
  TB: 1e12,
  TIB: 2 ** 40
}

/** Bytes of `4GB`, `512MiB`, `1.5G` or a plain number; undefined when it is none of these. */
export const parseSize = (text: string): number | undefined => {
  const match = /^(\d+(?:\.\d+)?)\s*([A-Za-z]*)$/.exec(text.trim())
  const unit = units[(match?.[2] ?? "").toUpperCase()]
  return match === null || unit === undefined ? undefined : Math.floor(Number(match[1]) * unit)
}

const binary = [["TiB", 2 ** 40], ["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]] as const

/** `1.50 GiB`, `27.3 MiB`, `512 B`: three digits, binary units. */
export const formatSize = (bytes: number): string => {
  const [unit, size] = binary.find(([, size]) => bytes >= size) ?? ["B", 1]
  const value = bytes / size
  return `${
    unit === "B" || value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)
  } ${unit}`
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
