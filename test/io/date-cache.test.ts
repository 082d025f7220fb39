import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Clock } from '../../src/io/clock.ts'
import { DateCache } from '../../src/io/date-cache.ts'
import { FakeClock } from '../support/fake-clock.ts'

const dates = suite('date cache')

/** Looks at the clock at each call. */
function cacheOf(clock: Clock): DateCache {
  let looks = 0
  return new DateCache(clock, { get count() { return ++looks } })
}

dates('IMF-fixdate, the example of RFC 9110 §5.6.7', () => {
  assert.is(cacheOf(new FakeClock()).fieldLine(), 'Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n')
})

dates('the same string within a second, another with the next', () => {
  const clock = new FakeClock(Date.UTC(2026, 0, 31, 23, 59, 58, 250))
  const cache = cacheOf(clock)
  assert.is(cache.fieldLine(), 'Date: Sat, 31 Jan 2026 23:59:58 GMT\r\n')
  clock.advance(749)
  assert.is(cache.fieldLine(), 'Date: Sat, 31 Jan 2026 23:59:58 GMT\r\n')
  clock.advance(1)
  assert.is(cache.fieldLine(), 'Date: Sat, 31 Jan 2026 23:59:59 GMT\r\n')
  clock.advance(1000)
  assert.is(cache.fieldLine(), 'Date: Sun, 01 Feb 2026 00:00:00 GMT\r\n')
})

dates('the clock is looked at once a sweep', () => {
  let looks = 0
  const sweeps = { count: 0 }
  const cache = new DateCache({ wall: () => 1000 * looks++ } as Clock, sweeps)
  assert.match(cache.fieldLine(), '00:00:00')
  assert.match(cache.fieldLine(), '00:00:00')
  sweeps.count++
  assert.match(cache.fieldLine(), '00:00:01')
  assert.match(cache.fieldLine(), '00:00:01')
  assert.is(looks, 2)
})

dates('a wall clock that is set back is followed', () => {
  let wall = Date.UTC(2026, 5, 1, 12, 0, 0)
  const cache = cacheOf({ wall: () => wall } as Clock)
  assert.match(cache.fieldLine(), '12:00:00')
  wall -= 3_600_000
  assert.match(cache.fieldLine(), '11:00:00')
  wall -= 1
  assert.match(cache.fieldLine(), '10:59:59')
})

dates('days and months have two digits, names three letters', () => {
  for (let month = 0; month < 12; month++) {
    const line = cacheOf(new FakeClock(Date.UTC(2025, month, 1, 0, 0, 0))).fieldLine()
    assert.match(line, /^Date: (?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), 01 (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) 2025 00:00:00 GMT\r\n$/)
  }
})

dates.run()
