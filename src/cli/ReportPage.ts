import { Console, Effect, FileSystem, Path } from "effect"
import { readProvenance, reportPath } from "../stage/Provenance.ts"
import { InputInvalid } from "./InputInvalid.ts"
import type { ReportRequest } from "./Llima.ts"

/** `llima report`: renders a build's report from its build.json again; prints where it is. */
export const report = Effect.fn("ReportPage.report")(function*({ file, out }: ReportRequest) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const provenance = yield* readProvenance(out)
  const target = path.resolve(file ?? path.join(out, reportPath))
  const { page } = yield* Effect.promise(() => import("../stage/report/Page.ts"))
  const failed = ({ message }: { readonly message: string }) =>
    new InputInvalid({ path: target, expected: "a file that can be written", found: message })
  const temporary = `${target}.tmp`
  yield* fs.writeFileString(temporary, page(provenance)).pipe(
    Effect.andThen(fs.rename(temporary, target)),
    Effect.tapError(() => Effect.ignore(fs.remove(temporary, { force: true }))),
    Effect.mapError(failed)
  )
  yield* Console.log(target)
})
