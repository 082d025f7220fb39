// What one connection has produced and not yet given to its transport: one string while it is nothing but short text, else pooled buffers for the
// small and references for the large.
// All that one turn produced leaves in one write. Knows nothing of HTTP.
import { Buffer } from 'node:buffer'
import { POOLED_SIZE, borrowBuffer, giveBackBuffer } from './buffer-pool.ts'
import type { Transport } from './transport.ts'

/** Up to this size bytes are copied into a pooled buffer (a copy of 8 KiB costs less than a second view in writev); beyond, referred to. */
const COPY_MAX = POOLED_SIZE >> 1

/** What `buffer.write` calls in the end: directly it costs a tenth less per request (measured in process, 16 pipelined). Not in @types/node. */
type RawWriter = Buffer & { latin1Write(text: string, offset: number, length: number): number; utf8Write(text: string, offset: number, length: number): number }

export class WriteBuffer {
  /** Bytes gathered and not yet written. */
  bytes = 0
  /** Of these, those that are referred to. */
  referred = 0
  /** All there is, while that is latin-1 text: one native call then writes it, where a pooled buffer takes one for each answer, a view and another. */
  private latin1 = ''
  /** The pooled buffer being filled; its bytes before `from` are in `views` already. */
  private pooled: Buffer | null = null
  private from = 0
  private to = 0
  private views: Uint8Array[] | null = null
  private memories: (Buffer | null)[] = []

  /** Text of `size` bytes on the wire. Where `size` is its length it is written as latin-1 (one byte a character), else as UTF-8. */
  text(text: string, size: number): void {
    if (size === 0) return
    // Behind something referred to there is no such room: that alone is more.
    if (size === text.length && this.pooled === null && this.bytes + size <= COPY_MAX) {
      this.latin1 += text
      this.bytes += size
      return
    }
    if (size > COPY_MAX) {
      const bytes = Buffer.from(text, size === text.length ? 'latin1' : 'utf8')
      this.bytes += bytes.length
      this.refer(bytes)
      return
    }
    const buffer = this.room(size)
    // What was written counts, not what was said: the rest of a pooled buffer is somebody else's.
    const written = size === text.length ? buffer.latin1Write(text, this.to, size) : buffer.utf8Write(text, this.to, size)
    this.bytes += written
    this.to += written
  }

  /** Bytes. Large ones are not copied: they must stay as they are until they left. */
  piece(piece: Uint8Array): void {
    const size = piece.byteLength
    if (size === 0) return
    this.bytes += size
    if (size > COPY_MAX) {
      this.refer(piece)
      return
    }
    this.room(size).set(piece, this.to)
    this.to += size
  }

  /** Everything to the transport, which owns the memory from here on. False: a piece that was referred to is not what it was (its memory was
   *  transferred or resized), so that lengths already announced would lie; nothing was written. */
  flush(transport: Transport): boolean {
    if (this.bytes === 0) return true
    if (this.latin1 !== '') {
      const text = this.latin1
      this.latin1 = ''
      this.bytes = 0
      transport.writeText(text)
      return true
    }
    if (this.views !== null && this.size() !== this.bytes) return false
    this.bytes = 0
    const buffer = this.pooled
    this.pooled = null
    if (this.views === null) {
      transport.write(buffer!.subarray(this.from, this.to), buffer)
      this.from = this.to = 0
      return true
    }
    if (buffer !== null) this.retire(buffer)
    this.referred = 0
    const views = this.views
    const memories = this.memories
    this.views = null
    this.memories = []
    this.from = this.to = 0
    transport.writeMany(views, memories)
    return true
  }

  /** Throw everything away: the peer is gone. */
  clear(): void {
    for (const memory of this.memories) if (memory !== null) giveBackBuffer(memory)
    if (this.pooled !== null) giveBackBuffer(this.pooled)
    this.pooled = this.views = null
    this.memories = []
    this.latin1 = ''
    this.bytes = this.referred = this.from = this.to = 0
  }

  private size(): number {
    let size = this.to - this.from
    for (const view of this.views!) size += view.byteLength
    return size
  }

  private room(size: number): RawWriter {
    if (this.latin1 !== '') this.pourText()
    if (this.pooled !== null) {
      if (POOLED_SIZE - this.to >= size) return this.pooled as RawWriter
      this.retire(this.pooled)
    }
    this.from = this.to = 0
    return (this.pooled = borrowBuffer()) as RawWriter
  }

  /** Something else follows: the text becomes the beginning of a pooled buffer. */
  private pourText(): void {
    const text = this.latin1
    this.latin1 = ''
    this.to += this.room(text.length).latin1Write(text, 0, text.length)
  }

  /** No more goes into `buffer`: its memory is returned with the last view of it, or with what was referred to after that. */
  private retire(buffer: Buffer): void {
    if (this.to > this.from) this.push(buffer.subarray(this.from, this.to), buffer)
    else this.memories[this.memories.length - 1] = buffer
  }

  private refer(piece: Uint8Array): void {
    if (this.latin1 !== '') this.pourText()
    if (this.pooled !== null && this.to > this.from) {
      this.push(this.pooled.subarray(this.from, this.to), null)
      this.from = this.to
    }
    this.push(piece, null)
    this.referred += piece.byteLength
  }

  private push(view: Uint8Array, memory: Buffer | null): void {
    this.views ??= []
    this.views.push(view)
    this.memories.push(memory)
  }
}
