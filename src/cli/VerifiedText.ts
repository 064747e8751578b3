import { formatError } from "../stage/report/Units.ts"
import { type Verification, worstOf } from "../verify/Verification.ts"

/** What a verification came to, in a few words. */
export const verifiedText = (verification: Verification): string => {
  const { checks, divergence, mode, skipped, tokens } = verification
  const worst = worstOf(verification)
  const closest = worst === undefined
    ? ""
    : `; closest to its limit: ${worst.program}, ${worst.tensor} with ${formatError(worst.error)} of ${
      formatError(worst.threshold)
    }`
  const drift = divergence === undefined
    ? ""
    : `; KL ${formatError(divergence.kl)} of ${
      formatError(divergence.threshold)
    }, the same token at ${divergence.agreeing} of ${divergence.positions} positions`
  const left = skipped.length === 0 ? "" : `; ${skipped.length} programs were left out of the build`
  return `${mode}, ${checks.length} outputs on ${tokens} tokens${closest}${drift}${left}`
}
