import { Effect, FileSystem, Option, Path } from "effect"
import type { Checkpoint } from "../../source/Checkpoint.ts"
import { FilesChanged } from "../../verify/VerificationFailed.ts"
import { workspaceFailure } from "../Disk.ts"
import { fingerprint } from "../Fingerprint.ts"
import type { Provenance } from "../Provenance.ts"
import { OtherSource } from "../StageError.ts"
import { sha256Of } from "../Stamp.ts"
import { forget } from "../Standing.ts"

const told = (bytes: number, hash: string | null): string =>
  `${bytes} bytes${hash === null ? "" : ` with sha256 ${hash.slice(0, 12)}…`}`

/**
 * Fails for shipped files that are not what build.json says; their steps' stamps go, so that `--resume` makes them again. A changed
 * number in a program of 4 bits is no larger an error than rounding, and only its file's hash tells.
 */
export const checkFiles = Effect.fn("Unchanged.checkFiles")(function*(output: string, { artifacts }: Provenance) {
  const fs = yield* FileSystem.FileSystem
  const paths = yield* Path.Path
  const compared = yield* Effect.forEach(
    artifacts,
    Effect.fnUntraced(function*({ bytes, path, sha256 }) {
      const file = paths.join(output, path)
      const size = yield* Effect.option(Effect.map(fs.stat(file), (info) => Number(info.size)))
      if (Option.isNone(size)) return [{ path, expected: told(bytes, sha256), found: "no such file" }]
      if (size.value !== bytes) return [{ path, expected: told(bytes, sha256), found: told(size.value, null) }]
      const hash = yield* Effect.mapError(sha256Of(file), workspaceFailure(file))
      return hash === sha256 ? [] : [{ path, expected: told(bytes, sha256), found: told(bytes, hash) }]
    })
  )
  const files = compared.flat()
  if (files.length === 0) return
  yield* forget(output, files.map(({ path }) => path))
  return yield* new FilesChanged({ files })
})

/** Fails for a checkpoint whose files are not those that build.json names. */
export const checkSource = Effect.fn("Unchanged.checkSource")(function*(
  output: string,
  { source }: Provenance,
  checkpoint: Checkpoint
) {
  const { basename } = yield* Path.Path
  const present = new Map(checkpoint.files.map(({ path }) => [basename(path), path]))
  for (const { bytes, name, sample, sha256 } of source.files) {
    const path = present.get(name)
    const expected = told(bytes, sha256 ?? sample)
    const found = path === undefined
      ? undefined
      : yield* Effect.mapError(fingerprint(path), workspaceFailure(path))
    if (found?.bytes === bytes && found.sha256 === sha256 && found.sample === sample) continue
    return yield* new OtherSource({
      output,
      source: checkpoint.path,
      file: name,
      expected,
      found: found === undefined ? "no such file" : told(found.bytes, found.sha256 ?? found.sample)
    })
  }
})
