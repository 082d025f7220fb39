// One request and its answer: the answer's head, framing, accounting and coalescing. What it writes goes to its connection's write buffer.
// Knows nothing of applications or environs: whoever answers is its `owner`.
import { Buffer } from 'node:buffer'
import type { RequestHead } from '../parser/request-head.ts'
import type { Connection } from './connection.ts'
import type { Content } from './content.ts'
import { HeadersSent, InvalidHeader } from './errors.ts'
import type { CycleHandler } from './engine.ts'
import type { Outgoing } from './outgoing.ts'
import type { Ended } from './refusal.ts'
import { contentLengthLine, encodeResponseHead, type ResponseHead } from './response-head.ts'

// How the answer's content ends.
const NOTHING = 0
const LENGTH = 1
const CHUNKED = 2
const UNTIL_CLOSE = 3

/** How a request ended. */
export interface Outcome {
  /** Bytes of content given to the connection. Of an answer that was cut not all of them have left. */
  readonly bytes: number
  /** The whole answer was handed to the kernel. */
  readonly completed: boolean
  /** '' or why the answer is incomplete. */
  readonly reason: string
}

/** Whoever answers a cycle. */
export interface CycleOwner {
  /** After `writable` was false: more is welcome. */
  onWritable(): void
  /** Nothing more reaches the peer: it left, or a deadline or an error cut the request. At most once. */
  onAborted(reason: string): void
}

const CONTINUE = encodeResponseHead(100, undefined, true)

export class Cycle implements Ended {
  readonly connection: Connection
  readonly head: RequestHead
  /** null: the request has no content. */
  content: Content | null = null
  owner: CycleOwner | null = null
  /** Head of the answer; can be replaced until `headSent`. */
  responseHead: ResponseHead | null = null
  /** Pieces are joined up to this size, bytes. */
  minimumChunkSize: number
  /** The head of the answer is in the write buffer or gone. */
  headSent = false
  /** The answer is complete, or nothing more of it will be sent. */
  ended = false
  /** The connection lives on after this answer. Decided when the head is sent. */
  persist = false
  /** A 100 (Continue) was sent. */
  continued = false
  /** The status that the peer saw, or would have seen. */
  status = 200
  bodyBytes = 0
  wireBytes = 0
  /** '' or why the cycle ended early. */
  reason = ''
  /** Everything of the answer was handed to the kernel. */
  completed = false
  /** The peer error of this request, if it made one, for the log; '' else. */
  refusal = ''
  /** Virtual time of its head, for deadlines. */
  readonly startedAt: number
  /** Next in the connection's list of cycles whose last bytes are not in the kernel yet. */
  nextEnded: Ended | null = null
  /** With the application's headers, if it set any: for each 100 to come. */
  continueHead: ResponseHead = CONTINUE
  /** What the application gave beyond its Content-Length was cut off. */
  excess = false
  /** The whole content's size where it is known although it is streamed (a large array), or -1. */
  knownSize = -1
  /** The server's clock at the head, ms, when somebody logs how long it took; else 0. */
  clockAtHead = 0
  private mode = NOTHING
  /** LENGTH: bytes still to be sent. */
  private remaining = 0
  /** Pieces held for coalescing: strings joined while they follow one another. */
  private held: (string | Uint8Array)[] | null = null
  private heldText = ''
  private heldTextBytes = 0
  private heldEndsHigh = false
  private heldBytes = 0

  constructor(connection: Connection, head: RequestHead, startedAt: number, minimumChunkSize: number) {
    this.connection = connection
    this.head = head
    this.startedAt = startedAt
    this.minimumChunkSize = minimumChunkSize
  }

  get size(): number {
    return this.head.text.length + (this.content === null ? 0 : this.content.memory)
  }

  tell(handler: CycleHandler): void {
    handler.onCycleEnd(this)
  }

  get outcome(): Outcome {
    return { bytes: this.bodyBytes, completed: this.completed, reason: this.reason }
  }

  /** The whole answer at once; `size` is what the pieces sum up to in bytes. The usual case, without a held piece or a promise. */
  answer(pieces: readonly (string | Uint8Array)[], size: number): void {
    if (this.ended) return
    const out = this.connection.out
    const before = out.bytes
    const text = this.headText(size)
    if (this.mode === LENGTH && size > this.remaining) {
      out.text(text, text.length)
      this.hold(pieces)
      this.writeHeld()
    } else if (this.mode !== LENGTH) {
      out.text(text, text.length)
    } else {
      this.remaining -= size
      this.bodyBytes += size
      const only = pieces.length === 1 ? pieces[0] : undefined
      if (typeof only === 'string' && only.length === size) {
        const whole = text + only
        out.text(whole, whole.length)
      } else {
        out.text(text, text.length)
        writePieces(out, pieces)
      }
    }
    this.wireBytes += out.bytes - before
    this.end('')
  }

  /** One piece of a streamed answer: held until `minimumChunkSize` is reached. */
  push(piece: string | Uint8Array): void {
    if (this.ended) return
    this.holdOne(piece)
    if (this.heldBytes >= this.minimumChunkSize && this.heldBytes > 0) this.sendHeld()
  }

  /** One piece at once, with whatever is held. The head leaves even when the piece is empty. @throws InvalidHeader beyond the announced length. */
  write(piece: string | Uint8Array): void {
    if (this.ended) return
    this.holdOne(piece, true)
    const announced = this.headSent ? (this.mode === LENGTH ? this.remaining : Infinity) : this.announced
    if (this.heldBytes > announced) {
      this.dropHeld()
      throw new InvalidHeader('write() beyond the Content-Length that was announced')
    }
    this.sendHeld()
  }

  /** What is held leaves now. */
  sendHeld(): void {
    if (this.ended) return
    const out = this.connection.out
    const before = out.bytes
    this.writeSoFar()
    this.wireBytes += out.bytes - before
    this.connection.wrote()
  }

  /** Bytes are held for coalescing. */
  get holding(): boolean {
    return !this.ended && this.heldBytes > 0
  }

  /** The answer allows no content (HEAD, 204, 304 …): nothing that follows would be sent. Known once the head is sent. */
  get contentless(): boolean {
    return this.headSent && this.mode === NOTHING
  }

  /** False: stop producing, `owner.onWritable()` will be called. */
  get writable(): boolean {
    return this.ended || this.connection.writable()
  }

  /** The end of the answer, once. `trailers`: rendered field lines, sent when chunked and the peer said `TE: trailers`. */
  end(trailers: string): void {
    if (this.ended) return
    const out = this.connection.out
    const before = out.bytes
    this.writeSoFar()
    if (this.mode === CHUNKED) {
      const last = this.head.acceptsTrailers && trailers !== '' ? `0\r\n${trailers}\r\n` : '0\r\n\r\n'
      out.text(last, last.length)
    }
    this.wireBytes += out.bytes - before
    if (this.mode === LENGTH && this.remaining > 0) {
      // RFC 9112 §8: the peer must see that something is missing; what was produced still leaves first.
      this.connection.cutShort(this, 'the answer is shorter than its Content-Length')
      return
    }
    this.ended = true
    this.connection.responseEnded(this)
  }

  /** An interim answer. Nothing happens towards HTTP/1.0 (RFC 9110 §15.2), nor after the final head. */
  inform(head: ResponseHead): void {
    if (this.ended || this.headSent || this.head.versionMinor === 0 || !this.connection.engine.speaks11) return
    const out = this.connection.out
    const text = `${head.statusLine}${head.fields}\r\n`
    out.text(text, text.length)
    this.wireBytes += text.length
    this.connection.wrote()
  }

  /** 100 Continue with the headers that the application set, if any. */
  sendContinue(): void {
    this.continued = true
    this.inform(this.continueHead)
  }

  /** Replace the head of the answer. @throws HeadersSent */
  setHead(head: ResponseHead): void {
    if (this.headSent) throw new HeadersSent('the head of the answer has been sent')
    this.responseHead = head
    this.status = head.status
  }

  /** Throw away what is held: for an answer that is replaced by another before its head was sent. */
  dropHeld(): void {
    this.held = null
    this.heldText = ''
    this.heldEndsHigh = false
    this.heldTextBytes = this.heldBytes = 0
  }

  private get announced(): number {
    const head = this.responseHead!
    return head.contentLength >= 0 && !head.bodiless && this.head.method !== 'HEAD' ? head.contentLength : Infinity
  }

  /** The head as it leaves (eventlet's order): status line, the application's headers, Content-Length, Date, Transfer-Encoding, Connection. */
  private headText(size: number): string {
    const connection = this.connection
    const engine = connection.engine
    const head = this.responseHead!
    this.headSent = true
    let text = (engine.speaks11 ? head.statusLine : engine.version + head.statusLine.slice(8)) + head.fields
    // RFC 9112 §6.3, the sender's side.
    if (head.bodiless) {
      if (head.status === 205) text += 'Content-Length: 0\r\n'
    } else if (head.contentLength >= 0) {
      this.mode = LENGTH
      this.remaining = head.contentLength
    } else if (size >= 0) {
      this.mode = LENGTH
      this.remaining = size
      text += contentLengthLine(size)
    } else {
      this.mode = this.head.versionMinor === 1 && engine.speaks11 ? CHUNKED : UNTIL_CLOSE
    }
    if (this.head.method === 'HEAD') this.mode = NOTHING
    if (!head.hasDate) text += engine.dates.fieldLine()
    if (this.mode === CHUNKED) text += 'Transfer-Encoding: chunked\r\n'
    const tooMuch = this.mode === LENGTH && size > this.remaining
    this.persist = this.head.keepAlive && !head.close && !tooMuch && this.mode !== UNTIL_CLOSE && connection.mayPersist(this)
    if (!this.persist) text += head.upgrade ? 'Connection: upgrade, close\r\n' : 'Connection: close\r\n'
    else if (head.upgrade) text += 'Connection: upgrade\r\n'
    else if (this.head.askedKeepAlive) text += engine.keepAliveLines
    return text + '\r\n'
  }

  private hold(pieces: readonly (string | Uint8Array)[]): void {
    for (const piece of pieces) this.holdOne(piece)
  }

  private holdOne(piece: string | Uint8Array, leavesNow = false): void {
    if (typeof piece === 'string') {
      const size = Buffer.byteLength(piece)
      if (size === 0) return
      // Two halves of a surrogate pair in two pieces: joined they would be four bytes, each for itself they were counted as three.
      if (this.heldEndsHigh && isLowSurrogate(piece.charCodeAt(0))) this.closeText()
      this.heldEndsHigh = isHighSurrogate(piece.charCodeAt(piece.length - 1))
      this.heldText += piece
      this.heldTextBytes += size
      this.heldBytes += size
    } else if (piece.byteLength > 0) {
      this.heldBytes += piece.byteLength
      this.closeText()
      // A generator may yield the same scratch buffer again before this piece leaves.
      const stays = !leavesNow && this.heldBytes < this.minimumChunkSize
      ;(this.held ??= []).push(stays ? Uint8Array.prototype.slice.call(piece) : piece)
    }
  }

  private closeText(): void {
    if (this.heldText === '') return
    ;(this.held ??= []).push(this.heldText)
    this.heldText = ''
    this.heldTextBytes = 0
    this.heldEndsHigh = false
  }

  /** The head if it has not left, and everything held. */
  private writeSoFar(): void {
    if (!this.headSent) {
      const text = this.headText(this.knownSize)
      this.connection.out.text(text, text.length)
    }
    if (this.heldBytes > 0) this.writeHeld()
  }

  /** Everything held, as one chunk. The head has been written. */
  private writeHeld(): void {
    const out = this.connection.out
    let size = this.heldBytes
    if (this.mode === NOTHING) {
      this.dropHeld()
      return
    }
    if (this.mode === LENGTH) {
      if (size > this.remaining) {
        size = this.cutHeld(this.remaining)
        this.excess = true
        this.persist = false
      }
      this.remaining -= size
    }
    this.bodyBytes += size
    if (size === 0) return
    const lead = this.mode === CHUNKED ? size.toString(16) + '\r\n' : ''
    const tail = this.mode === CHUNKED ? '\r\n' : ''
    if (this.held === null && this.heldTextBytes === this.heldText.length) {
      const whole = lead + this.heldText + tail
      out.text(whole, whole.length)
    } else {
      out.text(lead, lead.length)
      if (this.held !== null) writePieces(out, this.held)
      out.text(this.heldText, this.heldTextBytes)
      out.text(tail, tail.length)
    }
    this.dropHeld()
  }

  /** Keep the first `most` held bytes. */
  private cutHeld(most: number): number {
    this.closeText()
    const all = Buffer.concat((this.held ?? []).map((piece) => (typeof piece === 'string' ? Buffer.from(piece) : piece)))
    this.dropHeld()
    this.held = [all.subarray(0, most)]
    this.heldBytes = most
    return most
  }
}

function writePieces(out: Outgoing, pieces: readonly (string | Uint8Array)[]): void {
  for (const piece of pieces) {
    if (typeof piece === 'string') out.text(piece, Buffer.byteLength(piece))
    else out.piece(piece)
  }
}

function isHighSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdbff
}

function isLowSurrogate(unit: number): boolean {
  return unit >= 0xdc00 && unit <= 0xdfff
}
