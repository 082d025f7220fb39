import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { MAX_TIMER, systemClock } from '../../src/io/clock.ts'

const clock = suite('system clock')

clock('a wait that is longer than a timer of Node can be does not end at once', async () => {
  let early = ''
  const waits = [MAX_TIMER + 1, 2 ** 40].map(ms => systemClock.after(ms, () => (early += `${ms} `)))
  // Without a bound each would be a timer of one millisecond, due before this one.
  await new Promise<void>(resolve => setTimeout(resolve, 5))
  for (const wait of waits) systemClock.clear(wait)
  assert.is(early, '')
})

clock.run()
