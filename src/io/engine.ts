// What the connections of one server share: limits, clock, parsers and traffics to lend, who answers, the flushes of a turn; admission, eviction,
// parking and draining.
// Knows nothing of listeners and environs.
import { AsyncResource } from 'node:async_hooks'
import { RequestParser } from '../parser/request-parser.ts'
import type { Limits, Timeouts } from '../parser/limits.ts'
import { type Clock, nextTurn } from './clock.ts'
import { Counters, type DeadlineName } from './counters.ts'
import { Connection, type ConnectionState } from './connection.ts'
import type { Cycle } from './cycle.ts'
import { DateCache } from './date-cache.ts'
import { Deadlines, type Timed } from './deadlines.ts'
import type { Refusal } from './refusal.ts'
import { Traffic } from './traffic.ts'
import { type Transport, reportInternalError } from './transport.ts'

/** A request that was refused before, or instead of, the application's answer. */
export interface PeerErrorEvent {
  /** `HPE_…`, as in llhttp where it has one. */
  readonly name: string
  /** The status that the peer was answered with; 0 when an answer had begun: that was cut, or stands if it was whole. */
  readonly status: number
  readonly reason: string
  /** Octets into the head, or of content (decoded), at which the error was found; -1 where it has no place. */
  readonly offset: number
  /** As far as it was received, latin-1, at most 1 024 characters. */
  readonly requestLine: string
  readonly remoteAddress: string
  readonly remotePort: number
}

/** Whoever answers. */
export interface CycleHandler {
  /** A complete head, and what content came with it. May answer at once. */
  onHead(cycle: Cycle): void
  /** A peer error. `onCycleEnd` follows when there is a cycle, else `onRefusalEnd`. */
  onPeerError(event: PeerErrorEvent): void
  /** A deadline ends a connection or refuses its request. */
  onDeadline(name: DeadlineName, connection: Connection): void
  /** A connection begins to be served; it is over. */
  onOpen(connection: Connection): void
  onClose(connection: Connection): void
  /** The last byte of the answer is in the kernel, or the peer is gone. Once per cycle. */
  onCycleEnd(cycle: Cycle): void
  /** The same for the answer to what never became a request. */
  onRefusalEnd(refusal: Refusal): void
  /** `spawn` of the custom pool threw or rejected. A connection that was not begun is closed. */
  onPoolFailed(error: unknown): void
}

/** `spawn` runs a connection; a pool that delays the task delays the reading, of whichever connection has waited longest when it calls one. A task
 *  called again is the same run. */
export interface Spawner {
  spawn(task: () => Promise<void>): unknown
}

export interface EngineSettings {
  readonly limits: Limits
  readonly timeouts: Timeouts
  /** Idle milliseconds; 0: no keep-alive. */
  readonly keepalive: number
  readonly maxSize: number
  readonly maxHttpVersion: 'HTTP/1.0' | 'HTTP/1.1'
  readonly minimumChunkSize: number
  readonly acceptTransferEncodingWithContentLength: boolean
  readonly abortOnHalfClose: boolean
  readonly customPool: Spawner | null
  readonly clock: Clock
}

/** Free parsers kept: one is enough while heads arrive whole. */
const MAX_FREE_PARSERS = 16

/** Free traffics kept: as many as there are requests whose answers usually wait at the same time. */
const MAX_FREE_TRAFFICS = 64

/** A connection accepted but unread, waiting for a place. */
class Parked implements Timed {
  previousTimed: Timed | null = null
  nextTimed: Timed | null = null
  readonly transport: Transport
  private readonly engine: Engine
  private readonly deadline: number

  constructor(engine: Engine, transport: Transport) {
    this.engine = engine
    this.transport = transport
    this.deadline = engine.deadlines.in(engine.timeouts.firstByte)
    engine.deadlines.add(this)
  }

  onTick(now: number): void {
    if (now < this.deadline) {
      this.engine.stillParked()
      return
    }
    this.engine.counters.deadline('parked')
    this.engine.dropParked(this)
  }
}

export class Engine {
  readonly limits: Limits
  readonly timeouts: Timeouts
  readonly handler: CycleHandler
  readonly clock: Clock
  readonly deadlines: Deadlines
  readonly dates: DateCache
  readonly keepalive: number
  readonly minimumChunkSize: number
  readonly abortOnHalfClose: boolean
  /** `HTTP/1.1`, or `HTTP/1.0` by `maxHttpVersion`: begins every status line. */
  readonly version: string
  readonly speaks11: boolean
  /** Connection and Keep-Alive for a peer that asked to be kept. */
  readonly keepAliveLines: string
  /** Async context of `serve()`: no request's context may leak into another. */
  readonly root: AsyncResource = new AsyncResource('WIRELET_SERVER')
  draining = false
  /** Connections being served, parked ones not included. */
  open = 0
  readonly counters: Counters = new Counters()
  private readonly maxSize: number
  private readonly pool: Spawner | null
  private readonly parsers: RequestParser[] = []
  private readonly parserOptions: { limits: Limits; acceptTransferEncodingWithContentLength: boolean }
  private readonly traffics: Traffic[] = []
  /** The only connections that no deadline watches. */
  private readonly taken = new Set<Connection>()
  private parked = new Set<Parked>()
  /** Idle connections, the longest idle first. */
  private firstIdle: Connection | null = null
  private lastIdle: Connection | null = null
  private dirty: Connection[] = []
  private flushDue = false
  private readonly flushAll = (): void => this.flushDirty()
  private readonly hopToTick = (): void => process.nextTick(this.flushAll)
  private readonly onTurn = (connection: Connection): void => connection.onTurn()
  /** The tasks of a custom pool, each to be told when its connection is over. */
  private readonly tasks = new Map<Connection, () => void>()
  /** Tasks that it has yet to call. Whose connection gave up waiting is kept for the next newcomer: else a pool that is stuck would be given ever more. */
  private tasksToCome = 0
  private whenEmpty: (() => void) | null = null

  constructor(settings: EngineSettings, handler: CycleHandler) {
    this.limits = settings.limits
    this.timeouts = settings.timeouts
    this.handler = handler
    this.clock = settings.clock
    this.deadlines = new Deadlines(settings.clock)
    this.dates = new DateCache(settings.clock, this.deadlines)
    this.keepalive = settings.keepalive
    this.minimumChunkSize = settings.minimumChunkSize
    this.abortOnHalfClose = settings.abortOnHalfClose
    this.version = settings.maxHttpVersion
    this.speaks11 = settings.maxHttpVersion === 'HTTP/1.1'
    const seconds = Math.floor(settings.keepalive / 1000)
    this.keepAliveLines = seconds >= 1 && Number.isFinite(seconds) ? `Connection: keep-alive\r\nKeep-Alive: timeout=${seconds}\r\n` : 'Connection: keep-alive\r\n'
    this.maxSize = settings.maxSize
    this.pool = settings.customPool
    this.parserOptions = { limits: settings.limits, acceptTransferEncodingWithContentLength: settings.acceptTransferEncodingWithContentLength }
  }

  /** A new connection: served, parked or closed. */
  accept(transport: Transport): void {
    this.counters.accepted++
    // An evicted connection that has something to say first lingers, and keeps its place until it is gone. First of all: an application that is called
    // in the course of it may begin a drain.
    if (this.pool === null && !this.draining && this.open >= this.maxSize) this.evictIdle()
    if (this.draining) {
      transport.destroy()
      return
    }
    if (this.hasPlace) {
      this.serve(transport)
      return
    }
    // One may always be on its way through a pool, which need not call at once.
    if (this.parked.size >= (this.pool === null ? this.limits.maxParked : Math.max(1, this.limits.maxParked))) {
      this.counters.refused++
      transport.destroy()
      return
    }
    const parked = new Parked(this, transport)
    this.parked.add(parked)
    if (this.pool !== null && this.tasksToCome < this.parked.size) this.spawn(this.pool)
    if (this.parked.has(parked)) this.counters.parked++
  }

  /** A place of ours is free. Those of a pool it alone knows. */
  private get hasPlace(): boolean {
    return this.pool === null && this.open < this.maxSize
  }

  /** A TLS handshake costs a descriptor and OpenSSL's memory before anybody is accepted: all together are as many as may be served or wait. */
  admitsHandshake(handshakes: number): boolean {
    const open = this.pool === null ? this.open : 0
    if (open + this.parked.size + handshakes < this.maxSize + this.limits.maxParked) return true
    this.counters.accepted++
    this.counters.refused++
    return false
  }

  /** Connections waiting for a place. */
  get waiting(): number {
    return this.parked.size
  }

  /** By a connection: a deadline has passed. */
  expired(name: DeadlineName, connection: Connection): void {
    this.counters.deadline(name)
    this.handler.onDeadline(name, connection)
  }

  /** How many connections are in each state. */
  states(): Record<ConnectionState, number> {
    const result = { new: 0, reading: 0, responding: 0, idle: 0, lingering: 0, 'taken over': 0 }
    for (const connection of this.connections) {
      const name = connection.stateName
      if (name !== 'closed') result[name]++
    }
    return result
  }

  /** All of them. Found where they are anyhow: a set of its own would cost each connection 40 bytes. */
  private get connections(): Connection[] {
    return [...this.deadlines.all(), ...this.taken].filter(timed => timed instanceof Connection)
  }

  /** Newcomers wait: answers close their connections, idle ones are closed. */
  get crowded(): boolean {
    return this.parked.size > 0
  }

  dropParked(parked: Parked): void {
    if (!this.parked.delete(parked)) return
    this.deadlines.remove(parked)
    this.counters.refused++
    parked.transport.destroy()
    this.checkEmpty()
  }

  /** By a parked one, once a tick. What it waits for only a pool knows: an idle connection's place, as likely as not. */
  stillParked(): void {
    if (this.pool !== null) this.evictIdle()
  }

  private spawn(pool: Spawner): void {
    this.tasksToCome++
    let running: Promise<void> | null = null
    const task = (): Promise<void> => (running ??= this.taskCalled())
    const failed = (error: unknown): void => {
      this.handler.onPoolFailed(error)
      if (running !== null) return
      running = Promise.resolve()
      this.tasksToCome--
      const last = [...this.parked].at(-1)
      if (last !== undefined && this.tasksToCome < this.parked.size) this.dropParked(last)
    }
    try {
      Promise.resolve(pool.spawn(task)).then(undefined, failed)
    } catch (error) {
      failed(error)
    }
  }

  private taskCalled(): Promise<void> {
    this.tasksToCome--
    const transport = this.unpark()
    if (transport === null) return Promise.resolve()
    return new Promise(resolve => this.tasks.set(this.serve(transport), resolve))
  }

  /** The one that has waited longest, its wait over. */
  private unpark(): Transport | null {
    const next = this.parked.values().next()
    if (next.done === true || this.draining) return null
    this.parked.delete(next.value)
    this.deadlines.remove(next.value)
    return next.value.transport
  }

  private serve(transport: Transport): Connection {
    const connection = new Connection(this, transport)
    this.open++
    this.handler.onOpen(connection)
    connection.start()
    return connection
  }

  /** By the connection, once, when it is over. */
  closed(connection: Connection): void {
    this.open--
    this.deadlines.remove(connection)
    this.taken.delete(connection)
    this.leaveIdle(connection)
    this.handler.onClose(connection)
    const next = this.hasPlace ? this.unpark() : null
    if (next !== null) this.serve(next)
    this.checkEmpty()
    if (this.pool === null) return
    this.tasks.get(connection)?.()
    this.tasks.delete(connection)
  }

  /** By the connection: from here on its new owner watches it. */
  takenOver(connection: Connection): void {
    this.deadlines.remove(connection)
    this.taken.add(connection)
  }

  private evictIdle(): void {
    // Its next request may have been read already; within the interpreting of others it cannot be heard, and stays.
    this.firstIdle?.transport.catchUp()
    const idle = this.firstIdle
    if (this.hasPlace || idle === null || !idle.transport.catchUp()) return
    this.counters.evicted++
    idle.closeIdle()
  }

  enterIdle(connection: Connection): void {
    if (this.isIdle(connection)) return
    connection.previousIdle = this.lastIdle
    connection.nextIdle = null
    if (this.lastIdle !== null) this.lastIdle.nextIdle = connection
    else this.firstIdle = connection
    this.lastIdle = connection
  }

  leaveIdle(connection: Connection): void {
    if (!this.isIdle(connection)) return
    if (connection.previousIdle !== null) connection.previousIdle.nextIdle = connection.nextIdle
    else this.firstIdle = connection.nextIdle
    if (connection.nextIdle !== null) connection.nextIdle.previousIdle = connection.previousIdle
    else this.lastIdle = connection.previousIdle
    connection.previousIdle = connection.nextIdle = null
  }

  private isIdle(connection: Connection): boolean {
    return connection.previousIdle !== null || connection === this.firstIdle
  }

  /** A parser for one head, lent while the head is read: an idle connection holds none. */
  lendParser(secure: boolean): RequestParser {
    const parser = this.parsers.pop() ?? new RequestParser(this.parserOptions)
    parser.secure = secure
    return parser
  }

  giveBackParser(parser: RequestParser): void {
    parser.reset()
    if (this.parsers.length < MAX_FREE_PARSERS) this.parsers.push(parser)
  }

  /** What a connection needs while it is not idle. */
  lendTraffic(): Traffic {
    return this.traffics.pop() ?? new Traffic()
  }

  giveBackTraffic(traffic: Traffic): void {
    traffic.reset()
    if (this.traffics.length < MAX_FREE_TRAFFICS) this.traffics.push(traffic)
  }

  /** Flush the connection when everything that this turn can still produce, microtasks included, has been produced. `beforeMicrotasks`: we are in
   *  the poll callback itself, where a tick would come before them. */
  scheduleFlush(connection: Connection, beforeMicrotasks: boolean): void {
    this.dirty.push(connection)
    if (this.flushDue) return
    this.flushDue = true
    if (beforeMicrotasks) queueMicrotask(this.hopToTick)
    else process.nextTick(this.flushAll)
  }

  private flushDirty(): void {
    this.flushDue = false
    const dirty = this.dirty
    this.dirty = []
    for (const connection of dirty) {
      try {
        connection.onFlush()
      } catch (error) {
        // The others must leave all the same.
        reportInternalError(error)
        connection.cut('an internal error')
      }
    }
  }

  /** The connection used up its share of this turn: it goes on after the others. */
  yieldTurn(connection: Connection): void {
    nextTurn(this.onTurn, connection)
  }

  /** Begin to drain: no new connection, `idleGrace` for used idle ones, `Connection: close` on every answer. Resolves when none is left. */
  drain(): Promise<void> {
    // What was read before is answered.
    for (const connection of this.connections) connection.transport.catchUp()
    this.draining = true
    for (const parked of this.parked) this.dropParked(parked)
    for (const connection of this.connections) connection.drain()
    return new Promise((resolve) => {
      this.whenEmpty = resolve
      this.checkEmpty()
    })
  }

  /** Cut every connection that is left. */
  destroyAll(): void {
    for (const connection of this.connections) connection.cut('the server is shutting down')
  }

  private checkEmpty(): void {
    if (this.whenEmpty !== null && this.open === 0 && this.parked.size === 0) {
      const resolve = this.whenEmpty
      this.whenEmpty = null
      resolve()
    }
  }
}

