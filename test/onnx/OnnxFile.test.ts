import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { check } from "../../src/onnx/Check.ts"
import type { Attribute, Dim, Graph, Initializer } from "../../src/onnx/Graph.ts"
import { decode, encode } from "../../src/onnx/OnnxFile.ts"
import { WireReader } from "../../src/onnx/WireReader.ts"
import { WireWriter } from "../../src/onnx/WireWriter.ts"
import { type DType, dtypes } from "../../src/tensor/DType.ts"
import { cache, post, pre, random } from "./Sample.ts"

const fixtures = join(import.meta.dirname, "../fixtures/onnx")
const model = (name: string): Uint8Array => new Uint8Array(readFileSync(join(fixtures, name, "model.onnx")))

/** onnx's own names of data types, as summary.json has them. */
const onnxNames = {
  f32: "FLOAT",
  u8: "UINT8",
  i8: "INT8",
  u16: "UINT16",
  i16: "INT16",
  i32: "INT32",
  i64: "INT64",
  bool: "BOOL",
  f16: "FLOAT16",
  f64: "DOUBLE",
  u32: "UINT32",
  u64: "UINT64",
  bf16: "BFLOAT16",
  f8_e4m3: "FLOAT8E4M3FN",
  f8_e5m2: "FLOAT8E5M2",
  u4: "UINT4",
  i4: "INT4"
} as const satisfies Record<DType, string>

const Described = Schema.Struct({
  name: Schema.String,
  dataType: Schema.String,
  dims: Schema.Array(Schema.Int),
  sha256LittleEndian: Schema.optionalKey(Schema.String),
  values: Schema.optionalKey(Schema.Array(Schema.Int)),
  external: Schema.optionalKey(Schema.Record(Schema.String, Schema.Union([Schema.String, Schema.Int])))
})
const Shaped = Schema.Struct({
  name: Schema.String,
  dataType: Schema.String,
  shape: Schema.Array(Schema.Union([Schema.Int, Schema.String]))
})
const Summary = Schema.Struct({
  opsets: Schema.Record(Schema.String, Schema.Int),
  metadata: Schema.Record(Schema.String, Schema.String),
  graph: Schema.Struct({
    name: Schema.String,
    inputs: Schema.Array(Shaped),
    outputs: Schema.Array(Shaped),
    nodes: Schema.Array(Schema.Struct({
      op: Schema.String,
      domain: Schema.String,
      name: Schema.String,
      inputs: Schema.Array(Schema.String),
      outputs: Schema.Array(Schema.String),
      attributes: Schema.Record(Schema.String, Schema.Struct({ type: Schema.String, value: Schema.Unknown }))
    })),
    initializers: Schema.Array(Described)
  })
})
const summary = (name: string) =>
  Schema.decodeUnknownSync(Summary)(JSON.parse(readFileSync(join(fixtures, name, "summary.json"), "utf8")))

const decoded = (bytes: Uint8Array): Graph => Result.getOrThrow(decode(bytes))
const values = (list: Graph["inputs"]) =>
  list.map(({ dtype, name, shape }): { name: string; dataType: string; shape: ReadonlyArray<Dim> } => ({
    name,
    dataType: onnxNames[dtype],
    shape
  }))
const attributeType = (attribute: Attribute) => ({ type: attribute.kind.toUpperCase(), value: attribute.value })
const nibbles = (bytes: Uint8Array, signed: boolean): ReadonlyArray<number> =>
  Array.from(bytes).flatMap((byte) => [byte & 15, byte >> 4]).map((code) => signed && code > 7 ? code - 16 : code)

/** The tensor's bytes are those that onnx's reader found: by hash, or by number where it has no byte order (4 bits). */
const assertTensor = ({ data, dtype, name, shape }: Initializer, expected: typeof Described.Type) => {
  assert.deepStrictEqual([name, onnxNames[dtype], shape], [expected.name, expected.dataType, expected.dims])
  if (data.kind === "external") return
  if (expected.sha256LittleEndian !== undefined) {
    assert.strictEqual(createHash("sha256").update(data.bytes).digest("hex"), expected.sha256LittleEndian, name)
  } else {
    const wanted = expected.values ?? []
    assert.isAbove(wanted.length, 0, name)
    assert.deepStrictEqual(nibbles(data.bytes, dtype === "i4").slice(0, wanted.length), wanted, name)
  }
}

/** Models of one initialiser each, cut out of a model file byte for byte. */
const singleTensors = (bytes: Uint8Array): ReadonlyArray<Uint8Array> => {
  const reader = new WireReader()
  const found: Array<Uint8Array> = []
  reader.message(bytes, "model", {
    7: (graph) =>
      reader.message(reader.bytes(graph, ""), "graph", { 5: (tensor) => found.push(reader.bytes(tensor, "")) })
  })
  return found.map((tensor) => {
    const writer = new WireWriter()
    writer.message(7, () => writer.bytes(5, tensor))
    writer.message(8, () => writer.int(2, 21))
    return writer.finish()
  })
}

const tensor = (dims: ReadonlyArray<number>) => {
  const writer = new WireWriter()
  writer.message(7, () =>
    writer.message(5, () => {
      writer.ints(1, dims)
      writer.int(2, 1)
    }))
  return writer.finish()
}

describe("decode", () => {
  it.each(["mlp-inline", "mlp-external", "matmulnbits-asym", "qdq-int4"])("sees what onnx sees in %s", (name) => {
    const graph = decoded(model(name))
    const { graph: expected, metadata, opsets } = summary(name)
    assert.strictEqual(graph.name, expected.name)
    assert.strictEqual(graph.opset, opsets[""])
    assert.deepStrictEqual(graph.metadata, metadata)
    assert.deepStrictEqual<unknown>(values(graph.inputs), expected.inputs)
    assert.deepStrictEqual<unknown>(values(graph.outputs), expected.outputs)
    assert.deepStrictEqual<unknown>(
      graph.nodes.map((node) => ({
        ...node,
        attributes: Object.fromEntries(
          Object.entries(node.attributes).map(([key, value]) => [key, attributeType(value)])
        )
      })),
      expected.nodes
    )
    assert.strictEqual(graph.initializers.length, expected.initializers.length)
    graph.initializers.forEach((initializer, at) => {
      const described = expected.initializers[at]
      if (described === undefined) throw new Error("a description per initialiser")
      assertTensor(initializer, described)
    })
    assert.deepStrictEqual(check(graph, { matMulNBits: true }), [])
  })

  it("finds external data where onnx wrote it", () => {
    const data = decoded(model("mlp-external")).initializers.flatMap((each) =>
      each.data.kind === "external" ? [each.data] : []
    )
    assert.isAbove(data.length, 0)
    let end = 0
    for (const { length, location, offset } of data) {
      assert.strictEqual(location, "model.onnx.data")
      assert.isAtLeast(offset, end)
      end = offset + length
    }
    assert.strictEqual(end, 21760) // size of model.onnx.data
  })

  it("reads every data type from its typed field and from raw bytes alike", () => {
    const all = singleTensors(model("tensor-fields"))
    const expected = summary("tensor-fields").graph.initializers
    assert.strictEqual(all.length, expected.length)
    const seen = new Set<DType>()
    all.forEach((bytes, at) => {
      const described = expected[at]
      if (described === undefined || described.dataType === "STRING") {
        const error = Result.getOrThrow(Result.flip(decode(bytes)))
        return assert.match(error.found, /strings/)
      }
      const [initializer] = decoded(bytes).initializers
      if (initializer === undefined) throw new Error(described.name)
      seen.add(initializer.dtype)
      assertTensor(initializer, described)
    })
    assert.deepStrictEqual([...seen].sort(), Object.keys(dtypes).sort())
  })

  it.each([
    ["bad-truncated", /model/, /22/],
    ["bad-garbage", /model/, /./],
    ["bad-empty", /model/, /none in 0 bytes/],
    ["bad-dims", /w2/, /8192/],
    ["attributes", /Constant/, /tensor attribute/],
    ["tensor-fields", /initializer\[17\]/, /strings/]
  ])("refuses %s and says where", (name, where, found) => {
    const error = Result.getOrThrow(Result.flip(decode(model(name))))
    assert.match(error.where, where)
    assert.match(error.found, found)
    assert.include(error.message, "expected")
  })

  it.each([
    ["bad-dangling", "inputs that are defined before"],
    ["bad-twice", "one origin"],
    ["bad-external-absolute", "a relative location inside the folder"],
    ["bad-external-traversal", "a relative location inside the folder"],
    ["bad-external-length", "8192 bytes (f32 [64, 32])"]
  ])("reads %s, and check finds the fault", (name, expected) => {
    assert.include(
      check(decoded(model(name))).map((problem) => problem.expected),
      expected
    )
  })

  it("believes no length: a message of 2^60 bytes, an endless number, a group, 2^40 elements", () => {
    const hostile = [
      Uint8Array.of(0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f),
      Uint8Array.of(0x08, ...Array.from({ length: 11 }, () => 0xff)),
      Uint8Array.of(0x3b, 0x3c),
      Uint8Array.of(0x00, 0x00),
      tensor([2 ** 20, 2 ** 20]),
      tensor([2 ** 40, 2 ** 40]),
      tensor([-1])
    ]
    for (const bytes of hostile) assert.isTrue(Result.isFailure(decode(bytes)))
  })

  it("stops at a million fields", () => {
    const bytes = new Uint8Array(2_200_000)
    for (let at = 0; at < bytes.length; at += 2) bytes[at] = 0x28 // field 5, number 0
    assert.match(Result.getOrThrow(Result.flip(decode(bytes))).found, /more/)
  })

  const Bytes = Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 })))
  it.prop("never throws on any bytes", [Bytes], ([bytes]) => {
    decode(Uint8Array.from(bytes))
  })

  const Mutation = Schema.Struct({
    at: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1e6 })),
    byte: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 }))
  })
  const originals = [
    encode(pre()),
    encode(post()),
    ...["mlp-external", "matmulnbits-asym", "qdq-int4", "attributes", "tensor-fields"].map(model)
  ]
  it.prop(
    "never throws on a model with bytes changed or cut off, nor does check",
    [Schema.Array(Mutation), Mutation],
    ([mutations, cut]) => {
      for (const original of originals) {
        const bytes = original.slice(0, cut.byte < 128 ? original.length : cut.at % original.length)
        for (const { at, byte } of mutations) bytes[at % Math.max(1, bytes.length)] = byte
        const graph = decode(bytes)
        if (Result.isSuccess(graph)) check(graph.success)
      }
    },
    { arbitrary: { runs: 300 } }
  )
})

const reversed = (record: Readonly<Record<string, Attribute>>) =>
  Object.fromEntries(Object.entries(record).toReversed())

describe("encode", () => {
  it("and decode give the same graph back", () => {
    for (const graph of [pre(), cache(), post()]) assert.deepStrictEqual(decoded(encode(graph)), graph)
  })

  const Steps = Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 4095 })))
  it.prop("and decode are the identity on what the builder makes", [Steps], ([steps]) => {
    const graph = random(steps)
    const bytes = encode(graph)
    assert.deepStrictEqual(decoded(bytes), graph)
    assert.deepStrictEqual(encode(decoded(bytes)), bytes)
  })

  it("writes the length of a message at every edge of its size", () => {
    const [first] = cache().nodes
    for (
      const length of [
        ...Array.from({ length: 140 }, (_, at) => at),
        ...[16300, 16384, 2_097_200].flatMap((near) => Array.from({ length: 100 }, (_, at) => near + at - 80))
      ]
    ) {
      const graph = { ...cache(), nodes: first === undefined ? [] : [{ ...first, name: "n".repeat(length) }] }
      assert.strictEqual(decoded(encode(graph)).nodes[0]?.name.length, length)
    }
  })

  it.each([[21, 10], [22, 10], [23, 11], [24, 12]])(
    "says for opset %i that the format is version %i",
    (opset, version) => {
      const reader = new WireReader()
      let found = 0
      reader.message(encode({ ...cache(), opset }), "model", { 1: (field) => found = reader.int(field, "ir_version") })
      assert.strictEqual(found, version)
    }
  )

  it("does not depend on the order in which attributes and metadata were given", () => {
    const graph = cache()
    const other = { ...graph, nodes: graph.nodes.map((node) => ({ ...node, attributes: reversed(node.attributes) })) }
    assert.deepStrictEqual(encode(other), encode(graph))
  })

  it.each(["mlp-inline", "mlp-external", "matmulnbits-asym", "qdq-int4"])(
    "gives back the bytes of %s's tensors and nodes",
    (name) => {
      const graph = decoded(model(name))
      assert.deepStrictEqual(decoded(encode(graph)), graph)
    }
  )

  it("keeps numbers at the edges: empty lists, -1, 2^53 - 1, -0, infinity, text beyond ASCII", () => {
    const attributes: Graph["nodes"][number]["attributes"] = {
      a: { kind: "ints", value: [] },
      b: { kind: "ints", value: [-1, 2 ** 53 - 1, -(2 ** 53) + 1, 0, 127, 128] },
      c: { kind: "float", value: -0 },
      d: { kind: "floats", value: [Infinity, -Infinity] },
      e: { kind: "string", value: "\uFEFFäß\uFFFD🙂" },
      f: { kind: "int", value: 0 },
      g: { kind: "floats", value: [] }
    }
    const graph: Graph = {
      name: "ü",
      opset: 23,
      inputs: [{ name: "x", dtype: "u4", shape: [] }],
      outputs: [{ name: "y", dtype: "bf16", shape: ["a b", 2 ** 40] }],
      nodes: [{
        op: "MatMulNBits",
        domain: "com.microsoft",
        name: "",
        inputs: ["x", "", "x"],
        outputs: ["y", ""],
        attributes
      }],
      initializers: [{ name: "w", dtype: "i4", shape: [3], data: { kind: "inline", bytes: Uint8Array.of(0x21, 3) } }],
      metadata: { "": "empty", key: "välue" }
    }
    assert.deepStrictEqual(decoded(encode(graph)), graph)
  })
})
