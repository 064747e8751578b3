// node:crypto because Effect's digest wants all bytes at once.
import { Effect, FileSystem } from "effect"
import { createHash } from "node:crypto"
import { readBytes } from "../source/SourceFile.ts"
import { sha256Of } from "./Stamp.ts"

const hashedUpTo = 16 * 2 ** 20
const pieces = 64
const pieceBytes = 64 * 2 ** 10

/**
 * What tells a file from others of its name without reading gigabytes: the sha256 of a small one; of a larger one that of 64 pieces of
 * 64 KiB, the first at its begin and the last at its end. Weights of another training differ everywhere; one flipped bit is not seen.
 */
export const fingerprint = Effect.fn("Fingerprint.fingerprint")(function*(path: string) {
  const fs = yield* FileSystem.FileSystem
  const bytes = Number((yield* fs.stat(path)).size)
  if (bytes <= hashedUpTo) return { bytes, sha256: yield* sha256Of(path), sample: null }
  const hash = createHash("sha256")
  for (let piece = 0; piece < pieces; piece++) {
    hash.update(yield* readBytes(path, Math.floor(piece * (bytes - pieceBytes) / (pieces - 1)), pieceBytes))
  }
  return { bytes, sha256: null, sample: hash.digest("hex") }
})
