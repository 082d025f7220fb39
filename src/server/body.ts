// The pieces of a streamed body: pulled from an iterable, sync or async, for as long as the connection takes them. Knows no HTTP.
import type { Piece } from './application.ts'
import type { RequestCycle } from './request-cycle.ts'

/** A body under way. */
export interface Pieces {
  /** Go on: called at the start, and when the connection has room again. */
  pull(): void
  /** No more is wanted: the iterator is told so by `return()`, once. */
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
  private readonly body: AsyncIterable<Piece>
  private iterator: AsyncIterator<Piece> | null = null
  private done = false
  /** A `next()` is unanswered. */
  private waiting = false
  private checkDue = false
  private readonly onStep = (step: IteratorResult<Piece>): void => this.step(step)
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

  constructor(request: RequestCycle, body: AsyncIterable<Piece>) {
    this.request = request
    this.body = body
  }

  pull(): void {
    if (this.waiting || this.done) return
    if (!this.request.cycle.writable) return
    try {
      const iterator = (this.iterator ??= this.body[Symbol.asyncIterator]())
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
      const end: unknown = this.iterator?.return?.()
      if (end instanceof Promise) end.catch((error: unknown) => this.request.fail(error))
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
