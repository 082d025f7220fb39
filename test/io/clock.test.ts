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

clock('fake timers hold nothing up, and what was set before them can be cleared under them', async () => {
  const { setTimeout, setInterval, clearTimeout } = globalThis
  const fake = (() => {}) as unknown as never
  let ticks = 0
  let done = false
  const before = systemClock.every(1, () => ticks++)
  Object.assign(globalThis, { setTimeout: fake, setInterval: fake, clearTimeout: fake })
  try {
    systemClock.clear(before)
    systemClock.after(1, () => (done = true))
  } finally {
    Object.assign(globalThis, { setTimeout, setInterval, clearTimeout })
  }
  await new Promise<void>(resolve => setTimeout(resolve, 5))
  assert.equal([ticks, done], [0, true])
})

clock.run()
