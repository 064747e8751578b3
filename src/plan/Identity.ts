// node:crypto because a plan is a pure value: Effect's digest is asynchronous, and the keys of a thousand steps take milliseconds.
import { createHash } from "node:crypto"

/** Raised when the bytes that a step writes change for the same inputs: every older stamp is then stale. */
export const formatVersion = 1

const canonical = (value: unknown): unknown =>
  Array.isArray(value)
    ? value.map(canonical)
    : value instanceof Uint8Array
    ? createHash("sha256").update(value).digest("hex")
    : typeof value === "object" && value !== null
    ? Object.fromEntries(
      Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1).map(([key, item]) => [key, canonical(item)])
    )
    : value

/** The sha256 (hex) of a value's JSON with sorted keys; byte arrays count by their content. */
export const keyOf = (value: unknown): string =>
  createHash("sha256").update(JSON.stringify([formatVersion, canonical(value)])).digest("hex")
