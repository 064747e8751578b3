/** Bytes that are read ahead: rows of a transposed matrix are short in each of its columns, and a read call costs as much as 1 kB. */
const AHEAD = 4 * 2 ** 20

/** Part of a stored matrix `[height × width]`: some of its columns, all of its rows. */
export interface Loaded {
  /** address of the first element of column `from` */
  readonly at: number
  /** elements from one row to the next */
  readonly stride: number
}

/** Reads columns of a stored matrix, several times as many as are asked for; the next may be there already. */
export class Stripe {
  readonly #height: number
  readonly #width: number
  readonly #elementBytes: number
  readonly #capacity: number
  #first = 0
  #count = 0

  /** `least`: columns that are asked for at once, at most. */
  constructor(height: number, width: number, elementBytes: number, least: number) {
    this.#height = height
    this.#width = width
    this.#elementBytes = elementBytes
    this.#capacity = Math.min(width, Math.max(least, Math.floor(AHEAD / (height * elementBytes))))
  }

  /** Bytes of its buffer. */
  get bytes(): number {
    return this.#height * this.#capacity * this.#elementBytes
  }

  /** Columns `from` … `from + count`, in the buffer at `address`. */
  load(
    read: (address: number, from: number, count: number) => void,
    address: number,
    from: number,
    count: number
  ): Loaded {
    if (from < this.#first || from + count > this.#first + this.#count) {
      this.#first = from
      this.#count = Math.min(this.#capacity, this.#width - from)
      const bytes = this.#count * this.#elementBytes
      for (let row = 0; row < this.#height; row++) {
        read(address + row * bytes, (row * this.#width + from) * this.#elementBytes, bytes)
      }
    }
    return { at: address + (from - this.#first) * this.#elementBytes, stride: this.#count }
  }
}
