// Bytes gathered by one read. A peer that sends one byte at a time must not cost an object for each: small pieces are copied together.
import { Buffer } from 'node:buffer'

/** Pieces below it are gathered, bytes. */
const SMALL = 512
const GATHER = 4096
const EMPTY = Buffer.alloc(0)

export class PieceList {
  /** Bytes in all. */
  length = 0
  private first: Buffer | null = null
  private more: Buffer[] | null = null
  /** Being filled; its bytes before `cut` are in `more` already. */
  private gather: Buffer | null = null
  private gathered = 0
  private cut = 0

  add(piece: Buffer): void {
    this.length += piece.length
    if (this.first === null) {
      this.first = piece
      return
    }
    if (piece.length < SMALL) {
      if (this.gather === null || GATHER - this.gathered < piece.length) {
        this.cutGather()
        this.gather = Buffer.allocUnsafeSlow(GATHER)
        this.gathered = this.cut = 0
      }
      piece.copy(this.gather, this.gathered)
      this.gathered += piece.length
    } else {
      this.cutGather();
      (this.more ??= []).push(piece)
    }
  }

  /** All of it as one buffer: the very piece, when there was one. */
  join(): Buffer {
    const { first } = this
    if (first === null) return EMPTY
    this.cutGather()
    return this.more === null ? first : Buffer.concat([first, ...this.more], this.length)
  }

  clear(): void {
    this.length = 0
    this.first = this.more = this.gather = null
    this.gathered = this.cut = 0
  }

  private cutGather(): void {
    if (this.gather === null || this.gathered === this.cut) return
    (this.more ??= []).push(this.gather.subarray(this.cut, this.gathered))
    this.cut = this.gathered
  }
}
