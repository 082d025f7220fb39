import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Deadlines, TICK, type Timed } from '../../src/io/deadlines.ts'
import { FakeClock } from '../support/fake-clock.ts'

const deadlines = suite('deadlines')

class Item implements Timed {
  previousTimed: Timed | null = null
  nextTimed: Timed | null = null
  ticks: number[] = []
  during: () => void = () => {}
  onTick(now: number): void {
    this.ticks.push(now)
    this.during()
  }
}

/** Looks at its deadline as a connection does. */
class Expiring extends Item {
  expiredAt = -1
  constructor(all: Deadlines, clock: FakeClock, ms: number) {
    super()
    const at = all.in(ms)
    this.during = () => {
      if (this.expiredAt < 0 && this.ticks.at(-1)! >= at) this.expiredAt = clock.now()
    }
    all.add(this)
  }
}

function make(): { clock: FakeClock; all: Deadlines } {
  const clock = new FakeClock()
  return { clock, all: new Deadlines(clock) }
}

deadlines('no timer while nothing is timed; one, whatever is', () => {
  const { clock, all } = make()
  assert.is(clock.pending(), 0)
  const items = [new Item(), new Item(), new Item()]
  for (const item of items) all.add(item)
  assert.is(clock.pending(), 1)
  all.remove(items[1]!)
  all.remove(items[0]!)
  assert.is(clock.pending(), 1)
  all.remove(items[2]!)
  assert.is(clock.pending(), 0)
  all.add(items[0]!)
  assert.is(clock.pending(), 1)
})

deadlines('every start and every sweep is counted: the Date line is rendered anew by it', () => {
  const { clock, all } = make()
  const item = new Item()
  all.add(item)
  clock.advance(TICK)
  clock.advance(TICK)
  assert.is(all.count, 3)
  all.remove(item)
  clock.advance(TICK)
  assert.is(all.count, 3)
  all.add(item)
  assert.is(all.count, 4)
})

deadlines('removing twice, or what was never added, does nothing', () => {
  const { clock, all } = make()
  const [a, b, stranger] = [new Item(), new Item(), new Item()]
  all.add(a)
  all.add(b)
  all.remove(stranger)
  all.remove(a)
  all.remove(a)
  clock.advance(TICK)
  assert.is(b.ticks.length, 1)
  all.remove(b)
  all.remove(b)
  assert.is(clock.pending(), 0)
})

deadlines('a deadline is kept within a second, and never early', () => {
  for (const phase of [0, 1, 250, 499]) {
    for (const ms of [0, 1, 499, 500, 501, 1000, 2000, 30_000]) {
      const { clock, all } = make()
      all.add(new Item())
      clock.advance(phase)
      const start = clock.now()
      const item = new Expiring(all, clock, ms)
      clock.advance(ms + 2000)
      const took = item.expiredAt - start
      assert.ok(item.expiredAt >= 0 && took >= ms && took <= ms + 1000, `${ms} ms from ${phase}: ${took}`)
    }
  }
})

deadlines('an element may remove itself, its neighbours or all, and add new ones, in the midst of a tick', () => {
  for (const victims of [[0], [1], [2], [0, 1], [1, 2], [0, 2], [0, 1, 2]]) {
    for (const actor of [0, 1, 2]) {
      const { clock, all } = make()
      const items = [new Item(), new Item(), new Item()]
      for (const item of items) all.add(item)
      const added = new Item()
      items[actor]!.during = () => {
        items[actor]!.during = () => {}
        for (const victim of victims) all.remove(items[victim]!)
        all.add(added)
      }
      clock.advance(TICK)
      clock.advance(TICK)
      items.forEach((item, i) => {
        assert.is(item.ticks.length >= 1 || victims.includes(i), true, 'nobody is left out')
        assert.ok(item.ticks.length <= 2)
        if (!victims.includes(i)) assert.equal(item.ticks, [TICK, 2 * TICK])
      })
      assert.ok(added.ticks.includes(2 * TICK))
    }
  }
})

deadlines('a tick that comes late expires nothing, and its lateness is given to everyone', () => {
  const { clock, all } = make()
  const item = new Expiring(all, clock, 5000)
  clock.advance(4000)
  clock.jump(60_000)
  assert.is(item.expiredAt, -1)
  assert.is(all.now, 4000 + TICK, 'the half second that the tick was due in')
  clock.advance(900)
  assert.is(item.expiredAt, -1, 'what was left before the block is left after it')
  clock.advance(2000)
  assert.ok(item.expiredAt >= 0)
})

deadlines('an event loop blocked again and again', () => {
  const { clock, all } = make()
  const item = new Expiring(all, clock, 3000)
  for (let i = 0; i < 20; i++) clock.jump(10_000)
  assert.is(item.expiredAt, -1)
  assert.is(all.now, 20 * TICK)
  clock.advance(TICK)
  assert.ok(item.expiredAt >= 0)
})

deadlines('a tick that is a little late counts what it is late by', () => {
  const { clock, all } = make()
  const item = new Item()
  all.add(item)
  clock.jump(TICK + 100)
  assert.equal(item.ticks, [TICK + 100])
})

deadlines('`now` stands still while nothing is timed', () => {
  const { clock, all } = make()
  const item = new Item()
  all.add(item)
  clock.advance(TICK)
  all.remove(item)
  const { now } = all
  clock.advance(100_000)
  assert.is(all.now, now)
  const late = new Expiring(all, clock, 1000)
  clock.advance(999)
  assert.is(late.expiredAt, -1)
  clock.advance(1001)
  assert.ok(late.expiredAt >= 0)
})

deadlines.run()
