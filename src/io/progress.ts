// Is a transfer moving? Judged once a tick: no progress for too long, or too low an average rate.
import { TICK } from './deadlines.ts'

export class Progress {
  private readonly from: number
  private seen: number
  private stalled = 0
  private active = 0

  /** `from`: the counter's value at the start. */
  constructor(from: number) {
    this.from = this.seen = from
  }

  /** Once a tick while the transfer is the peer's to move: `total` is the counter now, `stall` milliseconds, `minRate` bytes per second, judged after `grace` milliseconds. */
  tooSlow(total: number, stall: number, minRate: number, grace: number): boolean {
    this.active += TICK
    if (total > this.seen) {
      this.seen = total
      this.stalled = 0
    } else {
      this.stalled += TICK
    }
    // One tick more than asked: the transfer may have begun just before a tick.
    return this.stalled >= stall + TICK || (this.active >= grace + TICK && (total - this.from) * 1000 < minRate * (this.active - TICK))
  }
}
