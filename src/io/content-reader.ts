// The content of the current request on its way in: framing by length or chunks, drain limit, progress. One per request that has content.
// `maxBodySize` is the parser's to enforce.
import type { Buffer } from 'node:buffer'
import { ChunkedDecoder } from '../parser/chunked-decoder.ts'
import type { Limits, Timeouts } from '../parser/limits.ts'
import { Framing, type RequestHead } from '../parser/request-head.ts'
import { Content, OVER, type ContentSource } from './content.ts'
import { Progress } from './progress.ts'
import { SLAB_SIZE } from './read-slab.ts'

/** What is read at once into memory of its own, at most. Fewer reads wake the sender less often: in chunks, 192 KiB give 1.18 × Bun's bytes per CPU
 *  second, 128 KiB 0.95, 256 KiB 1.10 (measured). */
const MOST_OWN = 3 * SLAB_SIZE

export class ContentReader {
  readonly content: Content
  /** The last octet of the message was read. */
  done = false
  private readonly decoder: ChunkedDecoder | null
  /** Octets still to come of a length-delimited content. */
  private left: number
  private readonly progress: Progress = new Progress(0)
  /** The content is being thrown away: so many octets may be received in all. */
  private drainLimit = Infinity

  constructor(head: RequestHead, source: ContentSource, limits: Limits) {
    const chunked = head.framing === Framing.CHUNKED
    this.content = new Content(source, chunked ? -1 : head.contentLength)
    this.decoder = chunked ? new ChunkedDecoder(limits) : null
    this.left = head.contentLength
  }

  /** Position after the last octet that belongs to this message, or minus a PeerErrorCode. The content's waiter is told afterwards, by the connection. */
  read(bytes: Buffer, start: number, end: number): number {
    const { content, decoder } = this
    if (decoder === null) {
      const stop = Math.min(end, start + this.left)
      this.left -= stop - start
      content.onContent(bytes, start, stop)
      this.done = this.left === 0
      if (this.done) content.complete = true
      return stop
    }
    const stop = decoder.decode(bytes, start, end, content)
    if (stop < 0) return stop
    if (decoder.done) {
      this.done = true
      content.trailers = decoder.trailers
      content.complete = true
    }
    return stop
  }

  /** The same for memory that is ours: the content may keep it. */
  readOwn(bytes: Buffer, start: number, end: number): number {
    this.content.enterOwn()
    const stop = this.read(bytes, start, end)
    this.content.leaveOwn(bytes)
    return stop
  }

  /** Nobody wants the rest: at most `maxDrain` more octets are read to keep the connection. */
  discard(maxDrain: number): void {
    this.content.discard()
    this.content.fail(OVER)
    this.drainLimit = this.content.received + maxDrain
  }

  get overDrained(): boolean {
    return this.content.received > this.drainLimit
  }

  /** Octets known to be still to come; 0 when chunked: nobody knows. */
  get announcedRest(): number {
    return this.left
  }

  /** How much to read next into memory that the content keeps; 0: nothing worth it, or nobody has taken any yet. What is held counts: both together
   *  are bounded by six times `readBuffer`. */
  expected(readBuffer: number): number {
    const { weight, received, held, discarding } = this.content
    const size = Math.min(3 * readBuffer, MOST_OWN)
    if (size < SLAB_SIZE || weight > size || received === held || discarding) return 0
    if (this.decoder !== null) return size
    return this.left < SLAB_SIZE ? 0 : Math.min(this.left, size)
  }

  /** Once a tick while it is the peer's turn. */
  tooSlow(timeouts: Timeouts): boolean {
    return this.progress.tooSlow(this.content.received, timeouts.body, timeouts.minBodyRate, timeouts.rateGrace)
  }
}
