// The deadlines of an answer (design §5): request, handler, sending.
import * as assert from 'uvu/assert'
import type { Server } from '../../src/server/serve.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { deferred, get, inMemory, memoryPair, onEveryTransport, pass, stable, turns, until } from '../support/harness.ts'
import { endless, expires, stuck, timed } from '../support/deadlines.ts'

/** Until the connection is cut. The kernel may still take some of the answer, when it likes: to the second it is told by io/state-table. */
async function cut(clock: FakeClock, server: Server): Promise<void> {
  for (let second = 0; second < 300 && server.connections > 0; second++) await pass(clock, 1000)
  assert.is(server.connections, 0)
}

onEveryTransport('deadlines of an answer', (h, test) => {
  test('request: 408 while the head is unsent', async () => {
    const seen: string[] = []
    const { clock, client } = await timed(h, stuck(seen), { timeouts: { request: 5_000 } })
    await client.send(get())
    await turns()
    await expires(clock, 5_000, () => client.received > 0)
    assert.is((await client.response()).status, 408)
    assert.is((await client.untilEnd()).length, 0)
    assert.equal(seen, ['signal'])
  })

  test('handler: 503 while the head is unsent, whatever the application does later', async () => {
    const gate = deferred()
    const seen: unknown[] = []
    const { clock, client, access, errors } = await timed(h, async (environ, startResponse) => {
      environ['eventlet.posthooks'].push([env => seen.push(env['wirelet.outcome']!.reason)])
      await gate.promise
      seen.push(await startResponse(200)('late'))
      return ['later']
    }, { timeouts: { handler: 5_000 } })
    await client.send(get() + get('/2'))
    await turns()
    await expires(clock, 5_000, () => client.received > 0)
    const answer = await client.response()
    assert.is(answer.status, 503)
    assert.is(answer.header('connection'), 'close')
    assert.is((await client.untilEnd()).length, 0)
    gate.resolve()
    await until(() => seen.length === 2, 'the application goes on')
    assert.match(String(seen[0]), /HPE_HANDLER_TIMEOUT/)
    assert.is(seen[1], false)
    assert.is(access.length, 1)
    assert.equal(errors, [])
  })

  for (const [name, timeouts] of [['request', { request: 5_000 }], ['handler', { handler: 5_000 }]] as const) {
    test(`${name}: once the head is sent, ${name === 'request' ? 'cut' : 'no matter'}`, async () => {
      const gate = deferred()
      const { clock, client, server } = await timed(h, (_environ, startResponse) => {
        startResponse(200)
        return (async function* () {
          yield 'x'.repeat(5000)
          await gate.promise
        })()
      }, { timeouts })
      await client.send(get())
      await until(() => client.received > 5000, 'the first piece')
      await pass(clock, 4_900)
      assert.is(server.connections, 1)
      await pass(clock, 10_000)
      assert.is(server.connections, name === 'request' ? 0 : 1)
      if (name === 'request') await client.reset
      gate.resolve()
    })
  }

  test('send: cut when the kernel has taken nothing for 60 s', async () => {
    let returned = 0
    const { clock, client, server, access } = await timed(h, (_environ, startResponse) => {
      startResponse(200)
      return (function* () {
        try {
          yield* endless()
        } finally {
          returned++
        }
      })()
    }, { timeouts: { minSendRate: 0 } })
    client.pause()
    await client.send(get())
    await turns(30)
    await stable(() => client.stream.readableLength, 200)
    await pass(clock, 59_500)
    assert.is(server.connections, 1)
    await cut(clock, server)
    assert.is(returned, 1)
    assert.match(access[0]!, /^GET \/ HTTP\/1\.1 200 /)
    client.resume()
    await client.reset
  })

  test('send: progress begins it anew', async () => {
    let pulled = 0
    const { clock, client, server } = await timed(h, (_environ, startResponse) => {
      startResponse(200)
      return (function* () { for (const piece of endless()) yield (pulled++, piece) })()
    }, { timeouts: { minSendRate: 0 } })
    client.pause()
    await client.send(get())
    await until(() => pulled > 0, 'the first piece')
    for (let i = 0; i < 3; i++) {
      await stable(() => pulled, 200)
      await pass(clock, 50_000)
      assert.is(server.connections, 1)
      const target = client.received + (8 << 20)
      client.resume()
      await until(() => client.received > target, 'eight more MiB')
      client.pause()
    }
    await cut(clock, server)
  })

  test('minSendRate: a reader that is too slow on average after 20 s', async () => {
    let pulled = 0
    const { clock, client, server } = await timed(h, (_environ, startResponse) => {
      startResponse(200)
      return (function* () { for (const piece of endless()) yield (pulled++, piece) })()
    }, { timeouts: { minSendRate: 16 << 20 } })
    client.pause()
    await client.send(get())
    await until(() => pulled > 0, 'the first piece')
    await stable(() => pulled)
    for (let i = 0; i < 19; i++) {
      const target = client.received + (1 << 19)
      client.resume()
      await until(() => client.received > target, 'half a MiB more')
      client.pause()
      // The kernel fills up again: something is pending at every tick.
      await stable(() => pulled, 10)
      await pass(clock, 1000)
      assert.is(server.connections, 1, `after ${i} s`)
    }
    await pass(clock, 3000)
    assert.is(server.connections, 0)
  })

  test('send: an answer with Connection: close that the peer does not take is cut too', async () => {
    const { clock, client, server } = await timed(h, (_environ, startResponse) => {
      startResponse(200, { Connection: 'close' })
      return [Buffer.alloc(64 << 20)]
    }, { timeouts: { minSendRate: 0 } })
    client.pause()
    await client.send(get())
    await turns(20)
    await stable(() => client.stream.readableLength)
    await pass(clock, 58_000)
    assert.is(server.connections, 1)
    await cut(clock, server)
  })

  test('a late tick costs no download', async () => {
    const { clock, client, server } = await timed(h, (_environ, startResponse) => {
      startResponse(200)
      return endless()
    })
    client.pause()
    await client.send(get())
    await stable(() => client.stream.readableLength)
    for (let i = 0; i < 10; i++) {
      clock.jump(100_000)
      await turns()
    }
    assert.is(server.connections, 1)
  })

  test('HEAD: a 408 or 503 has no content', async () => {
    const { clock, client } = await timed(h, stuck([]), { timeouts: { handler: 5_000 } })
    await client.send('HEAD / HTTP/1.1\r\nHost: a\r\n\r\n')
    await turns()
    await pass(clock, 7_000)
    assert.is((await client.response({ method: 'HEAD' })).status, 503)
    assert.is((await client.untilEnd()).length, 0)
  })

  test('an answer that waits for its application is not sent too slowly', async () => {
    const gate = deferred()
    const { clock, client } = await timed(h, (_environ, startResponse) => {
      startResponse(200)
      return (async function* () {
        yield 'x'
        await gate.promise
        yield 'y'
      })()
    })
    await client.send(get())
    await until(() => client.buffered.endsWith('x\r\n'), 'the first piece')
    await pass(clock, 500_000, 500)
    gate.resolve()
    assert.is((await client.response()).text, 'xy')
  })
}).run()

inMemory('a reader of 16 KiB a second', (h, test) => {
  for (const [rate, alive] of [[10_000, true], [20_000, false]] as const) {
    test(`minSendRate ${rate}: ${alive ? 'served' : 'cut'}`, async () => {
      const clock = new FakeClock()
      const { server } = await h.serve((_environ, startResponse) => {
        startResponse(200, [['Content-Length', 64 << 20]])
        return endless()
      }, { clock, timeouts: { minSendRate: rate } })
      const [near, far] = memoryPair(1024)
      server.handle(far)
      near.write(get())
      await turns()
      for (let i = 0; i < 40; i++) {
        near.read(16384)
        await turns(2)
        await pass(clock, 1000)
        if (!alive && i > 22) break
        if (i < 19) assert.is(server.connections, 1, `after ${i} s`)
      }
      assert.is(server.connections, alive ? 1 : 0)
      near.destroy()
    })
  }
}).run()
