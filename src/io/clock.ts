// Time, injected: nothing else in src reads a clock, so that tests need not sleep. (Two timers are Node's own: that of a TLS handshake, and the one
// that whoever took a connection over sets on its Duplex.)
import { performance } from 'node:perf_hooks'
import * as timers from 'node:timers'

export interface Clock {
  /** Monotonic milliseconds. */
  now(): number
  /** Milliseconds since the epoch. */
  wall(): number
  /** Calls `tick` every `ms` until the returned handle is cleared. Must not keep the process alive. */
  every(ms: number, tick: () => void): unknown
  /** Calls `done` once after `ms`, at most 24.8 days. Must not keep the process alive. */
  after(ms: number, done: () => void): unknown
  clear(handle: unknown): void
}

/** Milliseconds, 24.8 days: a timer of Node's that is asked to wait longer fires at once. */
export const MAX_TIMER: number = 2 ** 31 - 1

/** As they were when the package was loaded: fake timers (node:test's, for one) must neither hold a server nor, by a timer that is set in one time and
 *  cannot be cleared in the other, hurry it. Of the module, because a test environment may have globals of its own. */
const { setInterval, setTimeout, clearTimeout, setImmediate } = timers

class SystemClock implements Clock {
  now(): number {
    return performance.now()
  }
  wall(): number {
    return Date.now()
  }
  every(ms: number, tick: () => void): unknown {
    return setInterval(tick, ms).unref()
  }
  after(ms: number, done: () => void): unknown {
    return setTimeout(done, Math.min(ms, MAX_TIMER)).unref()
  }
  clear(handle: unknown): void {
    clearTimeout(handle as NodeJS.Timeout)
  }
}

export const systemClock: Clock = new SystemClock()

/** All connections of a thread wait for it. */
export const nextTurn: typeof timers.setImmediate = setImmediate

/** Keeps the process alive until what it returns is called: no timer of a Clock does, and whatever else is waited for may not either. */
export function holdProcess(): () => void {
  const hold = setInterval(() => {}, MAX_TIMER)
  return () => clearTimeout(hold)
}
