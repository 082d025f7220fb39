// What a connection borrows while something happens on it (design §2.4): when it gives it back, and that the next borrower finds nothing in it.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Connection } from '../../src/io/connection.ts'
import type { Cycle } from '../../src/io/cycle.ts'
import { Engine, type CycleHandler } from '../../src/io/engine.ts'
import { isPoisoned } from '../../src/io/poison.ts'
import { encodeResponseHead } from '../../src/io/response-head.ts'
import { NO_TRAFFIC, Traffic } from '../../src/io/traffic.ts'
import { DEFAULT_LIMITS, DEFAULT_TIMEOUTS } from '../../src/parser/limits.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { FaultTransport, loopTurn, settle } from '../support/fault-transport.ts'

const traffic = suite('traffic')

const GET = 'GET / HTTP/1.1\r\nHost: h\r\n\r\n'
const WAIT = 'GET /wait HTTP/1.1\r\nHost: h\r\n\r\n'
const UPLOAD = 'POST /wait HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n'
const HEAD = encodeResponseHead(200, [['X', 'y']], true)

class World implements CycleHandler {
  readonly clock: FakeClock = new FakeClock()
  readonly engine: Engine
  readonly connections: Connection[] = []
  readonly waiting: Cycle[] = []
  /** Post hooks that go on after the end. */
  hooks = false

  constructor() {
    this.engine = new Engine(
      {
        limits: DEFAULT_LIMITS, timeouts: DEFAULT_TIMEOUTS, keepalive: 75_000, maxSize: 1000, maxHttpVersion: 'HTTP/1.1', minimumChunkSize: 4096,
        acceptTransferEncodingWithContentLength: false, abortOnHalfClose: false, customPool: null, clock: this.clock
      },
      this
    )
  }

  onHead(cycle: Cycle): void {
    if (cycle.head.target === '/wait') this.waiting.push(cycle)
    else this.answer(cycle)
  }
  onPeerError(): void {}
  onOpen(connection: Connection): void {
    this.connections.push(connection)
  }
  onClose(): void {}
  onCycleEnd(cycle: Cycle): void {
    if (this.hooks) cycle.connection.holdHooks(0)
  }
  onRefusalEnd(): void {}
  onPoolFailed(): void {}
  onDeadline(): void {}

  answer(cycle: Cycle, text = 'ok'): void {
    cycle.setHead(HEAD)
    cycle.answer([text], text.length)
  }

  async release(text?: string): Promise<void> {
    for (const cycle of this.waiting.splice(0)) this.answer(cycle, text)
    await settle()
  }

  async connect(bytes = ''): Promise<FaultTransport> {
    const transport = new FaultTransport()
    if (bytes !== '') transport.receive(bytes)
    this.engine.accept(transport)
    await settle(transport)
    return transport
  }

  async send(transport: FaultTransport, bytes: string): Promise<void> {
    transport.receive(bytes)
    await settle(transport)
  }

  async tick(): Promise<void> {
    this.clock.advance(500)
    await loopTurn()
  }

  /** What the connection accepted as the `index`th has borrowed. */
  held(index = 0): Traffic {
    return (this.connections[index] as unknown as { traffic: Traffic }).traffic
  }

  get free(): Traffic[] {
    return (this.engine as unknown as { traffics: Traffic[] }).traffics
  }

  async end(): Promise<void> {
    const drained = this.engine.drain()
    this.engine.destroyAll()
    await drained
    assert.is(this.clock.pending(), 0)
  }
}

traffic('an idle connection holds none: before its first request, and after each', async () => {
  const world = new World()
  const transport = await world.connect()
  assert.is(world.held(), NO_TRAFFIC)
  for (const request of [GET, GET.repeat(40), GET.slice(0, 9), GET.slice(9), UPLOAD, '0\r\n\r\n']) {
    await world.send(transport, request)
    await world.release()
    if (request === UPLOAD || request === GET.slice(0, 9)) assert.is.not(world.held(), NO_TRAFFIC, 'a request is under way')
    else assert.is(world.held(), NO_TRAFFIC, JSON.stringify(request))
  }
  assert.is(world.engine.states().idle, 1)
  assert.is(transport.wire().split('HTTP/1.1 200 OK').length - 1, 43)
  await world.end()
})

const post = (fields: string, content: string): string => `POST /wait HTTP/1.1\r\nHost: h\r\n${fields}\r\n\r\n${content}`
for (const [name, request, expected] of [
  ['of much, as much as a piece may keep', post('Content-Length: 1000000', 'x'.repeat(1000)), 196_608],
  ['all the rest where that is less', post('Content-Length: 70000', 'x'.repeat(1000)), 69_000],
  ['none where the slab holds the rest', post('Content-Length: 66000', 'x'.repeat(1000)), 0],
  ['of chunked content as of much', UPLOAD, 196_608]
] as const) {
  traffic(`memory of its own for content that somebody reads: ${name}`, async () => {
    const world = new World()
    const transport = await world.connect(request)
    const connection = world.connections[0]!
    assert.is(connection.expectedBytes(), 0, 'nobody has taken any')
    world.waiting[0]!.content!.take(1)
    assert.is(connection.expectedBytes(), expected)
    await world.release()
    assert.is(connection.expectedBytes(), 0, 'the answer has ended')
    transport.lose()
    await settle(transport)
    await world.end()
  })
}

traffic('one that waits for its kernel, for hooks, or for a rate that may go on keeps its own', async () => {
  const world = new World()
  world.hooks = true
  const transport = await world.connect()
  transport.hold()
  await world.send(transport, GET)
  const own = world.held()
  assert.is.not(own, NO_TRAFFIC)
  transport.take()
  await settle(transport)
  assert.is(own.pendingHooks, 1)
  await world.tick()
  assert.is(world.held(), own, 'hooks')
  world.hooks = false
  transport.hold()
  await world.send(transport, GET)
  world.connections[0]!.hooksDone(0)
  assert.is(world.held(), own, 'pending bytes')
  transport.take()
  await settle(transport)
  assert.is(world.held(), own, 'a rate: the next answer counts for it, unless a tick finds nothing pending')
  await world.tick()
  assert.is(world.held(), NO_TRAFFIC)
  await world.end()
})

traffic('lent, used for everything, given back, lent again: as new', async () => {
  const world = new World()
  const transport = await world.connect()
  // A head in two parts, content in two, requests behind it, an answer that the kernel takes in two parts, hooks.
  world.hooks = true
  await world.send(transport, UPLOAD.slice(0, 20))
  const own = world.held()
  assert.is.not(own.reader, null)
  await world.send(transport, UPLOAD.slice(20))
  assert.is.not(own.incoming, null)
  await world.send(transport, '0\r\n\r\n' + WAIT + GET.repeat(3))
  assert.is.not(own.stash, null)
  transport.hold(10)
  await world.release('a'.repeat(100_000))
  await world.release('b'.repeat(20_000))
  assert.ok(own.out.waiting(transport) > 100_000)
  transport.take()
  for (let i = 0; i < 4; i++) await settle(transport)
  await world.release()
  assert.is(own.pendingHooks, 5)
  for (let i = 0; i < 5; i++) world.connections[0]!.hooksDone(0)
  await world.tick()
  assert.is(world.held(), NO_TRAFFIC)
  assert.equal(world.free, [own])
  assert.equal(own, new Traffic())
  // The next peer's, and nothing but its own answer leaves.
  const next = await world.connect(WAIT)
  assert.is(world.held(1), own)
  await world.release()
  assert.is(next.wire().replace(/Date: .*\r\n/, ''), 'HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 2\r\n\r\nok')
  await world.end()
})

/** What waits, as text. */
function waiting({ stash, stashStart }: Traffic): string {
  return stash === null ? '' : stash.toString('latin1', stashStart)
}

traffic('input that waits: one read comes on top of it, then reading stops until all of it has been interpreted', async () => {
  const world = new World()
  const transport = await world.connect(WAIT + WAIT + GET)
  const own = world.held()
  assert.is(waiting(own), WAIT + GET)
  assert.ok(transport.isReading, 'what has come is often all there is')
  // Octet by octet: what waits grows by one of them.
  for (const octet of GET) transport.receive(octet)
  await settle(transport)
  assert.is(waiting(own), WAIT + GET + GET[0])
  assert.is(transport.unread, GET.length - 1)
  assert.not.ok(transport.isReading)
  await world.release()
  assert.is(waiting(own), GET + GET[0], 'the second request is being answered')
  assert.not.ok(transport.isReading)
  await world.release()
  await settle(transport)
  assert.is(transport.wire().split('HTTP/1.1 200 OK').length - 1, 4)
  assert.ok(transport.isReading)
  assert.is(world.held(), NO_TRAFFIC)
  await world.end()
})

traffic('what waits is copied once, however many requests are in it', async () => {
  const world = new World()
  const transport = await world.connect(WAIT.repeat(4))
  const own = world.held()
  const { stash } = own
  assert.is(stash!.length, 3 * WAIT.length)
  for (const start of [WAIT.length, 2 * WAIT.length]) {
    await world.release()
    assert.is(own.stash, stash)
    assert.is(own.stashStart, start)
  }
  // The last is on its way, and what comes now waits behind it.
  await world.release()
  assert.is(own.stash, null)
  await world.send(transport, GET)
  assert.is(waiting(own), GET)
  await world.release()
  assert.is(transport.wire().split('HTTP/1.1 200 OK').length - 1, 5)
  assert.is(world.held(), NO_TRAFFIC)
  await world.end()
})

traffic('a takeover of a request that had waited: what follows it, of both reads, and nothing of what came before', async () => {
  for (const reads of [['behind it'], ['behind', ' it']]) {
    const world = new World()
    const transport = await world.connect(WAIT + WAIT + reads[0]!)
    if (reads[1] !== undefined) await world.send(transport, reads[1])
    await world.release()
    const [cycle] = world.waiting
    const duplex = world.connections[0]!.takeOver(cycle!)
    assert.is(String(duplex.read()), 'behind it')
    await world.end()
  }
})

traffic('a drain while some of what waits has been answered: the rest is judged by what is left of it', async () => {
  for (const [behind, answers] of [[GET, 3], [GET.slice(0, 20), 2]] as const) {
    const world = new World()
    const transport = await world.connect(WAIT + WAIT + behind)
    await world.release()
    assert.ok(transport.isReading)
    const drained = world.engine.drain()
    assert.not.ok(transport.isReading, 'what comes now is not for us')
    await world.send(transport, GET)
    await world.release()
    await settle(transport)
    const wire = transport.wire().split('HTTP/1.1 200 OK').slice(1)
    assert.equal(wire.map(answer => answer.includes('Connection: close')), Array.from({ length: answers }, (_, i) => i === answers - 1))
    assert.is(transport.unread, 0, 'read to be thrown away')
    transport.fin()
    await settle(transport)
    await drained
    await world.end()
  }
})

traffic('a turn that ends with requests left reads on, and pauses when more comes', async () => {
  const world = new World()
  const transport = await world.connect()
  transport.receive(GET.repeat(40)).turn()
  assert.is(waiting(world.held()), GET.repeat(8))
  assert.ok(transport.isReading)
  transport.receive(GET).turn()
  assert.is(waiting(world.held()), GET.repeat(9), 'it waits its turn')
  assert.not.ok(transport.isReading)
  await settle(transport)
  assert.is(transport.wire().split('HTTP/1.1 200 OK').length - 1, 41)
  assert.ok(transport.isReading)
  await world.end()
})

traffic('one that a drain may cut keeps its own: eventlet.set_idle holds for the connection', async () => {
  const world = new World()
  const transport = await world.connect(WAIT)
  world.connections[0]!.setIdle()
  await world.release()
  await world.tick()
  assert.is(world.engine.states().idle, 1)
  await world.send(transport, WAIT)
  void world.engine.drain()
  await settle(transport)
  assert.is(transport.ending, 'reset')
  await world.end()
})

traffic('one that closed, was cut or taken over gives nothing back: what was called off may still call', async () => {
  const world = new World()
  const [cut, taken, left] = [await world.connect(WAIT), await world.connect(WAIT), await world.connect(GET)]
  world.connections[0]!.cut('enough')
  world.connections[1]!.takeOver(world.waiting[1]!)
  left.fin()
  await settle(cut, taken, left)
  assert.equal(world.connections.map(connection => connection.stateName), ['closed', 'taken over', 'closed'])
  for (let i = 0; i < 3; i++) assert.not.ok(world.free.includes(world.held(i)))
  assert.is(world.engine.states()['taken over'], 1)
  await world.end()
})

traffic('no more than a handful are kept', async () => {
  const world = new World()
  for (let i = 0; i < 100; i++) await world.connect(WAIT)
  assert.is(new Set(world.connections.map((_, i) => world.held(i))).size, 100, 'each its own')
  await world.release()
  assert.is(world.engine.states().idle, 100)
  assert.is(world.free.length, 64)
  await world.end()
})

traffic('under poison nothing can be written to the one that stands for none', () => {
  // The suite always is; a file run by hand is not.
  if (!isPoisoned()) return
  assert.throws(() => NO_TRAFFIC.beginTurn(), TypeError)
  assert.throws(() => NO_TRAFFIC.out.text('x', 1), TypeError)
  assert.equal(NO_TRAFFIC, new Traffic())
})

traffic.run()
