// One coarse clock for all deadlines of a server's connections: everything timed is looked at twice a second. No timer per connection.
// (Elsewhere: handshakes have Node's own timers, post hooks and a drain one each, by the clock.)
// A sweep and not a wheel: progress and rates must be polled anyway, and a look at one connection costs some nanoseconds,
// while re-arming a wheel would cost every request. Knows nothing of what expires.
import type { Clock } from './clock.ts'

/** Milliseconds between two sweeps. A deadline is kept to within two of them: the promised second. */
export const TICK = 500

/** Something with deadlines: an element of the sweep's list. */
export interface Timed {
  previousTimed: Timed | null
  nextTimed: Timed | null
  /** `now` as in `Deadlines.now`. May remove itself. */
  onTick(now: number): void
}

export class Deadlines {
  /** Milliseconds in which the event loop was responsive: a tick that comes late counts as one in time and expires nothing, so that a blocked loop
   *  adds its lateness to every deadline, and nothing expires before the poll phase has delivered what peers sent meanwhile. */
  now = 0
  /** The same to the fraction. Whole milliseconds are cheaper to keep: V8 boxes every fraction that is stored. */
  private exact = 0
  /** Sweeps and starts so far. Changes at least twice a second while anything is timed. */
  count = 0
  private readonly clock: Clock
  private readonly tick = (): void => this.sweep()
  private timer: unknown = null
  private due = 0
  private first: Timed | null = null
  /** Where the sweep goes on: survives the removal of any element during `onTick`. */
  private cursor: Timed | null = null

  constructor(clock: Clock) {
    this.clock = clock
  }

  /** The moment `ms` from now, never too early: compare with a later `now`. */
  in(ms: number): number {
    return this.now + TICK + ms
  }

  add(timed: Timed): void {
    timed.previousTimed = null
    timed.nextTimed = this.first
    if (this.first !== null) this.first.previousTimed = timed
    this.first = timed
    if (this.timer === null) {
      this.count++
      this.due = this.clock.now() + TICK
      this.timer = this.clock.every(TICK, this.tick)
    }
  }

  /** The timer stops with the last element. */
  remove(timed: Timed): void {
    if (this.cursor === timed) this.cursor = timed.nextTimed
    if (timed.previousTimed !== null) timed.previousTimed.nextTimed = timed.nextTimed
    else if (this.first === timed) this.first = timed.nextTimed
    else return
    if (timed.nextTimed !== null) timed.nextTimed.previousTimed = timed.previousTimed
    timed.previousTimed = timed.nextTimed = null
    if (this.first === null && this.timer !== null) {
      this.clock.clear(this.timer)
      this.timer = null
    }
  }

  /** Everything timed, in the order in which it was added. */
  all(): Timed[] {
    const all: Timed[] = []
    for (let timed = this.first; timed !== null; timed = timed.nextTimed) all.push(timed)
    return all.reverse()
  }

  private sweep(): void {
    this.count++
    const real = this.clock.now()
    const elapsed = real - this.due + TICK
    this.due = real + TICK
    const late = elapsed >= 2 * TICK
    // What a tick is late by counts as long as it is little: else a loop that is always busy would give its slow peers twice the time.
    this.exact += late ? TICK : Math.max(elapsed, TICK)
    this.now = Math.floor(this.exact)
    if (late) return
    this.cursor = this.first
    while (this.cursor !== null) {
      const timed = this.cursor
      this.cursor = timed.nextTimed
      timed.onTick(this.now)
    }
  }
}
