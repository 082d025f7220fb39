// The pieces of a streamed body: pulled from an iterable, sync or async, for as long as the connection takes them. Knows no HTTP.
import type { Piece, WebStream } from './application.ts'
import { heedRejection } from './describe-error.ts'
import type { RequestCycle } from './request-cycle.ts'

/** A body under way. */
export interface Pieces {
  /** Go on: called at the start, and when the connection has room again. */
  pull(): void
  /** No more is wanted: the iterator is told so by `return()`, a stream by its end, once. */
  stop(): void
}

export class IterablePieces implements Pieces {
  private readonly request: RequestCycle
  private readonly body: Iterable<Piece>
  private iterator: Iterator<Piece> | null = null
  private done = false
  /** Inside `pull`: a piece that ends the answer may call back into `stop`. */
  private pulling = false

  constructor(request: RequestCycle, body: Iterable<Piece>) {
    this.request = request
    this.body = body
  }

  pull(): void {
    if (this.pulling || this.done) return
    this.pulling = true
    try {
      const iterator = (this.iterator ??= this.body[Symbol.iterator]())
      while (this.request.cycle.writable) {
        const step = iterator.next()
        if (step.done === true) {
          this.done = true
          this.request.piecesEnded()
          break
        }
        if (!this.request.piece(step.value)) {
          this.stop()
          this.request.piecesStopped()
          break
        }
      }
    } catch (error) {
      this.done = true
      this.request.fail(error)
    } finally {
      this.pulling = false
    }
  }

  stop(): void {
    if (this.done) return
    this.done = true
    try {
      this.iterator?.return?.()
    } catch (error) {
      this.request.fail(error)
    }
  }
}

export class AsyncPieces implements Pieces {
  private readonly request: RequestCycle
  private readonly body: AsyncIterable<Piece> | AsyncIterator<Piece> | WebStream
  /** An async generator, and no stream. */
  private readonly plain: boolean
  private iterator: AsyncIterator<Piece> | null = null
  private done = false
  /** A `next()` is unanswered. */
  private waiting = false
  private checkDue = false
  private readonly onStep = (step: IteratorResult<Piece>): void => {
    try {
      this.step(step)
    } catch (error) {
      this.done = true
      this.request.fail(error)
    }
  }
  private readonly onError = (error: unknown): void => {
    this.waiting = false
    if (this.done) return
    this.done = true
    this.request.fail(error)
  }
  private readonly hop = (): void => process.nextTick(this.check)
  private readonly check = (): void => {
    this.checkDue = false
    if (this.waiting && !this.done) this.request.cycle.sendHeld()
  }

  constructor(request: RequestCycle, body: AsyncIterable<Piece> | WebStream) {
    this.request = request
    this.body = body
    this.plain = (body as AsyncIterable<Piece>)[Symbol.asyncIterator] === ITSELF
    // It is ours from now on. Its iterator hears of errors, but only between the first pull and the end.
    if (!this.plain && isNodeStream(body)) body.on('error', ignore)
  }

  pull(): void {
    if (this.waiting || this.done) return
    if (!this.request.cycle.writable) return
    try {
      const iterator = (this.iterator ??= this.plain ? (this.body as AsyncIterator<Piece>) : iteratorOf(this.body as AsyncIterable<Piece> | WebStream))
      this.waiting = true
      const next: unknown = iterator.next()
      ;(next instanceof Promise ? next : Promise.resolve(next)).then(this.onStep as (step: unknown) => void, this.onError)
      this.expectWait()
    } catch (error) {
      this.onError(error)
    }
  }

  stop(): void {
    if (this.done) return
    this.done = true
    try {
      const { body, iterator } = this
      // The return() of a stream's own iterator waits behind a next() that may never be answered; before the first next() it does nothing.
      if (isNodeStream(body)) body.destroy()
      heedRejection(iterator === null ? cancelUnread(body) : iterator.return?.(), error => this.request.fail(error))
    } catch (error) {
      this.request.fail(error)
    }
  }

  private step(step: IteratorResult<Piece>): void {
    this.waiting = false
    if (this.done) return
    if (step.done === true) {
      this.done = true
      this.request.piecesEnded()
    } else if (this.request.piece(step.value)) {
      this.pull()
    } else {
      this.stop()
      this.request.piecesStopped()
    }
  }

  /** When the turn and its microtasks are over and we are still waiting, what is held leaves (`flushWhenWaiting`). */
  private expectWait(): void {
    if (this.checkDue || !this.request.server.flushWhenWaiting || !this.request.cycle.holding) return
    this.checkDue = true
    queueMicrotask(this.hop)
  }
}

/** What async generators are iterable by: it returns what it is called on. That answers all our questions about them at once. A generator function that is
 *  made anew for every request has a new prototype each time, where V8 looks for each further property in vain and slowly: 4 % of a streamed answer. */
const ITSELF: unknown = Object.getPrototypeOf(Object.getPrototypeOf((async function* () {}).prototype))[Symbol.asyncIterator]

/** A Node stream, of any library. */
interface NodeStream {
  on(event: 'error', listener: () => void): unknown
  destroy(): unknown
}

function isNodeStream(body: object): body is NodeStream {
  const { destroy, on } = body as Partial<NodeStream>
  return typeof destroy === 'function' && typeof on === 'function'
}

export function isWebStream(body: object): body is WebStream {
  return typeof (body as Partial<WebStream>).getReader === 'function'
}

function iteratorOf(body: AsyncIterable<Piece> | WebStream): AsyncIterator<Piece> {
  if (!isWebStream(body)) return body[Symbol.asyncIterator]()
  // Not its own iterator: a reader can be cancelled while it reads.
  const reader = body.getReader()
  return { next: () => reader.read(), return: () => reader.cancel() } as unknown as AsyncIterator<Piece>
}

function cancelUnread(body: object): unknown {
  return isWebStream(body) ? body.cancel() : undefined
}

function ignore(): void {}
