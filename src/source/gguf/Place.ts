import { Overlap, Truncated } from "../FileReason.ts"
import type { Cursor } from "./Cursor.ts"
import type { TensorType } from "./TensorTypes.ts"

/** A tensor as its row of the table has it: `shape` outermost first, the offset from the start of the data. */
export interface Row {
  readonly name: string
  readonly type: TensorType
  readonly shape: ReadonlyArray<number>
  readonly offset: bigint
  readonly bytes: number
}

/** A tensor of the table. `shape` outermost first; `offset` in bytes from the file's start. */
export interface Info {
  readonly name: string
  readonly type: TensorType
  readonly shape: ReadonlyArray<number>
  readonly offset: number
  readonly bytes: number
}

/** Past every disk, and far below where numbers of 64 bits lose their ones. */
const MOST_OFFSET = 2 ** 50

/** Where the tensors are, checked against the file and against each other. */
export const place = (
  cursor: Cursor,
  rows: ReadonlyMap<string, Row>,
  alignment: number
): ReadonlyMap<string, Info> => {
  const up = (bytes: number) => Math.ceil(bytes / alignment) * alignment
  const dataStart = up(cursor.at)
  const dataBytes = Math.max(0, cursor.fileBytes - dataStart)
  let packed = 0
  for (const { bytes } of rows.values()) packed += up(bytes)
  const infos = new Map<string, Info>()
  for (const { bytes, name, offset, shape, type } of rows.values()) {
    cursor.where = name
    if (offset % BigInt(alignment) !== 0n) {
      cursor.fail(`an offset that is a multiple of the alignment ${alignment}`, `offset ${offset}`)
    }
    // a file that was cut has offsets that would be right; one past what all tensors take is wrong in itself
    if (offset >= BigInt(Math.min(Math.max(dataBytes, packed), MOST_OFFSET))) {
      cursor.fail(
        `an offset before the end of the file, ${dataBytes} bytes from the start of the data`,
        `offset ${offset}`
      )
    }
    if (cursor.stopped) return infos
    infos.set(name, { name, type, shape, offset: dataStart + Number(offset), bytes })
  }
  let end = 0
  for (const info of infos.values()) end = Math.max(end, info.offset + info.bytes)
  let before: Info | undefined
  for (const info of [...infos.values()].sort((a, b) => a.offset - b.offset)) {
    if (before !== undefined && info.offset < before.offset + before.bytes) {
      // the one that comes later in the table is named first: it is the one that is out of order
      const names = [...infos.keys()]
      const [first, second] = names.indexOf(before.name) < names.indexOf(info.name) ? [before, info] : [info, before]
      cursor.failWith(
        new Overlap({
          tensor: second.name,
          other: first.name,
          expected: first.offset + first.bytes - dataStart,
          found: second.offset - dataStart
        })
      )
      return infos
    }
    before = info
    if (info.offset + info.bytes > cursor.fileBytes) {
      cursor.failWith(
        new Truncated({
          tensor: info.name,
          expected: info.bytes,
          found: Math.max(0, cursor.fileBytes - info.offset),
          fileExpected: end,
          fileFound: cursor.fileBytes
        })
      )
      return infos
    }
  }
  return infos
}
