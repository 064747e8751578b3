import { Console, Effect, Path, Result } from "effect"
import { CompileRequest } from "../plan/Request.ts"
import { Progress } from "../stage/Progress.ts"
import { readProvenance, requestOf } from "../stage/Provenance.ts"
import { formatError } from "../stage/report/Units.ts"
import { servicesFor } from "../stage/Services.ts"
import { builtJob } from "../stage/verification/BuiltJob.ts"
import { checkFiles, checkSource } from "../stage/verification/Unchanged.ts"
import { Verifier } from "../stage/Verifier.ts"
import type { Verification } from "../verify/Verification.ts"
import { InputInvalid } from "./InputInvalid.ts"
import type { VerifyRequest } from "./Llima.ts"
import { columns } from "./Table.ts"
import { verifiedText } from "./VerifiedText.ts"

/** The largest error of every output by part and precision. */
const tableOf = ({ checks }: Verification): ReadonlyArray<string> => {
  const kinds = Map.groupBy(
    checks,
    ({ precision, program, tensor }) => `${program.replace(/_\d+$/, "")} ${tensor} ${precision}`
  )
  const rows = [...kinds.values()].flatMap((alike) => {
    const worst = alike.reduce((a, b) => b.error > a.error ? b : a)
    const { error, largest, precision, program, tensor, threshold } = worst
    return [[program, tensor, precision, formatError(error), formatError(threshold), formatError(largest)]]
  })
  return columns([["worst program", "output", "precision", "error", "limit", "largest difference"], ...rows], [3, 4, 5])
}

/** `llima verify`: a finished build beside its float model; leaves with 6 when it misses. */
export const verify = Effect.fn("Verify.verify")(function*({ json, mode, model: named, out }: VerifyRequest) {
  const path = yield* Path.Path
  const output = path.resolve(out)
  const made = yield* Effect.result(readProvenance(output))
  if (Result.isFailure(made) && named === undefined) {
    return yield* new InputInvalid({
      path: output,
      expected: "the checkpoint that the build was made of",
      found: `nothing that names it (${made.failure.message}); add --model MODEL_PATH`
    })
  }
  const model = named ?? Result.getOrThrow(Result.map(made, requestOf)).modelPath
  const work = Effect.gen(function*() {
    const progress = yield* Progress
    const verifier = yield* Verifier
    // what a changed file does to the numbers is told first: it names part and tensor
    const unchanged = yield* Effect.result(Result.isSuccess(made) ? checkFiles(output, made.success) : Effect.void)
    const job = yield* builtJob(output, model)
    if (Result.isSuccess(made)) yield* checkSource(output, made.success, job.checkpoint)
    else yield* Effect.logWarning(`${made.failure.message}: the files are not compared with what was built`)
    const layers = job.model.facts.layers.length
    yield* progress.plan([{ name: "VERIFY", unit: "steps", total: layers, weight: layers }])
    const verification = yield* verifier.verify(job, { mode, output, advance: () => progress.advance("VERIFY", 1) })
    yield* progress.done("VERIFY")
    yield* Effect.fromResult(unchanged)
    return verification
  }).pipe(
    Effect.provide(servicesFor(CompileRequest.make({ modelPath: model, output }))),
    Effect.tapError((error) =>
      json && error._tag === "VerificationFailed" ? Console.log(JSON.stringify(error.verification)) : Effect.void
    )
  )
  const verification = yield* work
  yield* Console.log(
    json ? JSON.stringify(verification) : [...tableOf(verification), "", verifiedText(verification)].join("\n")
  )
})
