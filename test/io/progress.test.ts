import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { TICK } from '../../src/io/deadlines.ts'
import { Progress } from '../../src/io/progress.ts'

const progress = suite('progress')

/** Milliseconds until the transfer is too slow: `total` after so many ticks. -1: not within two minutes. */
function runsFor(total: (tick: number) => number, stall: number, minRate: number, grace = 20_000, from = 0): number {
  const transfer = new Progress(from)
  for (let tick = 1; tick <= 240; tick++) if (transfer.tooSlow(total(tick), stall, minRate, grace)) return tick * TICK
  return -1
}

/** What is asked, and at most a second more. */
function about(ms: number, expected: number): void {
  assert.ok(ms >= expected && ms <= expected + 1000, `${ms}, expected about ${expected}`)
}

progress('nothing moves: over after the stall', () => {
  about(runsFor(() => 0, 30_000, 0), 30_000)
  about(runsFor(() => 777, 30_000, 0, 20_000, 777), 30_000)
})

progress('every byte begins the stall anew', () => {
  assert.is(runsFor(tick => Math.floor((tick * TICK) / 29_000), 30_000, 0), -1)
  about(runsFor(tick => Math.min(tick, 20), 10_000, 0), 20 * TICK + 10_000)
})

progress('the average rate counts after its grace', () => {
  const bytesPerTick = (perSecond: number) => (tick: number): number => Math.floor((perSecond * tick * TICK) / 1000)
  about(runsFor(bytesPerTick(400), 60_000, 500), 20_000)
  assert.is(runsFor(bytesPerTick(500), 60_000, 500), -1)
  assert.is(runsFor(bytesPerTick(1000), 60_000, 500), -1)
})

progress('a fast beginning is credited', () => {
  about(runsFor(() => 500 * 40, 1_000_000, 500), 40_000)
})

progress('bytes before the start do not count', () => {
  about(runsFor(tick => 1_000_000 + tick, 60_000, 500, 20_000, 1_000_000), 20_000)
})

progress('0 and Infinity switch the one and the other off', () => {
  assert.is(runsFor(() => 0, Infinity, 0), -1)
  about(runsFor(() => 0, Infinity, 1), 20_000)
  about(runsFor(() => 0, 5000, 1), 5000)
})

progress('only ticks that are asked for count: a pause of ours is not the peer\'s', () => {
  const transfer = new Progress(0)
  for (let tick = 0; tick < 10; tick++) assert.not.ok(transfer.tooSlow(0, 30_000, 500, 20_000))
  // A thousand ticks pass in which nobody asks.
  for (let tick = 0; tick < 10; tick++) assert.not.ok(transfer.tooSlow(0, 30_000, 500, 20_000))
})

progress.run()
