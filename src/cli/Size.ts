export { formatCount, formatSeconds, formatSize } from "../stage/report/Units.ts"

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
