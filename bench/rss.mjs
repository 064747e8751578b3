// Loaded before a program (`node --import`): leaves its peak resident bytes in the file LLIMA_BENCH_RSS names. resourceUsage() would
// also count what the parent had at the fork.
import { readFileSync, writeFileSync } from "node:fs"

process.on("exit", () => {
  const file = process.env["LLIMA_BENCH_RSS"]
  if (file === undefined) return
  const kibibytes = /VmHWM:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1]
  writeFileSync(file, String(Number(kibibytes) * 1024))
})
