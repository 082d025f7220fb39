// The content of one request between the decoder and whoever reads it: owned pieces in order, bounded by back-pressure.
// Knows nothing of chunked coding or of wsgi.input; `limits.readBuffer` is enforced by the connection, which watches `weight`.
import { Buffer } from 'node:buffer'
import type { ContentSink } from '../parser/chunked-decoder.ts'
import { worthKeeping } from './read-slab.ts'

/** Smaller runs are gathered in buffers of this size, so that a million one-byte chunks cost bytes and not objects. */
const GATHER = 4096
/** A reader that is always behind never takes the last piece; the places of so many taken ones are given up. */
const MANY_TAKEN = 1024

/** As a `Content.failure`: nothing is wrong with what came, but its request is over. The peer has gone, or the answer has ended, or somebody took the
 *  connection over; the rest is for nobody. */
export const OVER = -1

/** Who waits for content. */
export interface ContentWaiter {
  /** Something changed: bytes arrived, the end, or a failure. Called once per `wait`. */
  onContentChange(): void
}

/** What the content needs of its connection. */
export interface ContentSource {
  /** Someone wants to read `content`: send the automatic 100 if it is due, and see that reading goes on. */
  onContentWanted(content: Content): void
  /** Held bytes of it were taken: whoever reads has begun, so the same is due. */
  onContentTaken(content: Content): void
}

export class Content implements ContentSink {
  /** Every octet of the content has been decoded. */
  complete = false
  /** Why there will be no more, a PeerErrorCode or OVER; 0 while all is well. */
  failure = 0
  /** Bytes waiting to be taken. */
  held = 0
  /** Octets of content decoded so far. */
  received = 0
  /** Nobody wants it. */
  discarding = false
  /** Announced length, or -1 when chunked. */
  readonly announced: number
  /** Trailers, once complete. */
  trailers: string[] | null = null
  private readonly source: ContentSource
  private pieces: Buffer[] = []
  private first = 0
  /** Unfinished gathering buffer, its used part not yet in `pieces`. */
  private gather: Buffer | null = null
  private gatherFrom = 0
  private gatherTo = 0
  /** Bytes of pieces that are views of memory of ours, the one that is being decoded; -1: that is not ours. */
  private adopted = -1
  /** Memory that pieces keep beside themselves: the rest of what they are views of. */
  private slack = 0
  private waiter: ContentWaiter | null = null

  constructor(source: ContentSource, announced: number) {
    this.source = source
    this.announced = announced
  }

  /** What `held` bytes cost. */
  get weight(): number {
    return this.held + this.slack
  }

  /** Bytes of memory, the gathering buffer's rest too. */
  get memory(): number {
    return this.weight + (this.gather === null ? 0 : this.gather.length)
  }

  /** What comes from the decoder up to `leaveOwn` lies in memory that is ours: its large runs need no copy where they are most of it. */
  enterOwn(): void {
    this.adopted = 0
  }

  leaveOwn(memory: Buffer): void {
    const { adopted } = this
    const size = memory.buffer.byteLength
    this.adopted = -1
    if (adopted === 0) return
    if (worthKeeping(adopted, size)) this.slack += size - adopted
    else this.disown(memory.buffer)
  }

  /** Chunks may be such that little of what was read is content: one of 4 KiB and a thousand of an octet. Whoever holds the pieces counts them alone. */
  private disown(memory: ArrayBufferLike): void {
    for (let i = this.first; i < this.pieces.length; i++) {
      const piece = this.pieces[i]!
      if (piece.buffer === memory) this.pieces[i] = copyOf(piece, 0, piece.length)
    }
  }

  /** From the decoder; the bytes are copied unless they are ours. */
  onContent(bytes: Buffer, start: number, end: number): void {
    const length = end - start
    this.received += length
    if (this.discarding) return
    this.held += length
    if (length < GATHER) {
      if (this.gather === null || GATHER - this.gatherTo < length) {
        this.cutGather()
        // A whole small body gets its exact size; more of the same shares a gathering buffer.
        this.gather = this.received === this.announced ? Buffer.allocUnsafe(length) : Buffer.allocUnsafeSlow(GATHER)
        this.gatherFrom = this.gatherTo = 0
      }
      bytes.copy(this.gather, this.gatherTo, start, end)
      this.gatherTo += length
    } else {
      // What is left of the gathering buffer is for the next small run: a peer may let large and small take turns.
      this.cutGather()
      if (this.adopted >= 0) {
        this.adopted += length
        this.pieces.push(bytes.subarray(start, end))
        return
      }
      this.pieces.push(copyOf(bytes, start, end))
    }
  }

  /** The next held bytes, at most `most` of them; null when nothing is held. The caller owns them. */
  take(most: number): Buffer | null {
    if (this.first === this.pieces.length) this.cutGather()
    if (this.first === this.pieces.length) return null
    let piece = this.pieces[this.first]!
    if (piece.length > most) {
      this.pieces[this.first] = piece.subarray(most)
      piece = piece.subarray(0, most)
    } else {
      this.pieces[this.first++] = EMPTY
      if (this.first === this.pieces.length) {
        // Not `length = 0`, which is a call into V8's runtime: 60 ns.
        this.pieces = []
        this.first = this.slack = 0
      } else if (this.first === MANY_TAKEN) {
        this.pieces = this.pieces.slice(MANY_TAKEN)
        this.first = 0
      }
    }
    this.held -= piece.length
    this.source.onContentTaken(this)
    return piece
  }

  /** The only piece that is held; null when there is none, or another. */
  takeLast(): Buffer | null {
    if (this.first === this.pieces.length) this.cutGather()
    return this.first < this.pieces.length && this.pieces[this.first]!.length === this.held ? this.take(this.held) : null
  }

  /** Puts bytes back in front: for a line reader that looked too far. */
  putBack(piece: Buffer): void {
    if (piece.length === 0) return
    if (this.first > 0) this.pieces[--this.first] = piece
    else this.pieces.unshift(piece)
    this.held += piece.length
  }

  /** Somebody waits. */
  get awaited(): boolean {
    return this.waiter !== null
  }

  /** One waiter at a time: told at the next change. Asks the peer for content (100 Continue) if need be. */
  wait(waiter: ContentWaiter): void {
    this.waiter = waiter
    this.source.onContentWanted(this)
  }

  /** Drop what is held and whatever still comes. */
  discard(): void {
    this.discarding = true
    this.pieces = []
    this.first = 0
    this.gather = null
    this.held = this.slack = 0
  }

  /** By the connection, after it decoded something, at the end, or at a failure. */
  changed(): void {
    const waiter = this.waiter
    if (waiter === null) return
    this.waiter = null
    waiter.onContentChange()
  }

  fail(failure: number): void {
    if (this.complete || this.failure !== 0) return
    this.failure = failure
    this.changed()
  }

  private cutGather(): void {
    const { gather, gatherFrom, gatherTo } = this
    if (gather === null || gatherTo === gatherFrom) return
    // A whole small body fills its buffer: a view of it would cost 70 ns for nothing.
    this.pieces.push(gatherFrom === 0 && gatherTo === gather.length ? gather : gather.subarray(gatherFrom, gatherTo))
    this.gatherFrom = gatherTo
  }
}

/** With memory of its own: a part of Node's pool (64 KiB on recent Nodes: docs/handles.md, Memory) would keep all of it. */
function copyOf(bytes: Buffer, start: number, end: number): Buffer {
  const copy = Buffer.allocUnsafeSlow(end - start)
  bytes.copy(copy, 0, start, end)
  return copy
}

const EMPTY = Buffer.alloc(0)
