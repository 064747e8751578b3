import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, layer } from "@effect/vitest"
import { Effect, FileSystem, Path, Runtime } from "effect"
import { join } from "node:path"
import * as Checkpoint from "../../src/source/Checkpoint.ts"

const fixtures = join(import.meta.dirname, "../fixtures")
const control = join(fixtures, "negative/control")

/** A folder that holds the control's files, changed by `change`, under `name`. */
const changed = (
  change: (folder: string, fs: FileSystem.FileSystem) => Effect.Effect<unknown, unknown>,
  name = "model"
) =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const folder = join(yield* fs.makeTempDirectoryScoped(), name)
    yield* fs.makeDirectory(folder, { recursive: true })
    for (const file of yield* fs.readDirectory(control)) yield* fs.copyFile(join(control, file), join(folder, file))
    yield* change(folder, fs)
    return folder
  })

const failure = (change: (folder: string, fs: FileSystem.FileSystem) => Effect.Effect<unknown, unknown>) =>
  Effect.flatMap(changed(change), (folder) => Effect.flip(Checkpoint.open(folder)))

/** The control's folder with the two shards of the safetensors fixtures as weights. */
const sharded = (folder: string, fs: FileSystem.FileSystem) =>
  Effect.gen(function*() {
    yield* fs.remove(join(folder, "model.safetensors"))
    const from = join(fixtures, "safetensors/sharded")
    for (const file of yield* fs.readDirectory(from)) yield* fs.copyFile(join(from, file), join(folder, file))
  })

const indexOf = (folder: string) => join(folder, "model.safetensors.index.json")

layer(NodeServices.layer)("open", (it) => {
  it.effect("gives configuration, tensors, files and companions of a folder", () =>
    Effect.gen(function*() {
      const paths = yield* Path.Path
      const checkpoint = yield* Checkpoint.open(paths.relative(process.cwd(), control))
      assert.strictEqual(checkpoint.path, control)
      assert.strictEqual(checkpoint.name, "control")
      assert.deepInclude(checkpoint.config, { model_type: "llama", hidden_size: 16 })
      assert.strictEqual(checkpoint.tensors.size, 20)
      assert.deepStrictEqual(checkpoint.tensors.get("model.norm.weight")?.shape, [16])
      assert.deepStrictEqual(checkpoint.companions, [
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json"
      ])
      assert.isDefined(checkpoint.generationConfig)
      assert.deepStrictEqual(
        checkpoint.files.map(({ path }) => paths.basename(path)),
        ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
      )
      assert.strictEqual(checkpoint.files[2]?.bytes, 19600)
      assert.isAbove(checkpoint.files[2]?.mtimeMillis ?? 0, 0)
      assert.deepStrictEqual(checkpoint.warnings, [])
    }))

  it.effect("reads a sharded checkpoint", () =>
    Effect.gen(function*() {
      const folder = yield* changed(sharded)
      const checkpoint = yield* Checkpoint.open(folder)
      assert.deepStrictEqual(
        Array.from(checkpoint.tensors.values(), ({ name, range }) => [name, range]).sort(),
        [
          ["a.weight", { file: join(folder, "model-00001-of-00002.safetensors"), offset: 184, length: 24 }],
          ["b.weight", { file: join(folder, "model-00001-of-00002.safetensors"), offset: 168, length: 16 }],
          ["c.weight", { file: join(folder, "model-00002-of-00002.safetensors"), offset: 104, length: 48 }]
        ]
      )
    }))

  it.effect("follows the symbolic links of a Hugging Face cache, and calls it by the repository's name", () =>
    Effect.gen(function*() {
      const name = "models--org--tiny-llama/snapshots/0123abc"
      const folder = yield* changed((folder, fs) =>
        Effect.andThen(
          fs.rename(join(folder, "model.safetensors"), join(folder, "../blob")),
          fs.symlink("../blob", join(folder, "model.safetensors"))
        ), name)
      const fs = yield* FileSystem.FileSystem
      const checkpoint = yield* Checkpoint.open(folder)
      assert.strictEqual(checkpoint.name, "tiny-llama")
      const weights = checkpoint.files.find(({ path }) => path.endsWith("model.safetensors"))
      assert.strictEqual(weights?.real, yield* fs.realPath(join(folder, "../blob")))
      assert.strictEqual(weights?.bytes, 19600)
    }))

  it.effect("warns of code that comes with the model, and of tensors that the index leaves out", () =>
    Effect.gen(function*() {
      const folder = yield* changed((folder, fs) =>
        Effect.gen(function*() {
          yield* sharded(folder, fs)
          yield* fs.writeFileString(
            join(folder, "config.json"),
            "{\"auto_map\": {\"AutoModel\": \"x.Y\"}, \"limit\": [0, Infinity]}"
          )
          yield* fs.writeFileString(
            indexOf(folder),
            "{\"weight_map\": {\"a.weight\": \"model-00001-of-00002.safetensors\"}}"
          )
        })
      )
      const { config, tensors, warnings } = yield* Checkpoint.open(folder)
      assert.deepStrictEqual([...tensors.keys()], ["a.weight"])
      assert.deepStrictEqual(config["limit"], [0, Infinity])
      assert.include(warnings[0], "auto_map")
      assert.include(warnings[1], "model-00001-of-00002.safetensors: 1 tensors")
    }))

  it.effect.each(
    [
      ["HeaderInvalid", "{\"weight_map\": {\"z\": \"model-00001-of-00002.safetensors\"}}"],
      ["PathEscapes", "{\"weight_map\": {\"z\": \"..\"}}"],
      ["PathEscapes", "{\"weight_map\": {\"z\": \"/etc/passwd\"}}"],
      ["PathEscapes", "{\"weight_map\": {\"z\": \"a\\\\b\"}}"],
      ["IndexInvalid", "{\"weight_map\": {\"z\": 1}}"],
      ["IndexInvalid", "{\"weight_map\": []}"],
      ["IndexInvalid", "[]"],
      ["JsonInvalid", "{\"weight_map\": {\"z\": \"a\", \"z\": \"b\"}}"]
    ] as const
  )("gives %s for the index %s", ([tag, index]) =>
    Effect.gen(function*() {
      const error = yield* failure((folder, fs) =>
        Effect.andThen(sharded(folder, fs), fs.writeFileString(indexOf(folder), index))
      )
      assert.strictEqual(error.reason._tag, tag)
    }))

  it.effect.each(
    [
      ["GGUF", "GGUF\x03\0\0\0", "HeaderInvalid", "GGUF", 3],
      ["a file of something else", "hello world", "NotRecognised", "\"hello wo\"", 3],
      ["a zip archive", "PK\x03\x04....", "NotRecognised", "zip archive", 3],
      ["an empty file", "", "NotRecognised", "an empty file", 3],
      ["a pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n", "PointerFile", "12 bytes", 3]
    ] as const
  )("says what %s is", ([, content, tag, mention, code]) =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const file = join(yield* fs.makeTempDirectoryScoped(), "model")
      yield* fs.writeFileString(file, content)
      const error = yield* Effect.flip(Checkpoint.open(file))
      assert.strictEqual(error.reason._tag, tag)
      assert.include(error.message, mention)
      assert.strictEqual(error[Runtime.errorExitCode], code)
    }))

  it.effect.each(
    [
      [[], "an empty folder", 3],
      [["adapter_config.json"], "LoRA adapter", 3],
      [["model_index.json"], "diffusers", 3],
      [["params.json"], "original checkpoint", 3],
      [["a.gguf", "b.gguf"], "several GGUF models (a.gguf, b.gguf)", 3],
      [["tokenizer.json"], "config.json is missing", 3],
      [["holiday.jpg"], "found holiday.jpg", 3]
    ] as const
  )("says what a folder of %j is", ([files, mention, code]) =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const folder = yield* fs.makeTempDirectoryScoped()
      for (const file of files) yield* fs.writeFileString(join(folder, file), "")
      const error = yield* Effect.flip(Checkpoint.open(folder))
      assert.include(error.message, mention)
      assert.strictEqual(error[Runtime.errorExitCode], code)
    }))

  it.effect.each(
    [
      ["{\"text_config\": {\"quantization_config\": {\"quant_method\": \"hqq\"}}}", "method hqq is not supported"],
      ["{\"quantization_config\": {\"load_in_4bit\": true}}", "method bitsandbytes is not supported"],
      ["{\"quantization_config\": {\"quant_method\": \"constructor\"}}", "method constructor is not supported"],
      ["{\"quantization_config\": {\"bits\": 4}}", "quant_method is missing"]
    ] as const
  )("refuses the quantisation of %s", ([config, mention]) =>
    Effect.gen(function*() {
      const error = yield* failure((folder, fs) => fs.writeFileString(join(folder, "config.json"), config))
      assert.strictEqual(error.reason._tag, "UnsupportedQuantization")
      assert.include(error.message, mention)
      assert.strictEqual(error[Runtime.errorExitCode], 4)
    }))

  it.effect.each(
    [
      ["[]", "expected a JSON object, found an array"],
      ["3", "expected a JSON object, found 3"],
      ["{\"a\": \"\\ud800\"}", "half of a surrogate pair"],
      ["", "found the end"]
    ] as const
  )("refuses the config %j", ([config, mention]) =>
    Effect.gen(function*() {
      const error = yield* failure((folder, fs) => fs.writeFileString(join(folder, "config.json"), config))
      assert.include(error.message, mention)
      assert.strictEqual(error[Runtime.errorExitCode], 3)
    }))

  it.effect("tells weights without their index, a folder in place of a file, and a path that is not there", () =>
    Effect.gen(function*() {
      const noIndex = yield* failure((folder, fs) => Effect.andThen(sharded(folder, fs), fs.remove(indexOf(folder))))
      assert.include(noIndex.message, "download model.safetensors.index.json")
      const isFolder = yield* failure((folder, fs) =>
        Effect.andThen(
          fs.remove(join(folder, "model.safetensors")),
          fs.makeDirectory(join(folder, "model.safetensors"))
        )
      )
      assert.include(isFolder.message, "it is a Directory, not a file")
      const absent = yield* Effect.flip(Checkpoint.open(join(control, "nowhere")))
      assert.strictEqual(absent.reason._tag, "NotFound")
    }))

  it.effect("refuses a tokenizer that is a pointer, and says how to make one from tokenizer.model", () =>
    Effect.gen(function*() {
      const pointer = yield* failure((folder, fs) =>
        fs.copyFile(join(fixtures, "negative/pointer-file/model.safetensors"), join(folder, "tokenizer.json"))
      )
      assert.strictEqual(pointer.reason._tag, "PointerFile")
      assert.include(pointer.message, "tokenizer.json")
      const old = yield* failure((folder, fs) =>
        fs.rename(join(folder, "tokenizer.json"), join(folder, "tokenizer.model"))
      )
      assert.include(old.message, "save_pretrained")
    }))
})
