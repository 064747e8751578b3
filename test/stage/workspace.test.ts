import { NodeServices } from "@effect/platform-node"
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Exit, Fiber, FileSystem, Option, Path, Runtime } from "effect"
import { spawn } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync } from "node:fs"
import { hostname } from "node:os"
import { workspaceFailure } from "../../src/stage/Disk.ts"
import { Workspace } from "../../src/stage/Workspace.ts"
import { NoSpace, WorkspaceError } from "../../src/stage/WorkspaceError.ts"

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex")

const folder = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  return `${yield* fs.makeTempDirectoryScoped()}/out`
})

/** Opens the folder for as long as `use` runs. */
const within = <A, E, R>(
  root: string,
  use: (workspace: Workspace["Service"]) => Effect.Effect<A, E, R>,
  force = false
) =>
  Effect.gen(function*() {
    return yield* use(yield* Workspace)
  }).pipe(Effect.provide(Workspace.layer(root, { force })))

const put = (workspace: Workspace["Service"], name: string, text: string) =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    yield* workspace.publish(name, (temporary) => fs.writeFileString(temporary, text))
  })

const archive = "sima_files/mpk/layer_0.tar.gz"

layer(NodeServices.layer, { excludeTestServices: true })("Workspace", (it) => {
  describe("layer", () => {
    it.effect("makes the folder, and opens an empty one and an earlier build", () =>
      Effect.gen(function*() {
        const root = yield* folder
        yield* within(root, (workspace) => put(workspace, "build.json", "{}"))
        yield* within(root, (workspace) => put(workspace, "build.json", "{}"))
      }))

    it.effect("refuses a folder that holds other files, and leaves it as it is", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const root = yield* folder
        yield* fs.makeDirectory(root)
        yield* fs.writeFileString(`${root}/thesis.tex`, "x")
        const error = yield* Effect.flip(within(root, () => Effect.void))
        assert.strictEqual(error[Runtime.errorExitCode], 3)
        assert.deepInclude(error.reason, { _tag: "ForeignFolder", found: ["thesis.tex"] })
        assert.deepStrictEqual(yield* fs.readDirectory(root), ["thesis.tex"])
      }))

    it.effect("builds beside other files with force, and keeps them", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const root = yield* folder
        yield* fs.makeDirectory(root)
        yield* fs.writeFileString(`${root}/thesis.tex`, "x")
        yield* within(root, (workspace) => workspace.sweep([]), true)
        assert.strictEqual(yield* fs.readFileString(`${root}/thesis.tex`), "x")
      }))

    it.effect("removes what a killed run left half written, and nothing else", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const root = yield* folder
        yield* within(root, (workspace) => put(workspace, archive, "whole"))
        yield* fs.writeFileString(`${root}/${archive}.tmp-7`, "half")
        yield* fs.writeFileString(`${root}/.llima/steps/a.json.tmp-1`, "half")
        yield* within(root, () => Effect.void)
        assert.deepStrictEqual(yield* fs.readDirectory(`${root}/sima_files/mpk`), ["layer_0.tar.gz"])
        assert.deepStrictEqual(yield* fs.readDirectory(`${root}/.llima/steps`), [])
      }))

    it.effect("refuses a folder that another run holds, and frees it at the end", () =>
      Effect.gen(function*() {
        const root = yield* folder
        const error = yield* within(root, () => Effect.flip(within(root, () => Effect.void)))
        assert.deepInclude(error.reason, { _tag: "FolderInUse", pid: process.pid, host: hostname() })
        yield* within(root, () => Effect.void)
      }))

    it.effect("takes over the lock of a process that is dead, or whose id another process has by now", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const root = yield* folder
        yield* within(root, () => Effect.void)
        const dead = { pid: 2 ** 22 + 1, host: hostname(), started: null }
        const reused = { pid: process.pid, host: hostname(), started: "1" }
        for (const holder of [dead, reused]) {
          yield* fs.writeFileString(`${root}/.llima/lock`, JSON.stringify(holder))
          yield* within(root, () => Effect.void)
        }
        yield* fs.writeFileString(`${root}/.llima/lock`, "cut o")
        yield* within(root, () => Effect.void)
        assert.deepStrictEqual(yield* fs.readDirectory(`${root}/.llima`), ["steps"])
      }))

    it.effect.skipIf(process.platform !== "linux")(
      "takes over the lock of a killed process whose parent has not waited for it (Linux: /proc tells)",
      () =>
        Effect.gen(function*() {
          const fs = yield* FileSystem.FileSystem
          const root = yield* folder
          yield* within(root, () => Effect.void)
          // The shell starts a process that waits for a line, and becomes one that never waits for it. Only then comes the line.
          const shell = yield* Effect.acquireRelease(
            Effect.sync(() => spawn("sh", ["-c", "exec 3<&0; read line <&3 & echo $!; exec sleep 60"])),
            (child) => Effect.sync(() => child.kill("SIGKILL"))
          )
          const pid = yield* Effect.promise(
            () => new Promise<number>((resolve) => shell.stdout.once("data", (text) => resolve(Number(String(text)))))
          )
          const name = fs.readFileString(`/proc/${shell.pid ?? 0}/comm`)
          yield* Effect.repeat(name, { until: (found) => found.trim() === "sleep" })
          yield* Effect.sync(() => shell.stdin.end("\n"))
          const state = Effect.map(fs.readFileString(`/proc/${pid}/stat`), (text) => text.split(") ")[1]?.[0])
          yield* Effect.repeat(state, { until: (found) => found === "Z" })
          yield* fs.writeFileString(
            `${root}/.llima/lock`,
            JSON.stringify({ pid, host: hostname(), started: null })
          )
          yield* within(root, () => Effect.void)
        }).pipe(Effect.scoped)
    )

    it.effect("does not judge the lock of another machine", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const root = yield* folder
        yield* within(root, () => Effect.void)
        yield* fs.writeFileString(`${root}/.llima/lock`, JSON.stringify({ pid: 1, host: "elsewhere", started: null }))
        const error = yield* Effect.flip(within(root, () => Effect.void))
        assert.match(error.message, /process 1 on elsewhere .* remove .*\.llima\/lock/)
      }))

    it.effect.skipIf(process.platform !== "linux")(
      "says that it may not write (Linux: root may not either in /sys)",
      () =>
        Effect.gen(function*() {
          const error = yield* Effect.flip(within("/sys/llima-out", () => Effect.void))
          assert.deepInclude(error, { path: "/sys/llima-out", [Runtime.errorExitCode]: 3 })
          assert.strictEqual(error.reason._tag, "NotWritable")
        })
    )

    it.effect("names the path that is a file and no folder", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const root = yield* folder
        yield* fs.writeFileString(root, "x")
        const error = yield* Effect.flip(within(root, () => Effect.void))
        assert.strictEqual(error.path, root)
        assert.include(error.message, "a file stands where a folder belongs; move it away, or choose another --output")
      }))

    it.effect.skipIf(process.platform !== "linux")("says where no folder can be made", () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(within("/proc/nope", () => Effect.void))
        assert.strictEqual(
          error.message,
          "/proc/nope: cannot be made or read: there is no such file or folder; check the path, or choose another --output"
        )
      }))

    it.effect("says that a folder stands where a file belongs", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const root = yield* folder
        yield* fs.makeDirectory(`${root}/${archive}`, { recursive: true })
        const error = yield* Effect.flip(within(root, (workspace) => put(workspace, archive, "x"), true))
        assert.include(error.message, "a folder stands where a file belongs; move it away")
      }))
  })

  describe("publish", () => {
    it.effect("shows the file only when it is whole", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const root = yield* folder
        yield* within(root, (workspace) =>
          workspace.publish(archive, (temporary) =>
            Effect.gen(function*() {
              yield* fs.writeFileString(temporary, "whole")
              assert.isFalse(yield* fs.exists(`${root}/${archive}`))
            })))
        assert.deepStrictEqual(yield* fs.readDirectory(`${root}/sima_files/mpk`), ["layer_0.tar.gz"])
      }))

    it.effect("leaves the old file and no temporary one when writing fails or is interrupted", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const root = yield* folder
        yield* within(root, (workspace) =>
          Effect.gen(function*() {
            yield* put(workspace, archive, "old")
            const half = (end: Effect.Effect<void, string>) =>
              workspace.publish(archive, (temporary) => Effect.andThen(fs.writeFileString(temporary, "half"), end))
            assert.strictEqual(yield* Effect.flip(half(Effect.fail("no"))), "no")
            const fiber = yield* Effect.forkChild(half(Effect.never), { startImmediately: true })
            yield* Fiber.interrupt(fiber)
            assert.isTrue(Exit.isFailure(yield* Fiber.await(fiber)))
          }))
        assert.deepStrictEqual(yield* fs.readDirectory(`${root}/sima_files/mpk`), ["layer_0.tar.gz"])
        assert.strictEqual(yield* fs.readFileString(`${root}/${archive}`), "old")
      }))

    it.effect("refuses a name that leaves the folder", () =>
      Effect.gen(function*() {
        const root = yield* folder
        yield* within(root, (workspace) =>
          Effect.gen(function*() {
            for (const name of ["../x", "/etc/x", `${root}-other/x`, "."]) {
              const error = yield* Effect.flip(workspace.publish(name, () => Effect.die("was called")))
              assert.strictEqual(error.reason._tag, "OutsideFolder")
            }
          }))
      }))

    it.effect("says before it writes that the disk has too little, with the bytes needed and free", () =>
      Effect.gen(function*() {
        const root = yield* folder
        yield* within(root, (workspace) =>
          Effect.gen(function*() {
            const error = yield* Effect.flip(workspace.publish(archive, () => Effect.die("was called"), 2 ** 52))
            assert.strictEqual(error[Runtime.errorExitCode], 7)
            if (!(error.reason instanceof NoSpace)) return assert.fail(error.reason._tag)
            assert.strictEqual(error.reason.needed, 2 ** 52)
            assert.isAbove(error.reason.free ?? 0, 0)
          }))
      }))
  })

  describe("workspaceFailure", () => {
    it.effect.skipIf(process.platform !== "linux")(
      "knows a full disk in the file system's own error (Linux: /dev/full)",
      () =>
        Effect.gen(function*() {
          const fs = yield* FileSystem.FileSystem
          const full = yield* Effect.flip(fs.writeFileString("/dev/full", "x"))
          const error = workspaceFailure("/out", { needed: 1, free: 0 })(full)
          assert.strictEqual(error[Runtime.errorExitCode], 7)
          assert.deepInclude(error.reason, { _tag: "NoSpace", needed: 1, free: 0 })
        })
    )
  })

  describe("linkSource", () => {
    it.effect("follows symbolic links, keeps the name, takes no copy on one disk, and can be repeated", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const path = yield* Path.Path
        const root = yield* folder
        const cache = path.dirname(root)
        yield* fs.writeFileString(`${cache}/5f3a`, "weights")
        yield* fs.symlink(`${cache}/5f3a`, `${cache}/model.safetensors`)
        for (const _ of [1, 2]) {
          const linked = yield* within(
            root,
            (workspace) => workspace.linkSource(`${cache}/model.safetensors`, "onnx_files/weights")
          )
          assert.deepInclude(linked, { path: `${root}/onnx_files/weights/model.safetensors`, bytes: 7 })
          assert.notStrictEqual(linked.how, "copy")
          assert.strictEqual(yield* fs.readFileString(linked.path), "weights")
          assert.deepStrictEqual(yield* fs.readDirectory(`${root}/onnx_files/weights`), ["model.safetensors"])
        }
      }))

    it.effect.skipIf(!existsSync("/dev/shm"))(
      "copies from another disk (skipped without /dev/shm, which is one)",
      () =>
        Effect.gen(function*() {
          const fs = yield* FileSystem.FileSystem
          const root = yield* folder
          const source = `${yield* fs.makeTempDirectoryScoped({ directory: "/dev/shm" })}/model.safetensors`
          yield* fs.writeFileString(source, "weights")
          const linked = yield* within(root, (workspace) => workspace.linkSource(source, "onnx_files/weights"))
          assert.strictEqual(linked.how, "copy")
          assert.strictEqual(yield* fs.readFileString(linked.path), "weights")
        })
    )

    it.effect("names the file that is not there", () =>
      Effect.gen(function*() {
        const root = yield* folder
        const error = yield* Effect.flip(
          within(root, (workspace) => workspace.linkSource(`${root}/gone`, "onnx_files/weights"))
        )
        assert.instanceOf(error, WorkspaceError)
        assert.strictEqual(error.path, `${root}/gone`)
      }))
  })

  describe("fresh", () => {
    const recorded = Effect.gen(function*() {
      const root = yield* folder
      yield* within(root, (workspace) =>
        Effect.gen(function*() {
          yield* put(workspace, archive, "whole")
          yield* workspace.record("compile/layer_0", "key", [{ path: archive }], { seconds: 2 })
        }))
      return {
        root,
        file: `${root}/${archive}`,
        ask: (key: string) => within(root, ({ fresh }) => fresh("compile/layer_0", key))
      }
    })

    it.effect("is true for the same key and whole outputs, false for another key and for a step that never ran", () =>
      Effect.gen(function*() {
        const { ask, root } = yield* recorded
        assert.isTrue(yield* ask("key"))
        assert.isFalse(yield* ask("another"))
        assert.isFalse(yield* within(root, ({ fresh }) => fresh("compile/layer_1", "key")))
      }))

    it.effect("notices an output that is gone, shorter, or changed in place", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const { ask, file } = yield* recorded
        yield* fs.writeFileString(file, "whxle")
        yield* fs.utimes(file, new Date(0), new Date(0))
        assert.isFalse(yield* ask("key"))
        yield* fs.writeFileString(file, "whol")
        assert.isFalse(yield* ask("key"))
        yield* fs.remove(file)
        assert.isFalse(yield* ask("key"))
      }))

    it.effect("takes a file with another time and the same content, and remembers the time", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const { ask, file, root } = yield* recorded
        yield* fs.utimes(file, new Date(1e12), new Date(1e12))
        assert.isTrue(yield* ask("key"))
        const stamp = yield* within(root, (workspace) => workspace.stamp("compile/layer_0"))
        assert.deepStrictEqual(Option.getOrThrow(stamp), {
          format: 1,
          key: "key",
          outputs: [{ path: archive, bytes: 5, mtimeMillis: 1e12, sha256: sha256("whole") }],
          facts: { seconds: 2 }
        })
      }))

    it.effect("does not believe a damaged stamp", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const { ask, root } = yield* recorded
        const stamp = `${root}/.llima/steps/compile%2Flayer_0.json`
        yield* fs.writeFileString(stamp, (yield* fs.readFileString(stamp)).slice(0, -9))
        assert.isFalse(yield* ask("key"))
      }))
  })

  describe("record", () => {
    it.effect("keeps the hash that it is given, and fails for an output that is not there", () =>
      Effect.gen(function*() {
        const root = yield* folder
        yield* within(root, (workspace) =>
          Effect.gen(function*() {
            yield* put(workspace, archive, "whole")
            yield* workspace.record("a", "key", [{ path: `${root}/${archive}`, sha256: "given" }])
            const stamp = Option.getOrThrow(yield* workspace.stamp("a"))
            assert.deepStrictEqual(stamp.outputs.map((output) => [output.path, output.sha256]), [[archive, "given"]])
            const error = yield* Effect.flip(workspace.record("b", "key", [{ path: "gone", sha256: "x" }]))
            assert.strictEqual(error.path, `${root}/gone`)
            assert.isTrue(Option.isNone(yield* workspace.stamp("b")))
          }))
      }))
  })

  describe("sweep", () => {
    it.effect("removes the outputs and stamps of steps that are no longer planned", () =>
      Effect.gen(function*() {
        const root = yield* folder
        yield* within(root, (workspace) =>
          Effect.gen(function*() {
            const other = "sima_files/mpk/layer_9.tar.gz"
            for (const name of [archive, other, "sima_files/devkit/vlm_config.json"]) yield* put(workspace, name, name)
            yield* workspace.record("layer_0", "key", [{ path: archive }])
            yield* workspace.record("layer_9", "key", [{ path: other }])
            assert.deepStrictEqual(yield* workspace.sweep(["layer_0"]), [".llima/steps/layer_9.json", other])
            assert.isTrue(yield* workspace.fresh("layer_0", "key"))
            assert.isTrue(Option.isNone(yield* workspace.stamp("layer_9")))
            assert.deepStrictEqual(yield* workspace.sweep(["layer_0"]), [])
          }))
      }))
  })
})
