import { type Verification, worstOf } from "../verify/Verification.ts"

/** An error or a limit, four digits behind the point or an exponent. */
export const figure = (value: number): string =>
  value === 0 ? "0" : value < 0.001 ? value.toExponential(1) : value.toFixed(4)

/** What a verification came to, in a few words. */
export const verifiedText = (verification: Verification): string => {
  const { checks, divergence, mode, skipped, tokens } = verification
  const worst = worstOf(verification)
  const closest = worst === undefined
    ? ""
    : `; closest to its limit: ${worst.program}, ${worst.tensor} with ${figure(worst.error)} of ${
      figure(worst.threshold)
    }`
  const drift = divergence === undefined
    ? ""
    : `; KL ${figure(divergence.kl)} of ${
      figure(divergence.threshold)
    }, the same token at ${divergence.agreeing} of ${divergence.positions} positions`
  const left = skipped.length === 0 ? "" : `; ${skipped.length} programs were left out of the build`
  return `${mode}, ${checks.length} outputs on ${tokens} tokens${closest}${drift}${left}`
}
