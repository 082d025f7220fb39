// A hundred of each kind of slow peer at once, by the test's own clock: each ends by its deadline of design §5, with the status that can still be
// sent, and a good client is served at every second in between. What they cost in time is measured by soak/slow-peers.ts.
import * as assert from 'uvu/assert'
import type { Application } from '../../src/server/application.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { type Harness, type Running, get, onEveryTransport, pass, turns, until } from '../support/harness.ts'
import type { RawClient } from '../support/raw-client.ts'
import { closing, connectTo } from '../support/sockets.ts'
import { within } from '../support/within.ts'

const EACH = 100
const PIECE = Buffer.alloc(65536, 'x')

const application: Application = async (environ, startResponse) => {
  if (environ.PATH_INFO === '/content') await environ['wsgi.input'].read()
  startResponse('200 OK')
  if (environ.PATH_INFO !== '/endless') return ['hello']
  return (function* () {
    for (;;) yield PIECE
  })()
}

async function crowd(h: Harness, running: Running, bytes: string, size = EACH): Promise<RawClient[]> {
  const before = running.server.stats().bytesRead
  const clients: RawClient[] = []
  for (let i = 0; i < size; i++) clients.push(await h.connect(running))
  if (bytes === '') return clients
  await Promise.all(clients.map(client => client.send(bytes)))
  await until(() => running.server.stats().bytesRead === before + size * bytes.length, 'everything read')
  return clients
}

function over(clients: RawClient[]): number {
  return clients.filter(client => client.received > 0).length
}

onEveryTransport('slow peers', (h, test) => {
  test('heads and contents dripped, answers not taken, silent and idle ones: all at once', async () => {
    const clock = new FakeClock()
    // How much the kernel takes of an answer, and so its average rate, is the machine's affair.
    const running = await h.serve(application, { clock, maxSize: 10_000, timeouts: { minSendRate: 0 } })
    const { server, peerErrors, errors } = running
    const good = await h.connect()
    const heads = await crowd(h, running, 'GET / HTTP/1.1\r\nHost: a\r\nX: ')
    const contents = await crowd(h, running, 'POST /content HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\n')
    // Fast enough on average for 30 s.
    const stalled = await crowd(h, running, 'POST /content HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n' + 'c'.repeat(16_000))
    const readers = await crowd(h, running, '')
    for (const reader of readers) reader.pause()
    await Promise.all(readers.map(reader => reader.send(get('/endless'))))
    const silent = await crowd(h, running, '')
    const idle = await crowd(h, running, get())
    await Promise.all(idle.map(client => client.response()))

    const ended = { silent: 0, heads: 0, contents: 0, stalled: 0, readers: 0, idle: 0 }
    const count = (clients: RawClient[], name: keyof typeof ended): unknown => clients.map(client => client.closed.then(() => ended[name]++))
    count(silent, 'silent')
    count(idle, 'idle')

    for (let second = 1; second <= 80; second++) {
      for (const client of [...heads, ...contents]) client.stream.write('x')
      await pass(clock, 1000)
      await good.send(get())
      assert.is((await good.response()).text, 'hello')
      await turns(8)
      const { deadlines } = server.stats()
      const now = [ended.silent, over(heads), over(contents), over(stalled), deadlines.send ?? 0, ended.idle]
      // Each in its own second: none before its deadline, all by a second after it.
      const due = [10, 30, 20, 30, 60, 75]
      now.forEach((n, i) => {
        if (second < due[i]!) assert.is(n, 0, `kind ${i} after ${second} s: ${now}`)
        // The kernel may take some more of an answer when it likes.
        if (second > due[i]! + 1 && i !== 4) assert.is(n, EACH, `kind ${i} after ${second} s: ${now}`)
      })
    }
    for (let second = 0; second < 300 && server.stats().deadlines.send !== EACH; second++) await pass(clock, 1000)
    assert.is(server.stats().deadlines.send, EACH)
    for (const client of [...heads, ...contents, ...stalled]) assert.is((await client.response()).status, 408)
    for (const client of silent) assert.is(client.received, 0)
    for (const client of readers) client.resume()
    await Promise.all(readers.map(client => client.reset))
    for (const client of [...heads, ...contents, ...stalled, ...silent, ...idle]) client.destroy()
    await until(() => server.connections === 1, 'only the good client is left')
    assert.is(peerErrors.length, 3 * EACH)
    assert.equal(errors, [])
  })

  test('a full house of slow peers: newcomers wait, and are served when the deadlines have made room', async () => {
    const clock = new FakeClock()
    const running = await h.serve(application, { clock, maxSize: EACH, limits: { maxParked: 10 } })
    const { server } = running
    const heads = await crowd(h, running, 'GET /')
    const waiting: RawClient[] = []
    for (let i = 0; i < 10; i++) waiting.push(h.client(await connectTo(running.port)))
    await until(() => server.stats().waiting === 10, 'ten parked')
    for (const client of waiting) await client.send(get())
    const refused = h.client(await connectTo(running.port))
    await refused.closed
    assert.is(refused.received, 0)
    // Parked ones are given up after the first-byte deadline.
    await pass(clock, 9000)
    assert.is(server.stats().waiting, 10)
    heads[0]!.resetNow()
    assert.is((await waiting[0]!.response()).text, 'hello')
    await pass(clock, 2000)
    await until(() => server.stats().waiting === 0, 'nobody waits any more')
    assert.is(server.stats().refused, 1 + 9)
    // 20 s later the heads' own deadline makes room.
    await pass(clock, 20_000)
    const late = await h.connect()
    await late.send(get())
    assert.is((await late.response()).text, 'hello')
  })
}).run()

onEveryTransport('slow handshakes', (h, test) => {
  if (h.kind.over !== 'tls') return
  test('a hundred that are never finished end by their deadline, and a good one is made meanwhile', async () => {
    // Node's own timer, so the time is real here.
    const running = await h.serve(application, { timeouts: { handshake: 500 } })
    const started = performance.now()
    const peers = await Promise.all(Array.from({ length: EACH }, () => connectTo(running.port)))
    peers.forEach((peer, i) => {
      peer.resume()
      if (i % 2 === 0) peer.write(Buffer.from('1603010200010001fc0303', 'hex'))
    })
    await until(() => running.server.stats().handshakes === EACH, 'all under way')
    const good = await h.connect()
    await good.send(get())
    assert.is((await good.response()).text, 'hello')
    await within(5000, Promise.all(peers.map(closing)), 'the handshakes to be given up')
    const took = performance.now() - started
    assert.ok(took > 480 && took < 2500, `${took} ms`)
    assert.equal([running.server.stats().handshakes, running.server.stats().deadlines], [0, { handshake: EACH }])
  })
}, { tls: true }).run()
