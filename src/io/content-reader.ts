// The content of the current request on its way in: framing by length or chunks, drain limit, progress. One per request that has content.
// `maxBodySize` is the parser's to enforce.
import type { Buffer } from 'node:buffer'
import { ChunkedDecoder } from '../parser/chunked-decoder.ts'
import type { Limits, Timeouts } from '../parser/limits.ts'
import { Framing, type RequestHead } from '../parser/request-head.ts'
import { Content, type ContentSource } from './content.ts'
import { Progress } from './progress.ts'

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

  /** Nobody wants the rest: at most `maxDrain` more octets are read to keep the connection. */
  discard(maxDrain: number): void {
    this.content.discard()
    this.content.fail(-1)
    this.drainLimit = this.content.received + maxDrain
  }

  get overDrained(): boolean {
    return this.content.received > this.drainLimit
  }

  /** Octets known to be still to come; 0 when chunked: nobody knows. */
  get announcedRest(): number {
    return this.left
  }

  /** Once a tick while it is the peer's turn. */
  tooSlow(timeouts: Timeouts): boolean {
    return this.progress.tooSlow(this.content.received, timeouts.body, timeouts.minBodyRate, timeouts.rateGrace)
  }
}
