// One request as the application sees it: calls it, understands what it returns, feeds its pieces to the io cycle, and ends with it.
// Every cycle is an async resource of its own: what one request does to its async context is invisible to all others.
import { AsyncResource } from 'node:async_hooks'
import { Buffer } from 'node:buffer'
import type { Duplex } from 'node:stream'
import type { DetailedPeerCertificate, TLSSocket } from 'node:tls'
import { types } from 'node:util'
import { PeerErrorCode, peerErrorInfo } from '../parser/errors.ts'
import type { RequestHead } from '../parser/request-head.ts'
import { OVER, type Content } from '../io/content.ts'
import type { Cycle, CycleOwner, Outcome } from '../io/cycle.ts'
import { BodyTooLarge, ChunkReadError, HeadersSent, InvalidHeader, RequestAborted, UsageError, WireletError } from '../io/errors.ts'
import { encodeResponseHead, encodeTrailers } from '../io/response-head.ts'
import { type Address, LOST } from '../io/transport.ts'
import { ALREADY_HANDLED, type Application, type Environ, type Headers, type Piece, type PostHook, type Status, type TlsInfo, type Write } from './application.ts'
import { AsyncPieces, IterablePieces, isWebStream, type Pieces } from './body.ts'
import { LazyEnviron, type EnvironSource } from './environ.ts'
import { attempt, describeError, heedRejection } from './describe-error.ts'
import { Input, type InputSource } from './input.ts'
import { nextRequestId } from './request-id.ts'

/** Up to this size an array of pieces is answered at once; beyond it, piece by piece under back-pressure. */
const AT_ONCE = 65536

/** From Node 24 on, entering a resource brings back the context of its construction, and what the application set with `enterWith` is gone. */
const CONTEXT_IS_CONSTRUCTED = Number.parseInt(process.versions.node, 10) >= 24

/** wsgi.errors: not the stream itself, which cannot be shown as JSON. */
const ERRORS = { write: (text: string): boolean => process.stderr.write(text) }

const WRITTEN: Promise<boolean> = Promise.resolve(true)
const GONE: Promise<boolean> = Promise.resolve(false)
const NO_HOOKS: readonly PostHook[] = []

/** What a request needs of its server. */
export interface CycleServer {
  readonly application: Application
  readonly extraEnviron: Readonly<Record<string, unknown>> | null
  /** `extraEnviron` has keys that say how to answer. */
  readonly environSteers: boolean
  /** What every request's list of hooks begins with. */
  readonly hooks: readonly PostHook[]
  readonly capitalize: boolean
  readonly debug: boolean
  readonly flushWhenWaiting: boolean
  readonly maxBufferedBody: number
  /** The async resource that every cycle comes from. */
  readonly triggerAsyncId: number
  /** Where it listens: our end, as far as that is known of a connection that is gone. */
  readonly address: Address
  logError(message: string): void
}

export class RequestCycle extends AsyncResource implements CycleOwner, EnvironSource, InputSource {
  readonly cycle: Cycle
  readonly head: RequestHead
  readonly server: CycleServer
  /** Where everything of this request runs after the application's call. */
  scope: AsyncResource = this
  private readonly lazy: LazyEnviron
  /** startResponse was called. */
  private started = false
  /** A streamed body under way. */
  private pieces: Pieces | null = null
  /** The body whose close() is due when the request ends. */
  private closeable: { close(): unknown } | null = null
  /** What the application asked for, once it did. */
  private hooks: PostHook[] | null = null
  private controller: AbortController | null = null
  /** '' or why nothing more reaches the peer. */
  private aborted = ''
  private writeFunction: Write | null = null
  /** Resolvers of `write()` promises that wait for room. */
  private writers: ((more: boolean) => void)[] | null = null
  private input: Input | null = null
  /** The application's part is over: it returned, and its pieces have ended or were stopped. */
  private over = false
  /** The cycle has ended, and its server knows. */
  told = false
  private id = ''

  constructor(server: CycleServer, cycle: Cycle) {
    // Named here, where Node would find the same: cheaper than its looking.
    super('WIRELET_CYCLE', server.triggerAsyncId)
    this.server = server
    this.cycle = cycle
    this.head = cycle.head
    this.lazy = new LazyEnviron(this)
  }

  get environ(): Environ {
    return this.lazy.environ
  }

  /** Call the application, in this cycle's async context. */
  run(): void {
    this.runInAsyncScope(this.call, this)
  }

  private call(): void {
    try {
      const result = this.server.application(this.lazy.environ, (status, headers, excInfo) => this.start(status, headers, excInfo))
      // The context as the application left it, for whatever of this request is still to run. An array without hooks has nothing.
      if (CONTEXT_IS_CONSTRUCTED && !(Array.isArray(result) && this.hooks === null && this.server.hooks.length === 0 && !this.lazy.written)) this.scope = new AsyncResource('WIRELET_CYCLE')
      this.answerWith(result)
    } catch (error) {
      this.fail(error)
    }
  }

  // ── What the application returned ──────────────────────────────────────────────────────────────────────────────────────────────

  private answerWith(result: unknown): void {
    // Most first: an array, one piece, a promise, another iterable.
    if (Array.isArray(result)) {
      this.rememberClose(result)
      this.answerArray(result)
    } else if (typeof result === 'string' || isBytes(result)) this.answerArray([result])
    else if (result === ALREADY_HANDLED) this.handled()
    else if (typeof result !== 'object' || result === null) this.fail(noBody(result))
    else if (typeof (result as PromiseLike<unknown>).then === 'function') {
      Promise.prototype.then.call(
        result instanceof Promise ? result : Promise.resolve(result),
        (value) => this.settled(value),
        (error) => this.fail(error)
      )
    } else if (Symbol.asyncIterator in result) this.stream(result, new AsyncPieces(this, result as AsyncIterable<Piece>))
    else if (Symbol.iterator in result) this.stream(result, new IterablePieces(this, result as Iterable<Piece>))
    else if (isWebStream(result)) this.stream(result, new AsyncPieces(this, result))
    else this.fail(noBody(result))
  }

  /** PEP 3333: an iterable's close() is called when its request ends, however it ends. */
  private rememberClose(body: object): void {
    if (typeof (body as { close?: unknown }).close === 'function') this.closeable = body as { close(): unknown }
  }

  private settled(value: unknown): void {
    try {
      this.answerWith(value)
    } catch (error) {
      this.fail(error)
    }
  }

  private answerArray(body: readonly unknown[]): void {
    const cycle = this.cycle
    // Each element is looked at once: an array whose elements change between two looks must not come out longer than it was measured.
    const { length } = body
    // Nearly always one; `push` would make room for 17.
    const pieces: unknown[] = length === 1 ? [undefined] : []
    let size = 0
    for (let i = 0; i < length; i++) {
      const piece = body[i]
      if (typeof piece === 'string') size += Buffer.byteLength(piece)
      else if (isBytes(piece)) size += piece.byteLength
      else {
        this.fail(noPiece(piece))
        return
      }
      pieces[i] = piece
    }
    if (cycle.ended) {
      this.finish()
    } else if (!this.started) {
      this.fail(new UsageError('the application answered without calling startResponse'))
    } else if (cycle.headSent || (size > AT_ONCE && pieces.length > 1)) {
      cycle.knownSize = size
      this.stream(null, new IterablePieces(this, pieces as Piece[]))
    } else {
      cycle.answer(pieces as Piece[], size)
      this.logWrongLength()
      this.finish()
    }
  }

  private stream(body: object | null, pieces: Pieces): void {
    if (body !== null) this.rememberClose(body)
    this.pieces = pieces
    if (this.cycle.ended) {
      this.stop()
      return
    }
    // Asked only when it can be there: reading through the proxy costs, and the key is not ours.
    if (this.lazy.written || this.server.environSteers) {
      const minimum = Number(this.environ['eventlet.minimum_write_chunk_size'] ?? this.cycle.minimumChunkSize)
      if (minimum >= 0) this.cycle.minimumChunkSize = minimum
    }
    pieces.pull()
  }

  /** From the pieces: one more. False: stop, the answer is complete or dead, or this failed. */
  piece(piece: unknown): boolean {
    const cycle = this.cycle
    if (cycle.ended) return false
    if (typeof piece !== 'string' && !isBytes(piece)) {
      this.fail(noPiece(piece))
      return false
    }
    if (!this.started) {
      if (piece.length === 0) return true
      this.fail(new UsageError('the application answered without calling startResponse'))
      return false
    }
    cycle.push(piece)
    return !cycle.contentless && !cycle.excess
  }

  /** From the pieces: nothing more will come. */
  piecesEnded(): void {
    if (!this.started && !this.cycle.ended) {
      this.fail(new UsageError('the application answered without calling startResponse'))
      return
    }
    this.end()
  }

  /** From the pieces: they stopped, since `piece` returned false. */
  piecesStopped(): void {
    this.end()
  }

  private end(): void {
    const cycle = this.cycle
    if (!cycle.ended) {
      let trailers = ''
      if (cycle.head.acceptsTrailers && (this.lazy.written || this.server.environSteers)) {
        const make = this.environ['wirelet.sendTrailers']
        if (typeof make === 'function') {
          try {
            const lines = make()
            heedRejection(lines, error => this.logFailure('sendTrailers failed', error))
            trailers = encodeTrailers(lines, this.server.capitalize)
          } catch (error) {
            this.fail(error)
            return
          }
        }
      }
      cycle.end(trailers)
      this.logWrongLength()
    }
    this.finish()
  }

  /** More content than was announced, or less, is a mistake of the application's that its peer alone would notice. */
  private logWrongLength(): void {
    if (this.cycle.excess) this.log('the application gave more content than its Content-Length; the rest was cut off')
    else if (this.cycle.reason !== '' && this.aborted === '' && !this.over) this.log(this.cycle.reason)
  }

  /** The application's part is over. */
  private finish(): void {
    if (this.over) return
    this.over = true
    this.settleWriters(this.cycle.reason === '')
    this.cycle.connection.applicationReturned(this.cycle)
    this.closeBody()
  }

  /** Leaves what the application returned and closes it, once. The end of a cycle may be told while its last bytes are being given away. */
  closeBody(): void {
    const { pieces, closeable: body } = this
    this.closeable = this.pieces = null
    pieces?.stop()
    if (body === null) return
    try {
      heedRejection(body.close(), error => this.logFailure('close() of the body failed', error))
    } catch (error) {
      this.logFailure('close() of the body failed', error)
    }
  }

  private stop(): void {
    this.pieces?.stop()
    this.finish()
  }

  private handled(): void {
    if (!this.cycle.ended) {
      this.fail(new UsageError('the application returned ALREADY_HANDLED without taking the connection over'))
      return
    }
    this.finish()
  }

  // ── Failures ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** The application threw, rejected, or returned what is no body. */
  fail(error: unknown): void {
    const cycle = this.cycle
    const status = statusOf(error)
    if (this.aborted !== '' || cycle.ended) {
      // The peer has its answer or is gone: an application that lets RequestAborted pass is not worth a line.
      if (status === 500) this.logFailure('the application failed after its request had ended', error)
      cycle.connection.applicationFailed(cycle)
      this.stop()
      return
    }
    if (status !== 500) {
      cycle.connection.refuse(status === 413 ? PeerErrorCode.BODY_TOO_LARGE : PeerErrorCode.INCOMPLETE_CONTENT, -1)
      this.stop()
      return
    }
    this.logFailure('the application failed', error)
    if (cycle.headSent) {
      cycle.reason = 'the application failed'
      cycle.connection.flushNow()
      cycle.connection.cut(cycle.reason)
    } else {
      cycle.dropHeld()
      const text = this.server.debug ? describeError(error) : ''
      cycle.setHead(encodeResponseHead(500, [['Content-Type', 'text/plain; charset=utf-8'], ['Connection', 'close']], true))
      cycle.answer([text], Buffer.byteLength(text))
    }
    this.stop()
  }

  private log(message: string): void {
    this.server.logError(`${this.head.method} ${JSON.stringify(this.head.target.slice(0, 256))}: ${message}`)
  }

  private logFailure(what: string, error: unknown): void {
    this.log(`${what}: ${describeError(error)}`)
  }

  // ── The io cycle's owner ───────────────────────────────────────────────────────────────────────────────────────────────────────

  onWritable(): void {
    this.scope.runInAsyncScope(this.resume, this)
  }

  private resume(): void {
    this.settleWriters(true)
    if (!this.over) this.pieces?.pull()
  }

  private settleWriters(more: boolean): void {
    const writers = this.writers
    if (writers === null) return
    this.writers = null
    for (const resolve of writers) resolve(more)
  }

  onAborted(reason: string): void {
    this.aborted = reason
    this.scope.runInAsyncScope(this.abort, this)
  }

  private abort(): void {
    this.controller?.abort(new RequestAborted(this.aborted))
    this.settleWriters(false)
    if (this.pieces !== null) this.stop()
  }

  // ── startResponse and write ────────────────────────────────────────────────────────────────────────────────────────────────────

  private start(status: Status, headers: Headers | undefined, excInfo: unknown): Write {
    const cycle = this.cycle
    const replaces = excInfo !== undefined && excInfo !== null
    if (cycle.headSent && this.aborted === '') {
      if (replaces) throw excInfo
      throw new HeadersSent('startResponse after the head of the answer has been sent')
    }
    if (this.started && !replaces) throw new UsageError('startResponse twice, and no excInfo')
    const head = encodeResponseHead(status, headers, this.server.capitalize)
    if (head.status < 200) throw new InvalidHeader(`startResponse(${head.status}): interim answers go through environ['wirelet.inform']`)
    this.started = true
    if (replaces) cycle.dropHeld()
    if (!cycle.headSent) cycle.setHead(head)
    return (this.writeFunction ??= (piece) => this.write(piece))
  }

  private write(piece: Piece): Promise<boolean> {
    const cycle = this.cycle
    if (typeof piece !== 'string' && !isBytes(piece)) throw noPiece(piece)
    if (this.aborted !== '') return GONE
    if (cycle.ended) {
      if (cycle.reason !== '') return GONE
      throw new UsageError('write() after the end of the answer')
    }
    cycle.write(piece)
    if (cycle.writable) return WRITTEN
    return new Promise((resolve) => (this.writers ??= []).push(resolve))
  }

  // ── What the environ is made of ────────────────────────────────────────────────────────────────────────────────────────────────

  get secure(): boolean {
    return this.cycle.connection.transport.secure
  }

  get extra(): Readonly<Record<string, unknown>> | null {
    return this.server.extraEnviron
  }

  peerAddress(): Address {
    return known(this.cycle.connection.transport.peerAddress())
  }

  localAddress(): Address {
    const address = this.cycle.connection.transport.localAddress()
    return address === LOST ? this.server.address : address
  }

  /** What the application's input keeps beside the content. */
  get inputMemory(): number {
    return this.input === null ? 0 : this.input.memory
  }

  makeInput(): Input {
    return (this.input = new Input(this))
  }

  errors(): { write(text: string): unknown } {
    return ERRORS
  }

  makeHooks(): PostHook[] {
    return (this.hooks = this.server.hooks.slice())
  }

  makeSignal(): AbortSignal {
    this.controller = new AbortController()
    if (this.aborted !== '') this.controller.abort(new RequestAborted(this.aborted))
    return this.controller.signal
  }

  get setIdle(): () => void {
    return () => this.cycle.connection.setIdle()
  }

  get inform(): (status: Status, headers?: Headers) => void {
    return (status, headers) => {
      const head = encodeResponseHead(status, headers, this.server.capitalize)
      if (head.status >= 200 || head.status === 101) throw new InvalidHeader(`inform(${head.status}): only interim answers, and no 101`)
      if (head.status === 100) this.cycle.continued = true
      this.cycle.inform(head)
    }
  }

  get upgrade(): () => Duplex {
    return () => this.takeSocket()
  }

  tls(): TlsInfo | null {
    const stream = this.cycle.connection.transport.stream as TLSSocket | null
    if (!this.secure || stream === null || typeof stream.getProtocol !== 'function') return null
    const certificate = withoutRing(stream.getPeerCertificate(true))
    return {
      protocol: stream.getProtocol(),
      cipher: stream.getCipher()?.name ?? null,
      servername: typeof stream.servername === 'string' ? stream.servername : null,
      authorized: stream.authorized,
      peerCertificate: Object.keys(certificate ?? {}).length === 0 ? null : certificate
    }
  }

  trailers(): ReadonlyArray<readonly [string, string]> | null {
    const content = this.cycle.content
    if (content === null) return []
    // What a line reader took counts as unread until it is handed out.
    if (!content.complete || content.held > 0 || this.inputMemory > 0) return null
    const received = content.trailers ?? []
    const pairs: [string, string][] = []
    for (let i = 0; i < received.length; i += 2) pairs.push([received[i]!, received[i + 1]!])
    return pairs
  }

  /** Made by us when somebody asks: what a peer sent is never taken for it. */
  get requestId(): string {
    return (this.id ||= nextRequestId())
  }

  outcome(): Outcome | null {
    return this.told ? this.cycle.outcome : null
  }

  /** The hooks to run: the list made by us or the one that the application put in its place. */
  takeHooks(): readonly PostHook[] {
    if (!this.lazy.written) return this.hooks ?? this.server.hooks
    const hooks: unknown = this.environ['eventlet.posthooks']
    return Array.isArray(hooks) ? (hooks as PostHook[]) : NO_HOOKS
  }

  // ── What wsgi.input is made of ─────────────────────────────────────────────────────────────────────────────────────────────────

  get content(): Content | null {
    return this.cycle.content
  }

  get maxBufferedBody(): number {
    return this.server.maxBufferedBody
  }

  setHundredContinueHeaders(headers: Headers, capitalize: boolean): void {
    this.cycle.continueHead = encodeResponseHead(100, headers, capitalize)
  }

  sendHundredContinue(): void {
    this.cycle.sendContinue()
  }

  takeSocket(): Duplex {
    const { cycle } = this
    if (cycle.headSent || cycle.ended) throw new HeadersSent('the connection can only be taken over before the head of an answer')
    // A line reader may hold bytes that it has looked at and not handed out.
    this.input?.giveBack()
    return cycle.connection.takeOver(cycle)
  }

  failureError(failure: number): Error {
    if (failure === OVER) return new RequestAborted(this.aborted === '' ? 'the request has ended' : this.aborted)
    const { reason } = peerErrorInfo(failure)
    switch (failure) {
      case PeerErrorCode.BODY_TOO_LARGE:
        return new BodyTooLarge(reason)
      case PeerErrorCode.INCOMPLETE_CONTENT:
        // Between chunks or inside one: the original tells the two apart by class; here the content is cut short either way.
        return new RequestAborted(reason)
      case PeerErrorCode.BODY_TIMEOUT:
      case PeerErrorCode.REQUEST_TIMEOUT:
      case PeerErrorCode.HANDLER_TIMEOUT:
        return new RequestAborted(reason)
      default:
        return new ChunkReadError(reason)
    }
  }
}

/** An application that judges peers by their addresses must not be made to judge nobody, by one that resets behind its request. */
function known(address: Address): Address {
  if (address === LOST) throw new RequestAborted('the connection was gone before its address was asked for')
  return address
}

/** A root is its own issuer in Node's chain, and JSON knows no rings. */
function withoutRing(certificate: DetailedPeerCertificate): DetailedPeerCertificate {
  for (let each: Partial<DetailedPeerCertificate> | null | undefined = certificate; each != null; each = each.issuerCertificate) {
    if (each.issuerCertificate === each) delete each.issuerCertificate
  }
  return certificate
}

/** Of another realm too: a `vm` context, or a test environment, has a Uint8Array of its own. */
function isBytes(value: unknown): value is Uint8Array {
  return value instanceof Uint8Array || types.isUint8Array(value)
}

function noBody(result: unknown): Error {
  return new UsageError(`the application returned ${typeName(result)}, which is no body`)
}

function noPiece(piece: unknown): Error {
  return new UsageError(`a piece of the body is ${typeName(piece)}, neither a string nor a Uint8Array`)
}

function typeName(value: unknown): string {
  if (value === null || value === undefined) return String(value)
  if (typeof value !== 'object') return `a ${typeof value}`
  const name: unknown = attempt(() => value.constructor.name)
  return `an object (${typeof name === 'string' && name !== '' ? name : 'without a class'})`
}

/** What answers the request when the application lets this error pass. */
function statusOf(error: unknown): number {
  return attempt(() => (error instanceof WireletError ? error.status : 500)) ?? 500
}
