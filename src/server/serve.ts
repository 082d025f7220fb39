// serve(): joins a listener, the engine and an application; the life of a server from listening over draining to closed.
// Knows no bytes and no handles.
import { Server as NetServer } from 'node:net'
import type { Duplex } from 'node:stream'
import { Acceptor } from '../io/acceptor.ts'
import { holdProcess } from '../io/clock.ts'
import type { Connection, ConnectionState } from '../io/connection.ts'
import type { DeadlineName } from '../io/counters.ts'
import type { Cycle } from '../io/cycle.ts'
import { Engine, type PeerErrorEvent } from '../io/engine.ts'
import { UsageError } from '../io/errors.ts'
import { Listener, fromServer, isPassing } from '../io/listener.ts'
import type { Refusal } from '../io/refusal.ts'
import { StreamTransport } from '../io/stream-transport.ts'
import { type Address, LOST, type Transport } from '../io/transport.ts'
import { AccessLog } from './access-log.ts'
import type { Application, PostHook } from './application.ts'
import { describeError, heedRejection } from './describe-error.ts'
import { connectionEnd, connectionStart, peerError, requestEnd, requestStart } from './diagnostics.ts'
import { runHooks } from './hooks.ts'
import { LogSink } from './log.ts'
import { checkClose, completeOptions, type ConnectionPool, type ServeOptions, type Settings } from './options.ts'
import { RequestCycle } from './request-cycle.ts'

/** How `close` ends. */
export interface CloseOptions {
  /** Milliseconds until what is left is destroyed. Default: `timeouts.shutdown`. */
  timeout?: number
  /** Aborted: what is left is destroyed now. */
  signal?: AbortSignal
}

/** Numbers of a server: counters since the start, and the present. */
export interface ServerStats {
  /** Connections accepted, waiting and refused ones included. */
  readonly accepted: number
  /** Being served now; `states` tells in which state each is. */
  readonly connections: number
  readonly states: { readonly [state in ConnectionState]: number }
  /** Accepted, unread, waiting for a place now; and how many ever had to. */
  readonly waiting: number
  readonly parked: number
  /** TLS handshakes under way. */
  readonly handshakes: number
  /** Idle connections closed for newcomers. */
  readonly evicted: number
  /** Closed at accept, or after waiting in vain. */
  readonly refused: number
  readonly requests: number
  readonly outstandingRequests: number
  /** Bytes read from and given to the transports (within TLS). */
  readonly bytesRead: number
  readonly bytesWritten: number
  /** Peer errors by name (`HPE_…`). */
  readonly errors: { readonly [name: string]: number }
  /** What deadlines ended, by the names of `timeouts`; `keepalive`; `parked`: waited for a place in vain. */
  readonly deadlines: { readonly [name: string]: number }
}

/** Listening → draining → closed. */
export type ServerState = 'listening' | 'draining' | 'closed'

/** Serves `application` to whoever connects to `listener`, which it takes over. The listener must be listening.
 *  @throws UsageError for a bad option; a WireletError with code ERR_WIRELET_TRANSPORT when `transport: 'handle'` is not available here. */
export function serve(listener: Listener | NetServer, application: Application, options: ServeOptions = {}): Server {
  if (!(listener instanceof Listener || listener instanceof NetServer)) throw new UsageError('the first argument must be a listener: serve(await listen(…), …)')
  return new Server(listener instanceof NetServer ? fromServer(listener) : listener, application, completeOptions(options))
}

/** Keys of the `environ` option that say how every request is answered. */
const STEERING = ['eventlet.minimum_write_chunk_size', 'wirelet.sendTrailers']

/** A server at work: made by `serve`. (It is its engine's CycleHandler, its acceptor's AcceptorOwner and its cycles' CycleServer; that is not public, so it is not declared.) */
export class Server {
  /** Resolves when the server has drained and closed; rejects only for an error of the listener. */
  readonly finished: Promise<void>
  /** @internal */ readonly application: Application
  /** @internal */ readonly extraEnviron: Readonly<Record<string, unknown>> | null
  /** @internal */ readonly environSteers: boolean
  /** @internal */ readonly hooks: readonly PostHook[]
  /** @internal */ readonly capitalize: boolean
  /** @internal */ readonly debug: boolean
  /** @internal */ readonly flushWhenWaiting: boolean
  /** @internal */ readonly maxBufferedBody: number
  /** @internal */ readonly triggerAsyncId: number
  private readonly settings: Settings
  private readonly listener: Listener
  private readonly acceptor: Acceptor
  private readonly engine: Engine
  private readonly log: LogSink
  private readonly accessLog: AccessLog | null
  private readonly tellsAddresses: boolean
  private current: ServerState = 'listening'
  private outstanding = 0
  private pendingHooks = 0
  private hooksSettled: (() => void) | null = null
  private closing: Promise<void> | null = null
  /** While it drains: destroys what is left. */
  private cutNow: (() => void) | null = null
  private readonly shutdownTimers: unknown[] = []
  private finish!: (error: Error | null) => void

  /** @internal Use `serve`. */
  constructor(listener: Listener, application: Application, settings: Settings) {
    if (typeof application !== 'function') throw new UsageError('the application must be a function')
    this.settings = settings
    this.listener = listener
    this.application = application
    this.extraEnviron = settings.environ
    const { environ } = settings
    this.environSteers = environ !== null && STEERING.some(key => Object.hasOwn(environ, key))
    const hooks = environ?.['eventlet.posthooks']
    this.hooks = Array.isArray(hooks) ? hooks.slice() : []
    this.capitalize = settings.capitalizeResponseHeaders
    this.debug = settings.debug
    this.flushWhenWaiting = settings.flushWhenWaiting
    this.maxBufferedBody = settings.limits.maxBufferedBody
    this.log = new LogSink(settings)
    // Made in any case: a bad format is told at the start.
    const accessLog = new AccessLog(settings, (line) => this.log.access(line))
    this.accessLog = this.log.wantsAccess ? accessLog : null
    this.tellsAddresses = this.accessLog !== null || settings.onPeerError !== null
    this.engine = new Engine(settings, this)
    this.triggerAsyncId = this.engine.root.asyncId()
    this.finished = new Promise((resolve, reject) => {
      this.finish = (error) => (error === null ? resolve() : reject(error))
    })
    // Whoever does not look at `finished` has the log.
    this.finished.catch(() => {})
    this.acceptor = new Acceptor(listener, settings.transport, settings.timeouts.handshake, this)
    this.acceptor.start()
    this.log.info(`(${process.pid}) wsgi starting up on ${listener.url} (${this.acceptor.kind} transport)`)
  }

  get state(): ServerState {
    return this.current
  }

  /** Where the server listens. */
  get address(): Address {
    return this.listener.address()
  }

  /** Where the server listens, as a URL; of a unix socket text that is none (see `Listener.url`). */
  get url(): string {
    return this.listener.url
  }

  /** Connections being served. */
  get connections(): number {
    return this.engine.open
  }

  /** Requests whose answers have not ended (eventlet `outstanding_requests`). */
  get outstandingRequests(): number {
    return this.outstanding
  }

  /** What the server has seen since its start, and what it holds now. */
  stats(): ServerStats {
    const { counters } = this.engine
    return {
      accepted: counters.accepted,
      connections: this.engine.open,
      states: this.engine.states(),
      waiting: this.engine.waiting,
      handshakes: this.acceptor.handshakes,
      evicted: counters.evicted,
      parked: counters.parked,
      refused: counters.refused,
      requests: counters.requests,
      outstandingRequests: this.outstanding,
      bytesRead: counters.bytesRead,
      bytesWritten: counters.bytesWritten,
      errors: Object.fromEntries(counters.errors),
      deadlines: Object.fromEntries(counters.deadlines)
    }
  }

  /** The transport in use for accepted connections. */
  get transport(): 'stream' | 'handle' {
    return this.acceptor.kind
  }

  /** Serve one connection that came by another way: a socket, one end of an in-memory pair. */
  handle(duplex: Duplex): void {
    if (typeof (duplex as Partial<Duplex> | null)?.read !== 'function' || typeof duplex.write !== 'function') throw new UsageError('handle takes a Duplex')
    const transport = new StreamTransport(duplex)
    // A peer that resets has none afterwards; nor has our end, and our listener's is another.
    transport.peerAddress()
    transport.localAddress()
    this.engine.accept(transport)
  }

  /** Keep the process alive while listening (the default). */
  ref(): this {
    this.listener.ref()
    return this
  }

  /** Let the process end although the server listens. */
  unref(): this {
    this.listener.unref()
    return this
  }

  /** Drain: the listener first, then every connection by its state, each last answer with `Connection: close`; at the deadline what is left is
   *  destroyed. Resolves when nothing is left. A second call waits for the first, and its `timeout` or `signal` may cut it short. @throws UsageError for a bad option. */
  close(options: CloseOptions = {}): Promise<void> {
    checkClose(options)
    const { signal } = options
    if (signal !== undefined) {
      if (signal.aborted) queueMicrotask(() => this.cutNow?.())
      else signal.addEventListener('abort', () => this.cutNow?.(), { once: true })
    }
    if (this.closing === null) {
      // There before it begins: an application that is called in the course of it may close too.
      let begin!: (drained: Promise<void>) => void
      this.closing = new Promise<void>(resolve => (begin = resolve))
      // A hook, a pool or a sink that is waited for need not hold the event loop; without anything in it the process would end in the middle.
      begin(this.drain().finally(holdProcess()))
      this.cutAfter(options.timeout ?? this.settings.timeouts.shutdown)
    } else if (options.timeout !== undefined) this.cutAfter(options.timeout)
    return this.closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Each call of `close` may bring the end nearer, none puts it off. */
  private cutAfter(timeout: number): void {
    if (this.cutNow === null) return
    if (timeout === 0) this.cutNow()
    else if (Number.isFinite(timeout)) this.shutdownTimers.push(this.settings.clock.after(timeout, () => this.cutNow?.()))
  }

  private async drain(): Promise<void> {
    const { engine, acceptor, settings } = this
    this.current = 'draining'
    this.log.info(`(${process.pid}) wsgi exiting`)
    acceptor.stop()
    const closed = settings.closeListener ? this.listener.close() : Promise.resolve()
    acceptor.destroyHandshakes()
    const cut = new Promise<void>((resolve) => {
      this.cutNow = () => {
        if (engine.open > 0) engine.counters.deadline('shutdown')
        engine.destroyAll()
        resolve()
      }
    })
    await engine.drain()
    if (this.pendingHooks > 0) await Promise.race([cut, new Promise<void>((resolve) => (this.hooksSettled = resolve))])
    if (settings.customPool !== null) await Promise.race([cut, this.poolAtRest(settings.customPool)])
    for (const timer of this.shutdownTimers) settings.clock.clear(timer)
    this.cutNow = null
    await closed
    this.current = 'closed'
    this.log.info(`(${process.pid}) wsgi exited`)
    await this.log.flush()
    this.finish(null)
  }

  private async poolAtRest(pool: ConnectionPool): Promise<void> {
    try {
      await pool.waitall()
    } catch (error) {
      this.logError(`waitall() of the pool failed: ${describeError(error)}`)
    }
  }

  // ── From the acceptor ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** @internal */
  onTransport(transport: Transport): void {
    // A peer that resets has no address afterwards: who will tell somebody of it asks now. One that has none left can be told nothing either.
    if (this.tellsAddresses && transport.peerAddress() === LOST) {
      this.engine.counters.accepted++
      transport.destroy()
      return
    }
    if (this.log.wantsDebug) {
      const peer = transport.peerAddress()
      this.log.debug(`(${process.pid}) accepted ${peer.address}:${peer.port}`)
    }
    this.engine.accept(transport)
  }

  /** @internal */
  admitsHandshake(handshakes: number): boolean {
    return this.engine.admitsHandshake(handshakes)
  }

  /** @internal */
  onListenerError(error: Error): void {
    if (isPassing(error)) {
      this.logError(`a connection could not be accepted: ${error.message}`)
      return
    }
    this.logError(`the listener failed: ${error.message}`)
    this.finish(error)
    void this.close()
  }

  /** @internal */
  onListenerClosed(): void {
    void this.close()
  }

  /** @internal */
  onHandshakeFailed(code: string): void {
    if (code === 'ERR_TLS_HANDSHAKE_TIMEOUT') this.engine.counters.deadline('handshake')
    this.log.debug(`(${process.pid}) TLS handshake failed: ${code}`)
  }

  // ── From the engine ────────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** @internal */
  onDeadline(name: DeadlineName, connection: Connection): void {
    if (!this.log.wantsDebug || name === 'linger') return
    const peer = connection.transport.peerAddress()
    this.log.debug(`(${process.pid}) timed out ${peer.address}:${peer.port} (${name})`)
  }

  /** @internal */
  onOpen(connection: Connection): void {
    if (connectionStart.hasSubscribers) connectionStart.publish({ server: this, connection, peer: connection.transport.peerAddress() })
  }

  /** @internal */
  onClose(connection: Connection): void {
    if (connectionEnd.hasSubscribers) connectionEnd.publish({ server: this, connection, peer: connection.transport.peerAddress() })
  }

  /** @internal */
  onHead(cycle: Cycle): void {
    this.outstanding++
    const request = new RequestCycle(this, cycle)
    cycle.owner = request
    if (requestStart.hasSubscribers) {
      requestStart.publish({ server: this, connection: cycle.connection, environ: request.environ, status: null, outcome: null })
    }
    if (this.accessLog !== null && this.accessLog.wantsDuration) cycle.clockAtHead = this.settings.clock.now()
    request.run()
  }

  /** @internal */
  onPeerError(event: PeerErrorEvent): void {
    if (peerError.hasSubscribers) peerError.publish({ ...event, server: this })
    const tell = this.settings.onPeerError
    if (tell !== null) {
      const failed = (error: unknown): void => this.logError(`onPeerError failed: ${describeError(error)}`)
      try {
        heedRejection(tell(event), failed)
      } catch (error) {
        failed(error)
      }
    }
  }

  /** @internal */
  onPoolFailed(error: unknown): void {
    this.logError(`spawn() of the pool failed: ${describeError(error)}`)
  }

  /** @internal */
  onRefusalEnd(refusal: Refusal): void {
    const { event, peer, bodyBytes, wireBytes } = refusal
    this.accessLog?.record({
      head: null,
      requestLine: event.requestLine,
      peer,
      status: event.status,
      bodyLength: bodyBytes,
      wireLength: wireBytes,
      wallSeconds: 0,
      loggedAt: this.settings.clock.now(),
      reason: `${event.name}: ${event.reason}`,
      requestId: ''
    })
  }

  /** @internal */
  onCycleEnd(cycle: Cycle): void {
    const request = cycle.owner as RequestCycle | null
    const endedAt = this.accessLog === null ? 0 : this.settings.clock.now()
    if (request !== null) {
      this.outstanding--
      request.told = true
      request.closeBody()
      if (requestEnd.hasSubscribers) {
        requestEnd.publish({ server: this, connection: cycle.connection, environ: request.environ, status: cycle.status, outcome: cycle.outcome })
      }
      const hooks = request.takeHooks()
      if (hooks.length > 0) {
        const pending = request.scope.runInAsyncScope(runHooks, undefined, hooks, request.environ, this.settings.clock, this.settings.timeouts.hook, (message: string) =>
          this.logError(message)
        )
        if (pending !== null) {
          this.awaitHooks(cycle, request, pending, endedAt)
          return
        }
      }
    }
    this.logAccess(cycle, endedAt, endedAt)
  }

  private awaitHooks(cycle: Cycle, request: RequestCycle, pending: Promise<void>, endedAt: number): void {
    this.pendingHooks++
    const bytes = cycle.size + request.inputMemory
    cycle.connection.holdHooks(bytes)
    void pending.then(() => {
      this.logAccess(cycle, endedAt, this.settings.clock.now())
      cycle.connection.hooksDone(bytes)
      if (--this.pendingHooks === 0) this.hooksSettled?.()
    })
  }

  private logAccess(cycle: Cycle, endedAt: number, loggedAt: number): void {
    if (this.accessLog === null) return
    const request = cycle.owner as RequestCycle | null
    const { head } = cycle
    this.accessLog.record({
      head,
      requestLine: head.requestLine,
      peer: cycle.connection.transport.peerAddress(),
      status: cycle.status,
      bodyLength: cycle.bodyBytes,
      wireLength: cycle.wireBytes,
      wallSeconds: cycle.clockAtHead > 0 ? (endedAt - cycle.clockAtHead) / 1000 : 0,
      loggedAt,
      reason: cycle.refusal,
      requestId: this.accessLog.wantsRequestId && request !== null ? request.requestId : ''
    })
  }

  /** @internal */
  logError(message: string): void {
    this.log.error(`(${process.pid}) ${message}`)
  }
}
