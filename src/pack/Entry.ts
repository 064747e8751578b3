import type { ByteRange } from "../tensor/Tensor.ts"

/** A file of an archive: bytes in memory, or ranges of files one after the other. */
export interface Entry {
  readonly name: string
  readonly content:
    | { readonly kind: "bytes"; readonly bytes: Uint8Array }
    | { readonly kind: "ranges"; readonly ranges: ReadonlyArray<ByteRange | { readonly zeros: number }> }
}

/** Bytes that the file has. */
export const entryLength = ({ content }: Entry): number =>
  content.kind === "bytes"
    ? content.bytes.length
    : content.ranges.reduce((sum, range) => sum + ("zeros" in range ? range.zeros : range.length), 0)
