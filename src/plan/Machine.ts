import { Effect, FileSystem } from "effect"
import { defaults, ranges } from "./Request.ts"

const text = (path: string): Effect.Effect<string, never, FileSystem.FileSystem> =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    return yield* fs.readFileString(path)
  }).pipe(Effect.orElseSucceed(() => ""))

const value = (block: string, key: string) => new RegExp(`^${key}\\s*:\\s*(\\d+)`, "m").exec(block)?.[1]

/** Cores in Linux's `/proc/cpuinfo`: pairs of package and core, so that two threads of one core count once; 0 when it names none. */
export const coresOf = (cpuinfo: string): number => {
  const cores = cpuinfo.split(/\n\s*\n/).flatMap((block) => {
    const core = value(block, "core id")
    return core === undefined ? [] : [`${value(block, "physical id") ?? "0"}/${core}`]
  })
  return new Set(cores).size
}

/** Physical cores that this process may use; all logical ones where the system does not tell. */
export const physicalCores: Effect.Effect<number, never, FileSystem.FileSystem> = Effect.map(
  text("/proc/cpuinfo"),
  (cpuinfo) => {
    const allowed = navigator.hardwareConcurrency
    const cores = coresOf(cpuinfo)
    return Math.max(1, cores === 0 ? allowed : Math.min(cores, allowed))
  }
)

/** Bytes that Linux says can be taken without swapping (`MemAvailable` of `/proc/meminfo`), if it says so. */
export const availableOf = (meminfo: string): number | undefined => {
  const kibibytes = /^MemAvailable:\s*(\d+) kB/m.exec(meminfo)?.[1]
  return kibibytes === undefined ? undefined : Number(kibibytes) * 1024
}

/** Half of what is free in bytes, within the container's limit; 2 GiB where the system does not tell. */
export const halfOfFreeMemory: Effect.Effect<number, never, FileSystem.FileSystem> = Effect.gen(function*() {
  const available = availableOf(yield* text("/proc/meminfo"))
  const limit = Number.parseInt(yield* text("/sys/fs/cgroup/memory.max"), 10)
  const used = Number.parseInt(yield* text("/sys/fs/cgroup/memory.current"), 10)
  const inside = Number.isFinite(limit) && Number.isFinite(used) ? Math.max(0, limit - used) : Number.POSITIVE_INFINITY
  if (available === undefined) return defaults.maxMemory
  return Math.max(ranges.maxMemory.from, Math.floor(Math.min(available, inside) / 2))
})
