// wsgi.input: the content of one request as an application reads it. Knows nothing of chunks, sockets or deadlines: bytes come from a Content,
// everything else goes to its InputSource. No stream inside: an operation is one small object, and one that finds its bytes there costs no wait.
import { Buffer } from 'node:buffer'
import type { Duplex } from 'node:stream'
import { OVER, type Content, type ContentWaiter } from '../io/content.ts'
import { BodyTooLarge, UsageError } from '../io/errors.ts'
import type { Headers } from './application.ts'
import { PieceList } from './piece-list.ts'

/** What an input needs of its cycle. */
export interface InputSource {
  /** null: the request has none, and every read ends at once. */
  readonly content: Content | null
  /** What read() without a size, readline and readlines may hold, bytes. */
  readonly maxBufferedBody: number
  /** @throws InvalidHeader */
  setHundredContinueHeaders(headers: Headers, capitalize: boolean): void
  sendHundredContinue(): void
  takeSocket(): Duplex
  /** What an application sees of a `Content.failure`. */
  failureError(failure: number): Error
}

// Kinds of operation.
const READ = 0
const LINE = 1
const LINES = 2
const PIECE = 3
const DISCARD = 4
type Kind = 0 | 1 | 2 | 3 | 4

const LF = 0x0a
/** Octets that a line costs beside its own: a megabyte of empty lines takes a hundred of memory. */
const LINE_COST = 128
const DONE: IteratorResult<Buffer> = Object.freeze({ value: undefined, done: true })

/** One call waiting for its turn or its bytes. */
class Operation {
  readonly kind: Kind
  /** Bytes at most (READ, LINE), or enough (LINES); Infinity: to the end, or to the end of the line. */
  readonly size: number
  /** Bytes that it may hold; beyond them it fails. */
  readonly bound: number
  readonly pieces: PieceList = new PieceList()
  /** LINES only: those complete, and their bytes. */
  readonly lines: Buffer[] | null
  lineBytes = 0
  settled = false
  failed = false
  result: unknown = undefined
  resolve: ((result: unknown) => void) | null = null
  reject: ((error: unknown) => void) | null = null
  next: Operation | null = null

  constructor(kind: Kind, size: number, bound: number) {
    this.kind = kind
    this.size = size
    this.bound = bound
    this.lines = kind === LINES ? [] : null
  }

  finish(result: unknown): true {
    this.settled = true
    this.result = result
    return true
  }

  fail(error: Error): true {
    this.failed = true
    return this.finish(error)
  }
}

/** The request's content. Reads may overlap: they are served in the order of the calls. A read that cannot be completed because the content was
 *  cut short rejects (RequestAborted, ChunkReadError, BodyTooLarge), and so does every later one; nothing is reported if nobody listens.
 *  Pieces are the caller's own. */
export class Input {
  #source: InputSource
  /** Taken from the content by a line reader that looked too far; unread from `#restStart` on. */
  #rest: Buffer | null = null
  #restStart = 0
  /** Bytes taken from the content so far, and whether it was us who threw the others away. */
  #taken = 0
  #discarded = false
  #first: Operation | null = null
  #last: Operation | null = null
  #waiter: ContentWaiter | null = null
  #serving = false
  #again = false

  /** @internal */
  constructor(source: InputSource) {
    this.#source = source
  }

  /** `size` bytes, fewer only at the end, then empty. Without a size (or null, or a negative one): all that is left, at most `maxBufferedBody` bytes.
   *  `read(Infinity)` is all that is left without that bound. */
  read(size?: number | null): Promise<Buffer> {
    const most = sizeOf(size)
    const bound = most === Infinity && size !== Infinity ? this.#source.maxBufferedBody : Infinity
    if (most === Infinity) {
      const whole = this.#takeWhole(bound)
      if (whole !== null) return Promise.resolve(whole)
    }
    return this.#start<Buffer>(READ, most, bound)
  }

  /** Up to and including the next LF, at most `size` bytes when given; empty at the end. Holds at most `maxBufferedBody` bytes. */
  readline(size?: number | null): Promise<Buffer> {
    return this.#start<Buffer>(LINE, sizeOf(size), this.#source.maxBufferedBody)
  }

  /** The lines that are left, or as many as it takes to have `hint` bytes. Together they hold at most `maxBufferedBody` bytes, each
   *  but the last counted with 128 more. */
  readlines(hint?: number | null): Promise<Buffer[]> {
    return this.#start<Buffer[]>(LINES, sizeOf(hint) || Infinity, this.#source.maxBufferedBody)
  }

  /** Pieces as they arrive. Leaving the loop early leaves the rest to later reads. */
  [Symbol.asyncIterator](): AsyncIterableIterator<Buffer> {
    return new ContentPieces(() => this.#start<IteratorResult<Buffer>>(PIECE, Infinity, Infinity))
  }

  /** Reads to the end and throws away. */
  discard(): Promise<void> {
    return this.#start<void>(DISCARD, Infinity, Infinity)
  }

  /** Headers of each 100 (Continue) from here on. @throws InvalidHeader */
  setHundredContinueResponseHeaders(headers: Headers, capitalize: boolean = true): void {
    this.#source.setHundredContinueHeaders(headers, capitalize)
  }

  /** Sends a 100 (Continue) now; the automatic one at the first read is then left out. */
  sendHundredContinueResponse(): void {
    this.#source.sendHundredContinue()
  }

  /** Takes the connection over, as `wirelet.upgrade` does. */
  getSocket(): Duplex {
    this.giveBack()
    return this.#source.takeSocket()
  }

  /** Returns to the content what was taken from it and not read: before the connection is handed over with all that is unread. @internal */
  giveBack(): void {
    if (this.#first !== null) this.#reclaim(this.#first)
    const rest = this.#rest
    if (rest === null) return
    const unread = rest.subarray(this.#restStart)
    this.#rest = null
    this.#taken -= unread.length
    this.#source.content!.putBack(unread)
  }

  /** What a line reader took and has not read. @internal */
  get memory(): number {
    return this.#rest === null ? 0 : this.#rest.buffer.byteLength
  }

  #start<T>(kind: Kind, size: number, bound: number): Promise<T> {
    const operation = new Operation(kind, size, bound)
    if (this.#last === null) this.#first = operation
    else this.#last.next = operation
    this.#last = operation
    this.#serve()
    if (operation.settled && !operation.failed) return Promise.resolve(operation.result as T)
    const promise = operation.settled
      ? Promise.reject<T>(operation.result)
      : new Promise<T>((resolve, reject) => {
        operation.resolve = resolve as (result: unknown) => void
        operation.reject = reject
      })
    promise.catch(ignore)
    return promise
  }

  /** Completes operations in their order until one has to wait. Taking and waiting may make the connection decode more, and call us from within. */
  #serve(): void {
    if (this.#serving) {
      this.#again = true
      return
    }
    this.#serving = true
    do {
      this.#again = false
      let operation = this.#first
      while (operation !== null && this.#advance(operation)) {
        const { resolve, reject } = operation
        if (operation.failed) reject?.(operation.result)
        else resolve?.(operation.result)
        this.#first = operation = operation.next
      }
      if (operation === null) this.#last = null
      else this.#source.content!.wait(this.#waiter ??= { onContentChange: () => this.#serve() })
    } while (this.#again)
    this.#serving = false
  }

  /** One step of an operation with what is there; false when it must wait. */
  #advance(operation: Operation): boolean {
    switch (operation.kind) {
      case READ: return this.#read(operation)
      case LINE: return this.#readLine(operation)
      case LINES: return this.#readLines(operation)
      case PIECE: {
        const piece = this.#take(Infinity)
        return piece !== null ? operation.finish({ value: piece, done: false }) : this.#atEnd(operation)
      }
      default: return this.#discard(operation)
    }
  }

  #read(operation: Operation): boolean {
    const { pieces, size, bound } = operation
    if (bound < Infinity && pieces.length === 0 && this.#announcedRest() > bound) return this.#tooLarge(operation)
    while (pieces.length < size) {
      const piece = this.#take(Math.min(size, bound + 1) - pieces.length)
      if (piece === null) return this.#atEnd(operation)
      pieces.add(piece)
      if (pieces.length > bound) return this.#tooLarge(operation)
    }
    return operation.finish(pieces.join())
  }

  #readLine(operation: Operation): boolean {
    const { pieces, size, bound } = operation
    while (pieces.length < size) {
      const lineEnded = this.#takeLine(operation, Math.min(size, bound + 1) - pieces.length)
      if (lineEnded === null) return this.#atEnd(operation)
      if (pieces.length > bound) return this.#tooLarge(operation)
      if (lineEnded) break
    }
    return operation.finish(pieces.join())
  }

  #readLines(operation: Operation): boolean {
    const { pieces, size, bound } = operation
    const lines = operation.lines!
    if (size === Infinity && lines.length === 0 && pieces.length === 0 && this.#announcedRest() > bound) return this.#tooLarge(operation)
    while (operation.lineBytes < size) {
      const lineEnded = this.#takeLine(operation, bound + 1 - operation.lineBytes - pieces.length)
      if (lineEnded === null) return this.#atEnd(operation)
      if (operation.lineBytes + pieces.length + lines.length * LINE_COST > bound) return this.#tooLarge(operation)
      if (lineEnded) this.#endLine(operation)
    }
    return operation.finish(lines)
  }

  #endLine(operation: Operation): void {
    operation.lineBytes += operation.pieces.length
    operation.lines!.push(operation.pieces.join())
    operation.pieces.clear()
  }

  #discard(operation: Operation): boolean {
    const { content } = this.#source
    this.#discarded = true
    this.#rest = null
    content?.discard()
    return this.#atEnd(operation)
  }

  /** Nothing can be taken: completes the operation if nothing will come either. */
  #atEnd(operation: Operation): boolean {
    const { content } = this.#source
    if (content !== null) {
      if (content.failure !== 0) return operation.fail(this.#source.failureError(content.failure))
      if (!content.complete) return false
      // Somebody else threw content away, when the cycle ended: what is missing must not look like the end.
      if (!this.#discarded && this.#taken < content.received) return operation.fail(this.#source.failureError(OVER))
    }
    const { pieces, lines } = operation
    switch (operation.kind) {
      case LINES:
        if (pieces.length > 0) this.#endLine(operation)
        return operation.finish(lines)
      case PIECE: return operation.finish(DONE)
      case DISCARD: return operation.finish(undefined)
      default: return operation.finish(pieces.join())
    }
  }

  #tooLarge(operation: Operation): true {
    this.#reclaim(operation)
    return operation.fail(new BodyTooLarge(`more than ${operation.bound} bytes: read them piece by piece, or raise limits.maxBufferedBody`))
  }

  /** Takes back what an operation holds, so that a later one can still have it. */
  #reclaim(operation: Operation): void {
    const { pieces, lines } = operation
    const held = lines === null ? [] : lines.splice(0)
    if (pieces.length > 0) held.push(pieces.join())
    if (this.#rest !== null) held.push(this.#rest.subarray(this.#restStart))
    this.#rest = held.length === 0 ? null : held.length === 1 ? held[0]! : Buffer.concat(held)
    this.#restStart = 0
    operation.lineBytes = 0
    pieces.clear()
  }

  /** Bytes still to be read, by the announced length; 0 when it is unknown. */
  #announcedRest(): number {
    const { content } = this.#source
    if (content === null || content.announced < 0 || this.#discarded) return 0
    const rest = this.#rest
    return content.announced - this.#taken + (rest === null ? 0 : rest.length - this.#restStart)
  }

  /** All that is left, when it has come whole and in one piece and nobody waits: the usual small body, without an operation. Null: not so. */
  #takeWhole(bound: number): Buffer | null {
    const { content } = this.#source
    if (this.#first !== null || this.#rest !== null || content === null || !content.complete || content.held > bound) return null
    const piece = content.takeLast()
    if (piece !== null) this.#taken += piece.length
    return piece
  }

  /** The next bytes that are there, at most `most`; null when there are none. */
  #take(most: number): Buffer | null {
    const rest = this.#rest
    if (rest === null) {
      const { content } = this.#source
      if (content === null) return null
      const piece = content.take(most)
      if (piece !== null) this.#taken += piece.length
      return piece
    }
    const start = this.#restStart
    if (rest.length - start <= most) {
      this.#rest = null
      return start === 0 ? rest : rest.subarray(start)
    }
    this.#restStart += most
    return rest.subarray(start, start + most)
  }

  /** Adds to the operation's pieces up to and including the next LF, at most `most` bytes: true when it found one, null when there are no bytes. */
  #takeLine(operation: Operation, most: number): boolean | null {
    // A whole piece is taken and its unread part kept: giving it back would make room in the content for more at every line.
    let rest = this.#rest
    if (rest === null) {
      rest = this.#take(Infinity)
      if (rest === null) return null
      this.#rest = rest
      this.#restStart = 0
    }
    const at = rest.indexOf(LF, this.#restStart)
    const length = (at < 0 ? rest.length : at + 1) - this.#restStart
    operation.pieces.add(this.#take(Math.min(length, most))!)
    return at >= 0 && length <= most
  }
}

/** A loop over an input. Past a failure it goes on to reject: it never turns into an end. */
class ContentPieces implements AsyncIterableIterator<Buffer> {
  #next: () => Promise<IteratorResult<Buffer>>
  #left = false

  constructor(next: () => Promise<IteratorResult<Buffer>>) {
    this.#next = next
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  next(): Promise<IteratorResult<Buffer>> {
    return this.#left ? Promise.resolve(DONE) : this.#next()
  }

  return(): Promise<IteratorResult<Buffer>> {
    this.#left = true
    return Promise.resolve(DONE)
  }
}

/** Whole bytes; Infinity for none, null and negative sizes. */
function sizeOf(size: number | null | undefined): number {
  if (size === undefined || size === null) return Infinity
  if (typeof size !== 'number' || Number.isNaN(size)) throw new UsageError('a size must be a number')
  return size < 0 ? Infinity : Math.floor(size)
}

function ignore(): void {}
