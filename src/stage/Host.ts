// process and node:module because Effect has no service for what the machine and its libraries are.
import { Effect } from "effect"
import { createRequire } from "node:module"

const installed = createRequire(import.meta.url)

/** The version of a library that is installed beside this one; null where it is not. */
const versionOf = (library: string): string | null => {
  try {
    const { version }: { readonly version?: unknown } = installed(`${library}/package.json`)
    return typeof version === "string" ? version : null
  } catch {
    return null
  }
}

/** This machine, its runtimes, and what the process has used so far. */
export const hostFacts = Effect.sync(() => ({
  system: `${process.platform} ${process.arch}`,
  cores: navigator.hardwareConcurrency,
  node: process.versions.node,
  onnxruntime: versionOf("onnxruntime-node"),
  /** resident set at most, bytes; the system counts in KiB */
  peakMemory: process.resourceUsage().maxRSS * 1024,
  folder: process.cwd()
}))
