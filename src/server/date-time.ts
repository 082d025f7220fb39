// IMF-fixdate, the one date format that HTTP generates (RFC 9110 §5.6.7).
import { UsageError } from '../io/errors.ts'

/** 9999-12-31T23:59:59.999Z: the format has four digits for the year. */
const LAST = 253_402_300_799_999
/** 0000-01-01T00:00:00Z. */
const FIRST = -62_167_219_200_000

/** A date as header values have it: `Sun, 06 Nov 1994 08:49:37 GMT`.
 *  @param date a Date or milliseconds since the epoch
 *  @throws UsageError for an invalid date, and for a year that four digits cannot hold */
export function formatDateTime(date: Date | number): string {
  const ms = typeof date === 'number' ? date : date.getTime()
  if (!(ms >= FIRST && ms <= LAST)) throw new UsageError(`not a date that HTTP can write: ${ms}`)
  return new Date(ms).toUTCString()
}
