// Options of serve(): the original's names in camelCase, milliseconds throughout; one place that checks and completes them.
import { DEFAULT_LIMITS, DEFAULT_TIMEOUTS, type Limits, type Timeouts } from '../parser/limits.ts'
import { UsageError, checkNames, checkSignal } from '../io/errors.ts'
import { systemClock, type Clock } from '../io/clock.ts'
import type { TransportChoice } from '../io/acceptor.ts'
import type { PeerErrorEvent } from '../io/engine.ts'

/** Levels of a log: `console`, pino. With `access` the access lines have a place of their own (null: nobody wants them), else they go to `info`. */
export interface Logger {
  info(message: string): unknown
  debug(message: string): unknown
  error(message: string): unknown
  access?: ((message: string) => unknown) | null
}

/** Where log lines go: a logger, or anything with `write` (a stream). */
export type Log = Logger | { write(text: string): unknown }

/** Runs connections (eventlet `custom_pool`), in the place of `maxSize`: `spawn` once per connection, its task settles when the connection ends. Those whose
 *  task it has yet to call wait unread, at most `maxParked`, each for `firstByte` at most; the task of one that gave up is for the next. */
export interface ConnectionPool {
  spawn(task: () => Promise<void>): unknown
  waitall(): Promise<unknown>
}

/** Options of `serve`. Times in milliseconds, sizes in bytes. */
export interface ServeOptions {
  /** Default: standard error. */
  log?: Log
  /** Merged into every environ after the `wsgi.*` keys and before those of the request. Hooks in `eventlet.posthooks` are what each request's own list
   *  begins with. */
  environ?: Readonly<Record<string, unknown>>
  /** Connections served at once. Default 1 024 (eventlet `max_size`). */
  maxSize?: number
  /** `'HTTP/1.0'` switches chunked answers and keep-alive off. Default `'HTTP/1.1'`. */
  maxHttpVersion?: 'HTTP/1.0' | 'HTTP/1.1'
  /** Pieces of an answer are joined up to this size, bytes. Default 4 096. */
  minimumChunkSize?: number
  /** `client_ip` in the log begins with X-Forwarded-For. Default true. */
  logXForwardedFor?: boolean
  customPool?: ConnectionPool
  /** true: on, idle for at most 75 s; false or 0: off; a number: idle milliseconds. Default true. */
  keepalive?: boolean | number
  /** Start-up and access lines. Default true. Errors are logged in any case. */
  logOutput?: boolean
  /** `%(name)s` template, or `'common'`, `'combined'`, `'json'`. Default: eventlet's line. */
  logFormat?: string
  /** Request line, bytes. Default 8 192. */
  urlLengthLimit?: number
  /** Stacks in the 500 answer. Default false. */
  debug?: boolean
  /** When given, the default of every no-progress deadline (first byte, head, content, sending). */
  socketTimeout?: number
  /** `content-type` leaves as `Content-Type`. Default true. */
  capitalizeResponseHeaders?: boolean
  limits?: Partial<Omit<Limits, 'urlLengthLimit'>>
  timeouts?: Partial<Timeouts>
  /** Default `'auto'`. */
  transport?: TransportChoice
  strictness?: { acceptTransferEncodingWithContentLength?: boolean }
  /** What is held for coalescing leaves when an async iterable makes us wait. Default true. */
  flushWhenWaiting?: boolean
  /** A peer's half-close counts as its leaving while its request is being answered. Default false. */
  abortOnHalfClose?: boolean
  /** `close()` closes the listener. Default true. */
  closeListener?: boolean
  /** Told of every request that was refused before, or instead of, the application's answer. What it throws or rejects with is logged. */
  onPeerError?: (event: PeerErrorEvent) => void
  /** Time for tests. @internal */
  clock?: Clock
}

/** Options complete and checked. */
export interface Settings {
  log: Log | null
  environ: Readonly<Record<string, unknown>> | null
  maxSize: number
  maxHttpVersion: 'HTTP/1.0' | 'HTTP/1.1'
  minimumChunkSize: number
  logXForwardedFor: boolean
  customPool: ConnectionPool | null
  /** Idle milliseconds; 0: no keep-alive. */
  keepalive: number
  logOutput: boolean
  logFormat: string
  debug: boolean
  capitalizeResponseHeaders: boolean
  limits: Limits
  timeouts: Timeouts
  transport: TransportChoice
  acceptTransferEncodingWithContentLength: boolean
  flushWhenWaiting: boolean
  abortOnHalfClose: boolean
  closeListener: boolean
  onPeerError: ((event: PeerErrorEvent) => void) | null
  clock: Clock
}

/** eventlet's own access line. */
export const DEFAULT_LOG_FORMAT = '%(client_ip)s - - [%(date_time)s] "%(request_line)s" %(status_code)s %(body_length)s %(wall_seconds).6f'

/** Idle time under `keepalive: true`: outlasts a balancer's 60 s. */
const KEEPALIVE_IDLE = 75_000

const KNOWN = new Set([
  'log', 'environ', 'maxSize', 'maxHttpVersion', 'minimumChunkSize', 'logXForwardedFor', 'customPool', 'keepalive', 'logOutput', 'logFormat',
  'urlLengthLimit', 'debug', 'socketTimeout', 'capitalizeResponseHeaders', 'limits', 'timeouts', 'transport', 'strictness', 'flushWhenWaiting',
  'abortOnHalfClose', 'closeListener', 'onPeerError', 'clock'
])

const LIMITS: ReadonlySet<string> = new Set(Object.keys(DEFAULT_LIMITS))
const TIMEOUTS: ReadonlySet<string> = new Set(Object.keys(DEFAULT_TIMEOUTS))
/** With none of it nothing would ever be read, or go on being written. */
const NEVER_0 = new Set(['readBuffer', 'writeHighWater'])
const STRICTNESS = new Set(['acceptTransferEncodingWithContentLength'])
const CLOSE = new Set(['timeout', 'signal'])

/** Checks what the caller gave and fills in the rest. @throws UsageError naming the option. */
export function completeOptions(options: ServeOptions): Settings {
  checkNames('', options, KNOWN)
  const { keepalive = true, strictness = {}, limits: ownLimits = {}, timeouts: ownTimeouts = {} } = options
  checkNames('strictness', strictness, STRICTNESS)
  checkNames('limits', ownLimits, LIMITS)
  checkNames('timeouts', ownTimeouts, TIMEOUTS)
  const idle = keepalive === true ? KEEPALIVE_IDLE : keepalive === false ? 0 : number('keepalive', keepalive, 0)
  const progress: Partial<Timeouts> = {}
  if (options.socketTimeout !== undefined) {
    const ms = number('socketTimeout', options.socketTimeout, 1)
    progress.firstByte = progress.head = progress.body = progress.send = ms
  }
  const timeouts = numbers<Timeouts>('timeouts', DEFAULT_TIMEOUTS, progress, ownTimeouts)
  const limits = numbers<Limits>('limits', DEFAULT_LIMITS, options.urlLengthLimit === undefined ? {} : { urlLengthLimit: options.urlLengthLimit }, ownLimits)
  if (options.maxHttpVersion !== undefined && options.maxHttpVersion !== 'HTTP/1.0' && options.maxHttpVersion !== 'HTTP/1.1') {
    throw new UsageError(`maxHttpVersion must be 'HTTP/1.0' or 'HTTP/1.1'`)
  }
  const pool = options.customPool
  if (pool !== undefined && (typeof pool?.spawn !== 'function' || typeof pool.waitall !== 'function')) {
    throw new UsageError('customPool must have spawn() and waitall()')
  }
  if (options.transport !== undefined && !['auto', 'stream', 'handle'].includes(options.transport)) {
    throw new UsageError(`transport must be 'auto', 'stream' or 'handle'`)
  }
  if (options.log !== undefined && !isLog(options.log)) throw new UsageError('log must have info(), debug() and error(), or write()')
  if (typeof (options.environ ?? {}) !== 'object') throw new UsageError('environ must be an object')
  if (typeof (options.logFormat ?? '') !== 'string') throw new UsageError('logFormat must be a string')
  const onPeerError = options.onPeerError ?? null
  if (onPeerError !== null && typeof onPeerError !== 'function') throw new UsageError('onPeerError must be a function')
  return {
    log: options.log ?? null,
    environ: options.environ === undefined ? null : { ...options.environ },
    maxSize: number('maxSize', options.maxSize ?? 1024, 1),
    maxHttpVersion: options.maxHttpVersion ?? 'HTTP/1.1',
    minimumChunkSize: number('minimumChunkSize', options.minimumChunkSize ?? 4096, 0),
    logXForwardedFor: boolean('logXForwardedFor', options.logXForwardedFor, true),
    customPool: pool ?? null,
    keepalive: options.maxHttpVersion === 'HTTP/1.0' ? 0 : idle,
    logOutput: boolean('logOutput', options.logOutput, true),
    logFormat: options.logFormat ?? DEFAULT_LOG_FORMAT,
    debug: boolean('debug', options.debug, false),
    capitalizeResponseHeaders: boolean('capitalizeResponseHeaders', options.capitalizeResponseHeaders, true),
    limits,
    timeouts,
    transport: options.transport ?? 'auto',
    acceptTransferEncodingWithContentLength: boolean('strictness.acceptTransferEncodingWithContentLength', strictness.acceptTransferEncodingWithContentLength, false),
    flushWhenWaiting: boolean('flushWhenWaiting', options.flushWhenWaiting, true),
    abortOnHalfClose: boolean('abortOnHalfClose', options.abortOnHalfClose, false),
    closeListener: boolean('closeListener', options.closeListener, true),
    onPeerError,
    clock: options.clock ?? systemClock
  }
}

/** Of `close()`. @throws UsageError naming the option. */
export function checkClose(options: { timeout?: number; signal?: AbortSignal }): void {
  checkNames('', options, CLOSE)
  checkSignal(options.signal)
  if (options.timeout !== undefined) number('timeout', options.timeout, 0)
}

function isLog(log: unknown): boolean {
  if (typeof log !== 'object' || log === null) return false
  const { info, debug, error, write } = log as { [name: string]: unknown }
  return typeof write === 'function' || (typeof info === 'function' && typeof debug === 'function' && typeof error === 'function')
}

function boolean(name: string, value: unknown, standard: boolean): boolean {
  const completed = value ?? standard
  if (typeof completed !== 'boolean') throw new UsageError(`${name} must be true or false`)
  return completed
}

function number(name: string, value: unknown, least: number): number {
  if (typeof value !== 'number' || Number.isNaN(value) || value < least) throw new UsageError(`${name} must be a number of at least ${least}`)
  return value
}

function numbers<T extends object>(group: string, defaults: Readonly<T>, ...given: object[]): T {
  const result: Record<string, number> = { ...(defaults as Record<string, number>) }
  for (const values of given) {
    for (const [key, value] of Object.entries(values)) {
      if (value === undefined) continue
      result[key] = number(`${group}.${key}`, value, NEVER_0.has(key) ? 1 : 0)
    }
  }
  return result as T
}
