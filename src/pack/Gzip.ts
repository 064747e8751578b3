/** Bytes of the largest stored block. Source: RFC 1951, 3.2.4. */
export const storedBlock = 65_535

/** Bytes before a stored block: its kind, its length, and the length's complement. */
export const storedHeader = 5

/** Begins a gzip file: deflate, no name, no time, system unknown, so that equal content gives equal bytes. Source: RFC 1952. */
export const gzipHeader: Uint8Array = Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff)

/** Writes the header of a stored block of `length` bytes at `at`; more blocks follow it. */
export const writeStoredHeader = (buffer: Uint8Array, at: number, length: number): void => {
  buffer[at] = 0
  buffer[at + 1] = length & 0xff
  buffer[at + 2] = length >>> 8
  buffer[at + 3] = ~length & 0xff
  buffer[at + 4] = (~length >>> 8) & 0xff
}

/** Ends a gzip file: an empty last block (stored), then crc: u32 and size modulo 2^32: u32 of the unpacked bytes. */
export const gzipEnd = (crc: number, size: number): Uint8Array => {
  const bytes = new Uint8Array(storedHeader + 8)
  bytes.set([1, 0, 0, 0xff, 0xff])
  const view = new DataView(bytes.buffer)
  view.setUint32(storedHeader, crc >>> 0, true)
  view.setUint32(storedHeader + 4, size % 2 ** 32, true)
  return bytes
}
