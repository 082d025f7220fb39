import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { UsageError } from '../../src/io/errors.ts'
import { formatDateTime } from '../../src/server/date-time.ts'

const dateTime = suite('formatDateTime')

dateTime('milliseconds and a Date give the same IMF-fixdate', () => {
  assert.is(formatDateTime(784_111_777_000), 'Sun, 06 Nov 1994 08:49:37 GMT')
  assert.is(formatDateTime(new Date(784_111_777_999)), 'Sun, 06 Nov 1994 08:49:37 GMT')
  assert.is(formatDateTime(0), 'Thu, 01 Jan 1970 00:00:00 GMT')
})

dateTime('day and year keep their width', () => {
  assert.is(formatDateTime(Date.UTC(2024, 1, 29)), 'Thu, 29 Feb 2024 00:00:00 GMT')
  assert.is(formatDateTime(-62_167_219_200_000), 'Sat, 01 Jan 0000 00:00:00 GMT')
  assert.is(formatDateTime(253_402_300_799_999), 'Fri, 31 Dec 9999 23:59:59 GMT')
})

dateTime('what the format cannot hold is an error of the caller', () => {
  for (const bad of [NaN, Infinity, -62_167_219_200_001, 253_402_300_800_000, new Date(NaN)]) {
    assert.throws(() => formatDateTime(bad), (error: unknown) => error instanceof UsageError && error.code === 'ERR_WIRELET_USAGE')
  }
})

dateTime.run()
