import { byteLength, type DType } from "../tensor/DType.ts"
import type { Tensor } from "../tensor/Tensor.ts"
import type { Attribute, Dim, Graph, Initializer, Node, Value } from "./Graph.ts"
import { inferNode } from "./Infer.ts"
import type { Typed } from "./infer/Rule.ts"
import { bytesOf, identityOf, numbersOf } from "./Numbers.ts"

/** A value of the graph being built: what the builder's methods take and give. */
export interface Ref {
  readonly name: string
  readonly dtype: DType
  readonly shape: ReadonlyArray<Dim>
}

/** Attributes by kind. Floats are rounded to float32, as the file holds them. */
export const attribute = {
  int: (value: number): Attribute => ({ kind: "int", value }),
  float: (value: number): Attribute => ({ kind: "float", value: Math.fround(value) }),
  string: (value: string): Attribute => ({ kind: "string", value }),
  ints: (value: ReadonlyArray<number>): Attribute => ({ kind: "ints", value }),
  floats: (value: ReadonlyArray<number>): Attribute => ({ kind: "floats", value: value.map(Math.fround) })
} as const

/** What a call of `op` may say beside inputs and attributes. */
export interface OpOptions {
  readonly domain?: Node["domain"]
  /** name of the node and its value, with a number where it is taken; `gemm_0` for Gemm otherwise */
  readonly name?: string
  /** types of the outputs, where there is no rule for the operator */
  readonly types?: ReadonlyArray<{ readonly dtype: DType; readonly shape: ReadonlyArray<Dim> }>
}

/** Where `Assembly.weight` says a checkpoint's file lies: beside the graph, in `weights/`. */
export const weightLocation = (file: string): string => `weights/${file.split(/[\\/]/).at(-1) ?? ""}`

const rounded = (value: Attribute): Attribute =>
  value.kind === "float"
    ? attribute.float(value.value)
    : value.kind === "floats"
    ? attribute.floats(value.value)
    : value

const broken = (why: string): never => {
  throw new Error(why)
}

/** Collects nodes, infers their types, and gives an immutable graph. What does not fit is a defect of the caller and throws. */
export class Assembly {
  readonly #name: string
  readonly #opset: number
  readonly #inputs: Array<Value> = []
  readonly #outputs: Array<Value & { readonly of: string }> = []
  readonly #nodes: Array<Node> = []
  readonly #initializers = new Map<string, Initializer>()
  readonly #metadata: Record<string, string> = {}
  readonly #types = new Map<string, Typed>()
  readonly #counts = new Map<string, number>()
  readonly #constants = new Map<string, Ref>()

  constructor(name: string, opset = 23) {
    this.#name = name
    this.#opset = opset
  }

  /** An input of the graph. */
  input(name: string, dtype: DType, shape: ReadonlyArray<Dim>): Ref {
    const ref = this.#define(name, { dtype, shape })
    this.#inputs.push(ref)
    return ref
  }

  /** Makes a value an output with exactly this name: renamed in `build`; Identity where it is an input, a constant or an output already. */
  output(name: string, ref: Ref): void {
    const taken = this.#inputs.some((value) => value.name === ref.name) || this.#initializers.has(ref.name) ||
      this.#outputs.some(({ of }) => of === ref.name)
    const { dtype, name: of, shape } = taken ? this.op("Identity", [ref]) : ref
    if (!this.#types.has(of)) broken(`${of} is not a value of ${this.#name}`)
    if (
      this.#inputs.some((value) => value.name === name) || this.#initializers.has(name) ||
      this.#outputs.some((value) => value.name === name)
    ) {
      broken(`output ${name} of ${this.#name}: the name is taken`)
    }
    this.#outputs.push({ name, dtype, shape, of })
  }

  /** An entry of the model's `metadata_props`. */
  metadata(key: string, value: string): void {
    this.#metadata[key] = value
  }

  /** A constant that lies where its `data` says; the same name again must be the same constant. */
  initializer(initializer: Initializer): Ref {
    const { data, dtype, name, shape } = initializer
    const known = this.#initializers.get(name)
    if (known !== undefined) {
      const fits = identityOf(known) === identityOf(initializer)
      return fits ? { name, dtype, shape } : broken(`${name} of ${this.#name} names two constants`)
    }
    const expected = byteLength(dtype, shape.reduce((all, dim) => all * dim, 1))
    const found = data.kind === "inline" ? data.bytes.length : data.length
    if (found !== expected) broken(`${name} is ${dtype} [${shape.join(", ")}]: ${expected} bytes, not ${found}`)
    const ref = this.#define(name, { dtype, shape, values: numbersOf(initializer) })
    this.#initializers.set(name, initializer)
    return ref
  }

  /**
   * A weight of the checkpoint, as stored: external bytes of `weights/<file>`. Any number of calls give one initialiser. That of a
   * coded tensor says where its codes begin and how long its plain numbers would be: `quantizeGraph` puts what is read in its place.
   */
  weight({ coded, dtype, name, range, shape }: Tensor): Ref {
    const data = {
      kind: "external" as const,
      location: weightLocation(range.file),
      offset: range.offset,
      length: coded === undefined ? range.length : byteLength(dtype, shape.reduce((all, dim) => all * dim, 1))
    }
    return this.initializer({ name, dtype, shape, data })
  }

  /** A constant inside the file (f32, f16, i32, i64, u8, i8, bool); the same numbers give the same value, whatever the name. */
  constant(name: string, dtype: DType, shape: ReadonlyArray<number>, values: ReadonlyArray<number>): Ref {
    const bytes = bytesOf(dtype, values)
    const key = `${dtype}[${shape.join()}]${bytes.join()}`
    const known = this.#constants.get(key)
    if (known !== undefined) return known
    const ref = this.initializer({ name: this.#fresh(name), dtype, shape, data: { kind: "inline", bytes } })
    this.#constants.set(key, ref)
    return ref
  }

  /** One node; gives its first output. */
  op(
    op: string,
    inputs: ReadonlyArray<Ref | undefined>,
    attributes: Record<string, Attribute> = {},
    outputs = 1,
    options: OpOptions = {}
  ): Ref {
    return this.ops(op, inputs, attributes, outputs, options)[0] ?? broken(`${op} has no output`)
  }

  /** One node; gives all its outputs. An undefined input is an absent optional one. */
  ops(
    op: string,
    inputs: ReadonlyArray<Ref | undefined>,
    attributes: Record<string, Attribute> = {},
    outputs = 1,
    { domain = "", name, types }: OpOptions = {}
  ): Array<Ref> {
    const given = inputs.map((ref) =>
      ref === undefined
        ? undefined
        : this.#types.get(ref.name) ?? broken(`${op}: ${ref.name} is not a value of ${this.#name}`)
    )
    const kept = Object.fromEntries(Object.entries(attributes).map(([key, value]) => [key, rounded(value)]))
    const inferred = types ?? inferNode(domain, { op, inputs: given, attributes: kept, outputs })
    const node = this.#fresh(name ?? op.toLowerCase(), name === undefined)
    const refs = inferred.map((typed, at) => this.#define(outputs === 1 ? node : `${node}_${at}`, typed))
    const names = inputs.map((ref) => ref?.name ?? "")
    while (names.at(-1) === "") names.pop()
    this.#nodes.push({ op, domain, name: node, inputs: names, outputs: refs.map((ref) => ref.name), attributes: kept })
    return refs
  }

  /** The graph; outputs have their names, nodes stand in the order in which they were made. */
  build(): Graph {
    const wanted = new Map(this.#outputs.map(({ name, of }) => [of, name]))
    const names = new Set(this.#outputs.map(({ name }) => name))
    const renamed = (name: string): string => wanted.get(name) ?? (names.has(name) ? `${name}_inner` : name)
    return {
      name: this.#name,
      opset: this.#opset,
      inputs: [...this.#inputs],
      outputs: this.#outputs.map(({ dtype, name, shape }) => ({ name, dtype, shape })),
      nodes: this.#nodes.map((node) => ({
        ...node,
        inputs: node.inputs.map(renamed),
        outputs: node.outputs.map(renamed)
      })),
      initializers: [...this.#initializers.values()],
      metadata: Object.fromEntries(Object.entries(this.#metadata).sort(([a], [b]) => a < b ? -1 : 1))
    }
  }

  #define(name: string, typed: Typed): Ref {
    if (name === "" || this.#types.has(name)) broken(`${this.#name} has two values named "${name}"`)
    this.#types.set(name, typed)
    return { name, dtype: typed.dtype, shape: typed.shape }
  }

  /** A name nobody has: the stem itself (when not `numbered`), else the stem and a number that counts up per stem. */
  #fresh(stem: string, numbered = false): string {
    if (!numbered && !this.#types.has(stem)) return stem
    for (;;) {
      const count = this.#counts.get(stem) ?? 0
      this.#counts.set(stem, count + 1)
      const name = `${stem}_${count}`
      if (!this.#types.has(name) && !this.#types.has(`${name}_0`)) return name
    }
  }
}
