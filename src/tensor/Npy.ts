import { Result } from "effect"

/** What the header of a .npy file says, and where its numbers are. */
export interface NpyHeader {
  /** as numpy spells it: `<f4`, `|u1`, `>i2`; `V2` is two raw bytes, which is how numpy writes bf16 */
  readonly descr: string
  /** false: the numbers are big-endian; single bytes count as little-endian */
  readonly littleEndian: boolean
  readonly itemBytes: number
  readonly shape: ReadonlyArray<number>
  /** true: the first dimension varies fastest */
  readonly fortran: boolean
  readonly dataOffset: number
  readonly dataBytes: number
}

/** Why bytes are not a .npy file that we take. */
export interface NpyProblem {
  readonly expected: string
  readonly found: string
}

const magic = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59] as const

/** The data of files that numpy writes begins at a multiple of this. */
const alignment = 64

/** numpy leaves room for the digits of the dimension that grows when rows are appended. */
const growthDigits = 21

/** Longest header that is read; numpy refuses more than 10,000 bytes unless told to trust the file. */
const maxHeaderBytes = 65_535

/** Types of plain numbers, or of raw bytes of a number's size. */
const descrPattern = /^([<>|=])(?:b1|[iu][1248]|f[248]|c(?:8|16)|V(?:1|2|4|8))$/

const itemPattern =
  /\s*(['"])(descr|fortran_order|shape)\1\s*:\s*(?:(['"])([^'"\\]*)\3|(True|False)|\(([\s\d,L-]*)\))\s*(,|(?=\}))/y

const dimsPattern = /^\s*(?:(?:-?\d+L?\s*,\s*)+(?:-?\d+L?\s*)?)?$/

const fail = (expected: string, found: string): Result.Result<never, NpyProblem> => Result.fail({ expected, found })

const sizeOf = (descr: string): number => Number(/\d+$/.exec(descr)?.[0] ?? 0)

const readDict = (text: string): Result.Result<ReadonlyMap<string, string>, NpyProblem> => {
  const found = new Map<string, string>()
  let at = /^\s*\{/.exec(text)?.[0].length ?? -1
  while (at >= 0) {
    if (/^\s*\}\s*$/.test(text.slice(at))) return Result.succeed(found)
    itemPattern.lastIndex = at
    const match = itemPattern.exec(text)
    if (match === null) break
    const [, , key = "", , name, flag, dims] = match
    if (found.has(key)) return fail("each key once", `${key} twice`)
    const kind = name !== undefined ? "descr" : flag !== undefined ? "fortran_order" : "shape"
    if (kind !== key) {
      return fail("descr: a type name, fortran_order: True or False, shape: a tuple", `another kind of ${key}`)
    }
    found.set(key, name ?? flag ?? dims ?? "")
    at = itemPattern.lastIndex
  }
  return fail("a dictionary of descr (a type name), fortran_order and shape", JSON.stringify(text.slice(0, 120)))
}

/**
 * Reads the header of a .npy file, versions 1 to 3, whose whole length is `fileBytes`; `bytes` may be just its beginning.
 * Objects, structures and texts are refused, as is a file that is longer or shorter than its shape says.
 * Source: numpy.lib.format, numpy 2.4.
 */
export const decode = (bytes: Uint8Array, fileBytes = bytes.length): Result.Result<NpyHeader, NpyProblem> =>
  Result.gen(function*() {
    if (bytes.length < 10 || !magic.every((byte, index) => bytes[index] === byte)) {
      return yield* fail("a .npy file, which begins with \\x93NUMPY", `${bytes.length} bytes that do not`)
    }
    const version = bytes[6] ?? 0
    if (version < 1 || version > 3 || bytes[7] !== 0) {
      return yield* fail("version 1.0, 2.0 or 3.0", `version ${version}.${bytes[7]}`)
    }
    const start = version === 1 ? 10 : 12
    if (bytes.length < start) return yield* fail(`at least ${start} bytes`, `${bytes.length} bytes`)
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const length = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true)
    const dataOffset = start + length
    if (length > maxHeaderBytes || dataOffset > bytes.length) {
      return yield* fail(
        `a header of at most ${Math.min(maxHeaderBytes, bytes.length - start)} bytes`,
        `a length of ${length}`
      )
    }
    const items = yield* readDict(new TextDecoder("latin1").decode(bytes.subarray(start, dataOffset)))
    const descr = items.get("descr")
    const dims = items.get("shape")
    const order = items.get("fortran_order")
    if (descr === undefined || dims === undefined || order === undefined) {
      return yield* fail("descr, fortran_order and shape", [...items.keys()].join(", ") || "none of them")
    }
    const type = descrPattern.exec(descr)
    if (type === null) return yield* fail("numbers, such as <f4 or |u1", JSON.stringify(descr))
    if (!dimsPattern.test(dims)) return yield* fail("shape to be a tuple of whole numbers", `(${dims.slice(0, 120)})`)
    const shape = Array.from(dims.matchAll(/-?\d+/g), ([text]) => Number(text))
    const itemBytes = sizeOf(descr)
    const dataBytes = shape.reduce((product, dim) => product * dim, itemBytes)
    if (!shape.every((dim) => Number.isSafeInteger(dim) && dim >= 0) || !Number.isSafeInteger(dataBytes)) {
      return yield* fail("dimensions from 0 to 2^53 - 1, and as many bytes", `(${shape.join(", ")})`)
    }
    if (dataOffset + dataBytes !== fileBytes) {
      return yield* fail(
        `${dataBytes} bytes of data (${descr} × [${shape.join(", ")}])`,
        `${fileBytes - dataOffset} bytes`
      )
    }
    return { descr, littleEndian: type[1] !== ">", itemBytes, shape, fortran: order === "True", dataOffset, dataBytes }
  })

/**
 * The header of a .npy file, version 1.0, C order, byte for byte as numpy 2.4 writes it; the numbers follow it.
 * `descr` as numpy spells it (`<f4`), `shape` outermost first, at most 64 dimensions.
 */
export const encodeHeader = (descr: string, shape: ReadonlyArray<number>): Uint8Array => {
  const dims = shape.length === 1 ? `${shape[0]},` : shape.join(", ")
  const growth = shape.length === 0 ? 0 : Math.max(0, growthDigits - String(shape[0]).length)
  const dict = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${dims}), }${" ".repeat(growth)}`
  const start = magic.length + 4
  // numpy pads by a whole step where nothing was needed
  const total = (Math.floor((start + dict.length + 1) / alignment) + 1) * alignment
  const bytes = new Uint8Array(total).fill(0x20)
  bytes.set([...magic, 1, 0])
  new DataView(bytes.buffer).setUint16(8, total - start, true)
  for (let index = 0; index < dict.length; index++) bytes[start + index] = dict.charCodeAt(index)
  bytes[total - 1] = 0x0a
  return bytes
}
