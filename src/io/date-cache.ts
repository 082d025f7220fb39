// The Date field line, made at most once a second (RFC 9110 §6.6.1).
import type { Clock } from './clock.ts'
import type { Deadlines } from './deadlines.ts'
import { flat } from './flat-string.ts'

export class DateCache {
  private readonly clock: Clock
  private line = ''
  private until = 0
  private from = 0
  private readonly sweeps: Pick<Deadlines, 'count'>
  private seen = -1

  /** The clock is looked at once a sweep, so that Date is at most half a second behind: asking for the time costs a tenth of a pipelined request here
   *  (78 ns of 850). */
  constructor(clock: Clock, sweeps: Pick<Deadlines, 'count'>) {
    this.clock = clock
    this.sweeps = sweeps
  }

  /** `Date: Sun, 06 Nov 1994 08:49:37 GMT` with its CRLF. */
  fieldLine(): string {
    if (this.seen === this.sweeps.count) return this.line
    this.seen = this.sweeps.count
    const now = this.clock.wall()
    // `from` too: the wall clock may be set back.
    if (now >= this.until || now < this.from) {
      this.from = now - (now % 1000)
      this.until = this.from + 1000
      // toUTCString is IMF-fixdate for every year of four digits.
      this.line = flat(`Date: ${new Date(now).toUTCString()}\r\n`)
    }
    return this.line
  }
}
