/** A matrix to lay out: `[rows × columns]`, codes of `bits`. */
export interface BlobWeight {
  readonly name: string
  readonly rows: number
  readonly columns: number
  readonly bits: 4 | 8
}

/** Bytes of a blob. */
export interface Region {
  readonly offset: number
  readonly length: number
}

/** Where a weight's numbers are in its blob. Codes `[rows × padded]` u4 (low nibble first) or u8, scales `[rows × blocks]` f16. */
export interface PlacedWeight extends BlobWeight {
  /** columns rounded up to whole blocks; the code of what was added is the zero point */
  readonly padded: number
  readonly blocks: number
  readonly codes: Region
  readonly scales: Region
}

/** Zero points for all weights of one width: the same byte throughout; a weight uses as many as it has blocks, from `offset`. */
export interface ZeroRegion extends Region {
  readonly bits: 4 | 8
  /** two zero points of 8, or one of 128 */
  readonly byte: 0x88 | 0x80
}

/** One file: all codes back to back, all scales back to back, zero points. */
export interface BlobLayout {
  readonly weights: ReadonlyArray<PlacedWeight>
  readonly zeros: ReadonlyArray<ZeroRegion>
  /** bytes of the file */
  readonly length: number
}

/** Numbers that share a scale. */
export const BLOCK = 32
/** Where regions may begin: a cache line, and what vector loads like. */
const ALIGNMENT = 64

const align = (offset: number): number => Math.ceil(offset / ALIGNMENT) * ALIGNMENT

/** Regions of these lengths, one after the other from `start`. */
const contiguous = (lengths: ReadonlyArray<number>, start: number): ReadonlyArray<Region> => {
  let offset = start
  return lengths.map((length) => {
    const region = { offset, length }
    offset += length
    return region
  })
}

const endOf = (regions: ReadonlyArray<Region>, start: number): number => {
  const last = regions.at(-1)
  return last === undefined ? start : last.offset + last.length
}

/** Bytes of the zero points of `count` blocks. */
export const zeroBytes = (bits: 4 | 8, count: number): number => Math.ceil((count * bits) / 8)

/**
 * Lays out the blob of one part. Weights keep their order and their codes touch, so that matrices that read the same input
 * (q, k, v; gate, up), of the same width, are one matrix to whoever wants it so.
 */
export const layoutBlob = (weights: ReadonlyArray<BlobWeight>): BlobLayout => {
  const sized = weights.map((weight) => {
    const blocks = Math.ceil(weight.columns / BLOCK)
    return { ...weight, blocks, padded: blocks * BLOCK }
  })
  const codes = contiguous(sized.map(({ bits, padded, rows }) => rows * padded * bits / 8), 0)
  const scalesStart = align(endOf(codes, 0))
  const scales = contiguous(sized.map(({ blocks, rows }) => rows * blocks * 2), scalesStart)
  let end = endOf(scales, scalesStart)
  const zeros = ([4, 8] as const).flatMap((bits): ReadonlyArray<ZeroRegion> => {
    const largest = Math.max(
      0,
      ...sized.filter((weight) => weight.bits === bits).map(({ blocks, rows }) => rows * blocks)
    )
    if (largest === 0) return []
    const region = {
      bits,
      byte: bits === 4 ? 0x88 : 0x80,
      offset: align(end),
      length: zeroBytes(bits, largest)
    } as const
    end = region.offset + region.length
    return [region]
  })
  return {
    weights: sized.map((weight, i) => ({
      ...weight,
      codes: codes[i] ?? { offset: 0, length: 0 },
      scales: scales[i] ?? { offset: 0, length: 0 }
    })),
    zeros,
    length: end
  }
}
