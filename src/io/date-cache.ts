// The Date field line, made at most once a second (RFC 9110 §6.6.1).
import type { Clock } from './clock.ts'

export class DateCache {
  private readonly clock: Clock
  private line = ''
  private until = 0
  private from = 0

  constructor(clock: Clock) {
    this.clock = clock
  }

  /** `Date: Sun, 06 Nov 1994 08:49:37 GMT` with its CRLF. */
  fieldLine(): string {
    const now = this.clock.wall()
    // `from` too: the wall clock may be set back.
    if (now >= this.until || now < this.from) {
      this.from = now - (now % 1000)
      this.until = this.from + 1000
      // toUTCString is IMF-fixdate for every year of four digits.
      this.line = `Date: ${new Date(now).toUTCString()}\r\n`
    }
    return this.line
  }
}
