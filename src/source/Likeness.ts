import { Result } from "effect"
import { storedOf, type Wanted } from "../tensor/Slice.ts"
import type { Checkpoint } from "./Checkpoint.ts"
import { isHarmless, layersIn, ofTower } from "./Leftovers.ts"
import type { Problem } from "./SourceError.ts"

/** A model family as far as a checkpoint is held against it (`Architecture` of arch). */
export interface Family {
  readonly name: string
  readonly aliases: ReadonlyArray<string>
  readonly read: (
    config: unknown
  ) => Result.Result<{ readonly tensors: ReadonlyArray<Wanted> }, ReadonlyArray<Problem>>
}

/** How the tensors of a checkpoint differ from those that a family expects: kinds, `model.layers.*.mlp.up_proj.weight`. */
export interface Difference {
  readonly leftover: ReadonlyArray<string>
  readonly missing: ReadonlyArray<string>
  readonly misshapen: ReadonlyArray<string>
  /** part of all kinds that differs: 0 to 1 */
  readonly share: number
  /** every tensor is there in its shape, and no other */
  readonly exact: boolean
}

/** A family held against a checkpoint. */
export interface Likeness {
  readonly family: string
  readonly aliases: ReadonlyArray<string>
  /** what the family looks at in config.json */
  readonly keys: ReadonlySet<string>
  /** why it cannot read config.json, or how the tensors differ */
  readonly difference: Result.Result<Difference, ReadonlyArray<Problem>>
}

/** Layers that config.json may claim beyond twice those of the files before nobody compares tensors with it. */
const spareLayers = 64

const kindOf = (name: string): string => name.replaceAll(/\.[0-9]+(?=\.)/g, ".*")

/** The name that a tensor of a model of text and images has in its language model alone. */
const languageName = (name: string): string => {
  const rest = name.replace(/^(?:model\.)?(?:language_model|text_model)\.(?:model\.)?/, "")
  return rest === name || rest.startsWith("lm_head.") ? rest : `model.${rest}`
}

type Held = ReadonlyMap<string, ReadonlyArray<number>>

const heldOf = ({ tensors, unheld }: Pick<Checkpoint, "tensors" | "unheld">): Held =>
  new Map(
    [...tensors, ...unheld]
      .filter(([name]) => !isHarmless(name) && !ofTower(name))
      .map(([name, { shape }]) => [languageName(name), shape])
  )

const difference = (held: Held, wanted: ReadonlyArray<Wanted>): Difference => {
  const stored = storedOf(wanted)
  const asked = new Set(stored.map(({ name }) => name))
  const leftover = Array.from(held.keys()).filter((name) => !asked.has(name))
  const missing = stored.filter(({ name }) => !held.has(name) && !isHarmless(name)).map(({ name }) => name)
  const misshapen = stored.filter(({ name, shape }) => {
    const found = held.get(name)
    return found !== undefined && found.join() !== shape.join()
  }).map(({ name }) => name)
  const kinds = (names: ReadonlyArray<string>) => [...new Set(names.map(kindOf))]
  const differing = [leftover, missing, misshapen].map(kinds)
  const all = new Set([...held.keys(), ...asked].map(kindOf))
  const [left = [], absent = [], other = []] = differing
  return {
    leftover: left,
    missing: absent,
    misshapen: other,
    share: new Set(differing.flat()).size / Math.max(1, all.size),
    exact: differing.every(({ length }) => length === 0)
  }
}

/** The configuration, and a set that fills with the keys that are looked at. */
const watched = (config: Readonly<Record<string, unknown>>) => {
  const keys = new Set<string>()
  const note = <A>(key: PropertyKey, value: A): A => {
    keys.add(String(key))
    return value
  }
  const proxy = new Proxy(config, {
    get: (target, key) => note(key, Reflect.get(target, key)),
    getOwnPropertyDescriptor: (target, key) => note(key, Reflect.getOwnPropertyDescriptor(target, key)),
    has: (target, key) => note(key, Reflect.has(target, key))
  })
  return { keys, proxy }
}

/** Every family held against the checkpoint's tensors under this configuration; its encoders of images and sound are left out. */
export const likenesses = (
  checkpoint: Pick<Checkpoint, "tensors" | "unheld">,
  families: ReadonlyArray<Family>,
  config: Readonly<Record<string, unknown>>
): ReadonlyArray<Likeness> => {
  const held = heldOf(checkpoint)
  const layers = layersIn(held.keys())
  const claimed = config["num_hidden_layers"]
  const most = 2 * layers + spareLayers
  return families.map(({ aliases, name, read }) => {
    const { keys, proxy } = watched(config)
    const result = typeof claimed === "number" && claimed > most
      ? Result.fail([{
        path: "num_hidden_layers",
        expected: `${layers}, as many as the files hold`,
        found: `${claimed}`,
        unsupported: false
      }])
      : Result.map(read(proxy), ({ tensors }) => difference(held, tensors))
    return { family: name, aliases, keys, difference: result }
  })
}

/** Tells which families have exactly the checkpoint's tensors; nothing where none has. */
export const alike = (
  checkpoint: Pick<Checkpoint, "tensors" | "unheld">,
  families: ReadonlyArray<Family>,
  config: Readonly<Record<string, unknown>>
): ReadonlyArray<string> => {
  const exact = likenesses(checkpoint, families, config)
    .filter(({ difference }) => Result.isSuccess(difference) && difference.success.exact)
    .map(({ family }) => family)
  return exact.length === 0 ? [] : [`the files hold exactly the tensors of ${exact.join(", ")}`]
}
