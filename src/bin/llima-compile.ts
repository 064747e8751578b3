#!/usr/bin/env node
// Nothing is imported before this check: an older Node must get as far as the message.
const needed = 24
const found = process.versions.node
if (Number(found.split(".")[0]) < needed) {
  process.stderr.write(`llima-compile needs Node ${needed} or newer; this is v${found}\n`)
  process.exitCode = 2
} else {
  void import("./compile.ts").then(({ main }) => main())
}
