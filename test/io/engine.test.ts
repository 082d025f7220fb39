// Admission: how many are served, who goes when it is full, who waits, and for how long (design.md §3, last rows).
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Connection } from '../../src/io/connection.ts'
import { Engine, type CycleHandler, type EngineSettings } from '../../src/io/engine.ts'
import type { Cycle } from '../../src/io/cycle.ts'
import { setInternalErrorHook } from '../../src/io/transport.ts'
import { encodeResponseHead } from '../../src/io/response-head.ts'
import { DEFAULT_LIMITS, DEFAULT_TIMEOUTS } from '../../src/parser/limits.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { FaultTransport, loopTurn, settle } from '../support/fault-transport.ts'

const admission = suite('engine: admission')
const pools = suite('engine: custom pool')
const drain = suite('engine: drain')

const GET = 'GET / HTTP/1.1\r\nHost: h\r\n\r\n'
const HEAD = encodeResponseHead(200, [['X', 'y']], true)

/** Answers every request at once, but those to /wait: when `release` is called. */
class Handler implements CycleHandler {
  readonly waiting: Cycle[] = []
  readonly log: string[] = []
  readonly opened = new Set<Connection>()
  ended = 0

  onHead(cycle: Cycle): void {
    if (cycle.head.target === '/wait') this.waiting.push(cycle)
    else this.answer(cycle)
  }
  onPeerError(): void {}
  onOpen(connection: Connection): void {
    assert.not.ok(this.opened.has(connection))
    this.opened.add(connection)
  }
  onClose(connection: Connection): void {
    assert.ok(this.opened.delete(connection), 'closed once')
  }
  onCycleEnd(): void {
    this.ended++
  }
  onRefusalEnd(): void {}
  onPoolFailed(): void {}
  onDeadline(): void {}
  release(): void {
    for (const cycle of this.waiting.splice(0)) this.answer(cycle)
  }
  private answer(cycle: Cycle): void {
    cycle.setHead(HEAD)
    cycle.answer(['ok'], 2)
  }
}

class World {
  readonly clock: FakeClock = new FakeClock()
  readonly handler: Handler = new Handler()
  readonly engine: Engine
  readonly transports: FaultTransport[] = []

  constructor(settings: Partial<EngineSettings> & { maxParked?: number } = {}) {
    this.engine = new Engine({
      limits: { ...DEFAULT_LIMITS, maxParked: settings.maxParked ?? 1024 },
      timeouts: DEFAULT_TIMEOUTS,
      keepalive: 75_000,
      maxSize: 3,
      maxHttpVersion: 'HTTP/1.1',
      minimumChunkSize: 4096,
      acceptTransferEncodingWithContentLength: false,
      abortOnHalfClose: false,
      customPool: null,
      clock: this.clock,
      ...settings
    }, this.handler)
  }

  /** A newcomer that has sent `bytes` already. */
  async connect(bytes = ''): Promise<FaultTransport> {
    const transport = new FaultTransport()
    this.transports.push(transport)
    if (bytes !== '') transport.receive(bytes)
    this.engine.accept(transport)
    await this.settle()
    return transport
  }

  settle(): Promise<void> {
    return settle(...this.transports)
  }

  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 500) {
      this.clock.advance(Math.min(left, 500))
      await loopTurn()
    }
    await this.settle()
  }

  get endings(): string[] {
    return this.transports.map(({ ending, isStarted, finSent }) => (ending !== 'open' ? ending : !isStarted ? 'parked' : finSent ? 'half-closed' : 'open'))
  }

  /** Ends all of it; then nothing may be left. */
  async end(): Promise<void> {
    const drained = this.engine.drain()
    this.handler.release()
    await this.settle()
    this.engine.destroyAll()
    await drained
    assert.is(this.engine.open, 0)
    assert.is(this.engine.waiting, 0)
    assert.is(this.clock.pending(), 0)
    assert.is(this.handler.opened.size, 0)
    for (const transport of this.transports) assert.equal(transport.violations, [])
  }
}

const WAIT = 'GET /wait HTTP/1.1\r\nHost: h\r\n\r\n'

admission('maxSize are served, the next is parked: unread, and not counted as open', async () => {
  const world = new World()
  for (let i = 0; i < 3; i++) await world.connect(WAIT)
  const late = await world.connect(GET)
  assert.is(world.engine.open, 3)
  assert.is(world.engine.waiting, 1)
  assert.equal(world.endings, ['open', 'open', 'open', 'parked'])
  assert.is(late.unread, GET.length)
  await world.end()
})

admission('a place that becomes free goes to the one that waited longest', async () => {
  const world = new World()
  for (let i = 0; i < 3; i++) await world.connect(WAIT)
  const [first, second] = [await world.connect(GET), await world.connect(GET)]
  world.transports[1]!.lose()
  await world.settle()
  assert.match(first.wire(), /^HTTP\/1\.1 200 OK/)
  assert.is(second.wire(), '')
  await world.end()
})

admission('while others wait, answers say that the connection closes', async () => {
  const world = new World()
  for (let i = 0; i < 3; i++) await world.connect(WAIT)
  const late = await world.connect(GET)
  world.handler.release()
  await world.settle()
  assert.match(world.transports[0]!.wire(), /\r\nConnection: close\r\n/)
  for (const transport of world.transports) transport.fin()
  await world.settle()
  assert.match(late.wire(), /^HTTP\/1\.1 200 OK/)
  assert.not.match(late.wire(), /Connection: close/)
  await world.end()
})

admission('a full server closes the longest idle for a newcomer', async () => {
  const world = new World()
  const [a, b, c] = [await world.connect(GET), await world.connect(GET), await world.connect(GET)]
  a.receive(GET)
  await world.settle()
  const d = await world.connect(GET)
  assert.is(b.ending, 'destroyed')
  assert.equal([a.ending, c.ending, d.ending], ['open', 'open', 'open'])
  assert.match(d.wire(), /200 OK/)
  const e = await world.connect(GET)
  assert.is(c.ending, 'destroyed')
  const f = await world.connect(GET)
  assert.is(a.ending, 'destroyed')
  assert.equal([d.ending, e.ending, f.ending], ['open', 'open', 'open'])
  assert.is(world.engine.counters.evicted, 3)
  assert.is(world.engine.open, 3)
  await world.end()
})

admission('a full server first hears what the longest idle has sent', async () => {
  const world = new World()
  const [a, b, c] = [await world.connect(GET), await world.connect(GET), await world.connect(GET)]
  a.receive(GET).aside = true
  await world.connect(GET)
  assert.equal([a.ending, b.ending, c.ending], ['open', 'destroyed', 'open'])
  assert.is(a.wire().split('200 OK').length, 3)
  // While others are interpreted it cannot be heard, and keeps its place.
  c.receive(GET).inTurn = true
  const late = new FaultTransport()
  world.engine.accept(late)
  assert.is(world.engine.waiting, 1)
  c.inTurn = false
  world.transports.push(late)
  await world.settle()
  assert.is(c.wire().split('200 OK').length, 3)
  await world.end()
})

admission('a flush that fails costs its connection alone', async () => {
  const reported: unknown[] = []
  setInternalErrorHook(error => reported.push(error))
  const world = new World()
  const [a, b] = [await world.connect(), await world.connect()]
  a.writeText = () => {
    throw new Error('broken')
  }
  for (const transport of [a, b]) {
    transport.together = true
    transport.receive(WAIT)
    transport.turn()
  }
  queueMicrotask(() => world.handler.release())
  await world.settle()
  assert.equal(reported.map(error => (error as Error).message), ['broken'])
  assert.is(a.ending, 'reset')
  assert.match(b.wire(), /200 OK/)
  await world.end()
})

admission('one whose answer had promised to keep it makes room at its end all the same', async () => {
  const world = new World({ maxSize: 1 })
  const kept = await world.connect(WAIT)
  const [cycle] = world.handler.waiting.splice(0)
  cycle!.setHead(HEAD)
  cycle!.write('begun')
  await world.settle()
  assert.not.match(kept.wire(), /close/i)
  const late = await world.connect(GET)
  cycle!.end('')
  await world.settle()
  assert.equal(world.endings, ['half-closed', 'parked'])
  kept.fin()
  await world.settle()
  assert.match(late.wire(), /^HTTP\/1\.1 200 OK/)
  await world.end()
})

admission('one that is being answered, or has never sent anything, is not idle', async () => {
  const world = new World()
  const fresh = await world.connect()
  const busy = await world.connect(WAIT)
  const reading = await world.connect(GET + 'GET /half')
  await world.connect(GET)
  assert.equal(world.endings, ['open', 'open', 'open', 'parked'])
  assert.is(world.engine.counters.evicted, 0)
  assert.equal([fresh.ending, busy.ending, reading.ending], ['open', 'open', 'open'])
  await world.end()
})

admission('one that is busy again, and idle again, waits at the end of the line', async () => {
  const world = new World()
  for (let i = 0; i < 3; i++) await world.connect(GET)
  for (const i of [0, 2, 0, 1, 2]) {
    world.transports[i]!.receive(GET)
    await world.settle()
  }
  await world.connect(GET)
  assert.equal(world.endings, ['destroyed', 'open', 'open', 'open'])
  await world.connect(GET)
  assert.equal(world.endings, ['destroyed', 'destroyed', 'open', 'open', 'open'])
  await world.end()
})

admission('an idle one that leaves by itself is out of the line', async () => {
  for (const leaver of [0, 1, 2]) {
    const world = new World()
    for (let i = 0; i < 3; i++) await world.connect(GET)
    world.transports[leaver]!.lose()
    await world.settle()
    await world.connect(GET)
    assert.is(world.engine.counters.evicted, 0)
    await world.connect(GET)
    await world.connect(GET)
    assert.is(world.engine.counters.evicted, 2)
    assert.equal(world.endings.slice(3), ['open', 'open', 'open'])
    await world.end()
  }
})

admission('an evicted connection whose answer is pending sends it first', async () => {
  const world = new World({ maxSize: 1 })
  const slow = new FaultTransport()
  world.transports.push(slow.hold(10).receive(GET))
  world.engine.accept(slow)
  await world.settle()
  const late = await world.connect(GET)
  slow.take()
  await world.settle()
  assert.match(slow.wire(), /\r\n\r\nok$/)
  assert.ok(slow.finSent)
  slow.fin()
  await world.settle()
  assert.match(late.wire(), /200 OK/)
  await world.end()
})

admission('maxParked wait; beyond it newcomers are closed and counted', async () => {
  const world = new World({ maxParked: 2 })
  for (let i = 0; i < 3; i++) await world.connect(WAIT)
  for (let i = 0; i < 5; i++) await world.connect(GET)
  assert.equal(world.endings, ['open', 'open', 'open', 'parked', 'parked', 'destroyed', 'destroyed', 'destroyed'])
  assert.is(world.engine.counters.refused, 3)
  assert.is(world.engine.counters.parked, 2)
  assert.is(world.engine.counters.accepted, 8)
  await world.end()
})

admission('maxParked 0: nobody waits', async () => {
  const world = new World({ maxParked: 0, maxSize: 1 })
  await world.connect(WAIT)
  const late = await world.connect(GET)
  assert.is(late.ending, 'destroyed')
  assert.is(world.engine.counters.refused, 1)
  await world.end()
})

admission('TLS handshakes: with those that are served or wait as many as may be', async () => {
  const world = new World({ maxSize: 2, maxParked: 1 })
  assert.equal([0, 1, 2, 3].map(handshakes => world.engine.admitsHandshake(handshakes)), [true, true, true, false])
  assert.equal([world.engine.counters.accepted, world.engine.counters.refused], [1, 1])
  for (let i = 0; i < 3; i++) await world.connect(WAIT)
  assert.not(world.engine.admitsHandshake(0))
  await world.end()
})

admission('nobody waits longer than the first-byte deadline', async () => {
  const world = new World({ maxSize: 1 })
  await world.connect(WAIT)
  const late = await world.connect(GET)
  await world.pass(9_999)
  assert.is(late.ending, 'open')
  await world.pass(1_001)
  assert.is(late.ending, 'destroyed')
  assert.is(late.wire(), '')
  assert.is(world.engine.waiting, 0)
  assert.is(world.engine.counters.refused, 1)
  assert.is(world.engine.counters.deadlines.get('parked'), 1)
  await world.end()
})

admission('one that waited has its whole first-byte deadline when its turn comes', async () => {
  const world = new World({ maxSize: 1 })
  await world.connect(WAIT)
  const late = await world.connect()
  await world.pass(8_000)
  world.transports[0]!.lose()
  await world.settle()
  assert.ok(late.isStarted)
  await world.pass(9_999)
  assert.is(late.ending, 'open')
  await world.pass(1_001)
  assert.is(late.ending, 'destroyed')
  await world.end()
})

admission('a thousand come and go: none is lost, the counters agree', async () => {
  const world = new World({ maxSize: 10 })
  for (let i = 0; i < 1000; i++) {
    const transport = await world.connect(GET)
    assert.match(transport.wire(), /200 OK/)
  }
  assert.is(world.engine.open, 10)
  assert.is(world.engine.counters.evicted, 990)
  assert.is(world.handler.ended, 1000)
  assert.is(world.engine.states().idle, 10)
  await world.end()
})

pools('spawn gets a task per connection; it settles when the connection ends', async () => {
  const tasks: Promise<void>[] = []
  const settled: number[] = []
  const world = new World({
    maxSize: 1,
    customPool: {
      spawn(task) {
        const index = tasks.length
        tasks.push(task())
        void tasks[index]!.then(() => settled.push(index))
      }
    }
  })
  const [a, b] = [await world.connect(GET), await world.connect(WAIT)]
  assert.match(a.wire(), /200 OK/)
  assert.ok(b.isStarted, 'the size is the pool\'s to decide')
  assert.equal(settled, [])
  b.lose()
  await world.settle()
  assert.equal(settled, [1])
  await world.end()
  await Promise.all(tasks)
})

pools('a pool that delays the task delays the reading', async () => {
  const tasks: (() => Promise<void>)[] = []
  const world = new World({ customPool: { spawn: task => tasks.push(task) } })
  const transport = await world.connect(GET)
  assert.not.ok(transport.isStarted)
  assert.is(transport.unread, GET.length)
  const over = tasks[0]!()
  await world.settle()
  assert.match(transport.wire(), /200 OK/)
  await world.end()
  await over
})

pools('a task that comes when the drain has begun closes its connection and settles', async () => {
  const tasks: (() => Promise<void>)[] = []
  const world = new World({ customPool: { spawn: task => tasks.push(task) } })
  const transport = await world.connect(GET)
  await world.end()
  await tasks[0]!()
  assert.is(transport.ending, 'destroyed')
  assert.is(world.engine.open, 0)
})

drain('with nothing open it is over at once', async () => {
  await new World().engine.drain()
})

drain('what has been read before it is answered, on connections that have said nothing else too', async () => {
  const world = new World()
  const [fresh, used, silent] = [await world.connect(), await world.connect(GET), await world.connect()]
  fresh.receive(GET).aside = true
  used.receive(GET).aside = true
  const drained = world.engine.drain()
  assert.match(fresh.wire(), /200 OK/)
  assert.is(used.wire().split('200 OK').length, 3)
  assert.is(silent.ending, 'destroyed')
  await world.pass(2000)
  await drained
})

drain('begun while the first bytes of a connection are about to be interpreted: they are answered, with close', async () => {
  const world = new World()
  const fresh = await world.connect()
  fresh.receive(GET).inTurn = true
  const drained = world.engine.drain()
  assert.is(fresh.ending, 'open')
  fresh.inTurn = false
  await world.settle()
  assert.match(fresh.wire(), /200 OK[^]*Connection: close/)
  fresh.fin()
  await world.settle()
  await drained
})

drain('parked ones are closed, newcomers too', async () => {
  const world = new World({ maxSize: 1 })
  await world.connect(WAIT)
  const [a, b] = [await world.connect(GET), await world.connect(GET)]
  const drained = world.engine.drain()
  assert.equal([a.ending, b.ending], ['destroyed', 'destroyed'])
  assert.is((await world.connect(GET)).ending, 'destroyed')
  world.handler.release()
  await world.settle()
  assert.match(world.transports[0]!.wire(), /Connection: close/)
  world.transports[0]!.fin()
  await world.settle()
  await drained
  await world.end()
})

drain('every state at once: each goes its way, and the drain is over when the last has gone', async () => {
  const world = new World({ maxSize: 100 })
  const fresh = await world.connect()
  const reading = await world.connect('GET / HT')
  const busy = await world.connect(WAIT)
  const idle = await world.connect(GET)
  const lingering = await world.connect('GET\r\n\r\n')
  let over = false
  void world.engine.drain().then(() => (over = true))
  await world.settle()
  assert.equal(world.endings, ['destroyed', 'open', 'open', 'open', 'half-closed'])
  reading.receive('TP/1.1\r\nHost: h\r\n\r\n')
  world.handler.release()
  await world.settle()
  assert.match(reading.wire(), /200 OK[^]*Connection: close/)
  assert.match(busy.wire(), /200 OK[^]*Connection: close/)
  await world.pass(2000)
  assert.is(idle.ending, 'destroyed')
  await world.pass(1500)
  assert.is(lingering.ending, 'destroyed')
  assert.ok(over)
  assert.is(fresh.wire(), '')
  await world.end()
})

drain('destroyAll cuts whatever is left', async () => {
  const world = new World()
  const [busy, idle] = [await world.connect(WAIT), await world.connect(GET)]
  const drained = world.engine.drain()
  world.engine.destroyAll()
  await drained
  assert.is(busy.ending, 'reset')
  assert.not.equal(idle.ending, 'open')
  assert.is(world.engine.open, 0)
  await world.end()
})

admission.run()
pools.run()
drain.run()
