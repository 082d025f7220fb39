// Time that stands still until a test moves it.
import type { Clock } from '../../src/io/clock.ts'

interface Timer {
  due: number
  /** 0: once. */
  readonly period: number
  readonly callback: () => void
}

export class FakeClock implements Clock {
  private time = 0
  private epoch: number
  private readonly timers = new Set<Timer>()

  /** `wall`: milliseconds since the epoch at the start; RFC 9110's own example unless given. */
  constructor(wall: number = Date.UTC(1994, 10, 6, 8, 49, 37)) {
    this.epoch = wall
  }

  now(): number {
    return this.time
  }

  wall(): number {
    return this.epoch + this.time
  }

  every(ms: number, tick: () => void): unknown {
    return this.add({ due: this.time + ms, period: Math.max(ms, 1), callback: tick })
  }

  after(ms: number, done: () => void): unknown {
    return this.add({ due: this.time + ms, period: 0, callback: done })
  }

  clear(handle: unknown): void {
    this.timers.delete(handle as Timer)
  }

  /** Timers that wait. */
  pending(): number {
    return this.timers.size
  }

  /** Moves both clocks on by `ms`; every callback that comes due runs at its own time, in order. */
  advance(ms: number): void {
    const end = this.time + ms
    for (let timer = this.next(end); timer !== null; timer = this.next(end)) {
      this.time = Math.max(this.time, timer.due)
      this.fire(timer)
    }
    this.time = end
  }

  /** A blocked event loop: `ms` pass at once, then each callback that was due runs a single time, late. */
  jump(ms: number): void {
    this.time += ms
    const late = [...this.timers].filter(timer => timer.due <= this.time).sort((a, b) => a.due - b.due)
    for (const timer of late) if (this.timers.has(timer)) this.fire(timer)
  }

  private add(timer: Timer): Timer {
    this.timers.add(timer)
    return timer
  }

  /** The earliest due by `end`; of equals the first set. */
  private next(end: number): Timer | null {
    let first: Timer | null = null
    for (const timer of this.timers) if (timer.due <= end && (first === null || timer.due < first.due)) first = timer
    return first
  }

  private fire(timer: Timer): void {
    if (timer.period === 0) this.timers.delete(timer)
    else timer.due = this.time + timer.period
    timer.callback()
  }
}
