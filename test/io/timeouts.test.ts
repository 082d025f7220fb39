// Every deadline of design §5, with the test's own clock: never early, within a second of its time, and what then happens.
import * as assert from 'uvu/assert'
import type { Application } from '../../src/server/application.ts'
import type { ServeOptions } from '../../src/server/options.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { type Harness, type Running, answering, deferred, echoPath, get, inMemory, memoryPair, onEveryTransport, pass, post, stable, turns, until } from '../support/harness.ts'
import type { RawClient } from '../support/raw-client.ts'

interface Timed extends Running {
  clock: FakeClock
  client: RawClient
}

async function timed(h: Harness, application: Application, options: ServeOptions = {}): Promise<Timed> {
  const clock = new FakeClock()
  const running = await h.serve(application, { clock, ...options })
  return { ...running, clock, client: await h.connect(running) }
}

/** `happened` becomes true after `ms`: not before, and within one second. */
async function expires(clock: FakeClock, ms: number, happened: () => boolean): Promise<void> {
  await pass(clock, ms - 1)
  assert.is(happened(), false, `before ${ms} ms`)
  await pass(clock, 1001)
  await turns()
  assert.is(happened(), true, `within a second of ${ms} ms`)
}

/** An application that never answers; what befell its signal and its input. */
function stuck(seen: string[], read = false): Application {
  return (environ) => {
    environ['wirelet.signal'].addEventListener('abort', () => seen.push('signal'))
    if (read) environ['wsgi.input'].read().catch(error => seen.push(error.code))
    return new Promise(() => {})
  }
}

const hello = answering('hello')
/** 64 MiB in pieces of 64 KiB: more than any kernel buffers. */
function* endless(): Generator<Buffer> {
  const piece = Buffer.alloc(65536, 'x')
  for (let i = 0; i < 1024; i++) yield piece
}

onEveryTransport('deadlines of a head', (h, test) => {
  test('firstByte: closed silently after 10 s', async () => {
    const { clock, client, server, access, peerErrors } = await timed(h, hello)
    await expires(clock, 10_000, () => server.connections === 0)
    assert.is((await client.untilEnd()).length, 0)
    assert.equal([access, peerErrors], [[], []])
    assert.is(clock.pending(), 0, 'no timer without a connection')
  })

  test('firstByte does not run once a byte is there, and head begins with it', async () => {
    const { clock, client, server } = await timed(h, hello)
    await pass(clock, 9_000)
    await client.send('\r')
    await turns()
    await expires(clock, 30_000, () => client.received > 0)
    assert.is((await client.response()).status, 408)
    await client.end()
    await until(() => server.connections === 0, 'closed')
  })

  test('head: 408, lingering, a line in the log', async () => {
    const { clock, client, access, peerErrors } = await timed(h, hello)
    await client.send('GET /slow HTTP/1.1\r\nHos')
    await turns()
    await expires(clock, 30_000, () => client.received > 0)
    const answer = await client.response()
    assert.is(answer.status, 408)
    assert.is(answer.header('connection'), 'close')
    assert.is((await client.untilEnd()).length, 0)
    assert.is(peerErrors[0]!.name, 'HPE_HEAD_TIMEOUT')
    assert.is(access.length, 1)
    assert.match(access[0]!, /^GET \/slow HTTP\/1\.1 408 /)
  })

  for (const bytes of [get('/', `A: ${'b'.repeat(100)}\r\n`), '\r\n\r\n' + get('/', `A: ${'b'.repeat(100)}\r\n`)]) {
    test(`head: an octet every second does not help (${JSON.stringify(bytes.slice(0, 4))}…)`, async () => {
      const { clock, client } = await timed(h, hello)
      let sent = 0
      for (; sent < 29; sent++) {
        await client.send(bytes[sent]!)
        await pass(clock, 1000)
        assert.is(client.received, 0, `after ${sent} s`)
      }
      await client.send(bytes[sent]!)
      await pass(clock, 2000)
      assert.is((await client.response()).status, 408)
    })
  }

  test('head: again for the second request of a connection, from its own first byte', async () => {
    const { clock, client } = await timed(h, hello)
    await client.send(get())
    await client.response()
    await pass(clock, 50_000)
    await client.send('G')
    await turns()
    const before = client.received
    await expires(clock, 30_000, () => client.received > before)
    assert.is((await client.response()).status, 408)
  })

  for (const [option, ms] of [[undefined, 75_000], [true, 75_000], [3_000, 3_000]] as const) {
    test(`keepalive ${option}: an idle connection is closed silently after ${ms} ms`, async () => {
      const { clock, client, server, access } = await timed(h, hello, option === undefined ? {} : { keepalive: option })
      await client.send(get())
      await client.response()
      await expires(clock, ms, () => server.connections === 0)
      assert.is((await client.untilEnd()).length, 0)
      assert.is(access.length, 1)
    })
  }

  test('keepalive: begins anew after each answer', async () => {
    const { clock, client, server } = await timed(h, hello, { keepalive: 5_000 })
    for (let i = 0; i < 4; i++) {
      await client.send(get())
      await client.response()
      await pass(clock, 4_500)
    }
    assert.is(server.connections, 1)
    await pass(clock, 1_500)
    assert.is(server.connections, 0)
  })

  test('socketTimeout is the default of every no-progress deadline', async () => {
    const { clock, client, server } = await timed(h, hello, { socketTimeout: 2_000 })
    await expires(clock, 2_000, () => server.connections === 0)
    await client.untilEnd()
    const slow = await h.connect()
    await slow.send('G')
    await turns()
    await expires(clock, 2_000, () => slow.received > 0)
    assert.is((await slow.response()).status, 408)
    const upload = await h.connect()
    await upload.send(post('/', 'xx').slice(0, -1))
    assert.is((await upload.response()).status, 200, 'answered without reading')
  })

  test('parked connections wait for at most the first-byte deadline', async () => {
    const seen: string[] = []
    const { clock, client } = await timed(h, stuck(seen), { maxSize: 1 })
    await client.send(get())
    await turns()
    const parked = await h.connect()
    let gone = false
    void parked.closed.then(() => (gone = true))
    await expires(clock, 10_000, () => gone)
    assert.equal(seen, [])
  })

  test('a late tick expires nobody', async () => {
    const { clock, client: fresh, server } = await timed(h, echoPath)
    const idle = await h.connect()
    await idle.send(get('/1'))
    await idle.response()
    const reading = await h.connect()
    await reading.send('GET /2 HTTP/1.1\r\n')
    await turns()
    await pass(clock, 9_000)
    clock.jump(1_000_000)
    await turns()
    assert.is(server.connections, 3)
    await reading.send('Host: a\r\n\r\n')
    await fresh.send(get('/3'))
    await idle.send(get('/4'))
    assert.equal([(await reading.response()).text, (await fresh.response()).text, (await idle.response()).text], ['/2', '/3', '/4'])
  })

  test('several late ticks in a row expire nobody, and the deadline goes on afterwards', async () => {
    const { clock, server } = await timed(h, hello)
    for (let i = 0; i < 20; i++) {
      clock.jump(5_000)
      await turns(2)
    }
    assert.is(server.connections, 1)
    await pass(clock, 11_000)
    assert.is(server.connections, 0)
  })
}).run()

onEveryTransport('deadlines of content', (h, test) => {
  const HEAD = 'POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n'
  /** The average rate would end a stalled upload before `body` does. */
  const ANY_RATE: ServeOptions = { timeouts: { minBodyRate: 0 } }

  test('body, no progress for 30 s: 408, read() rejects, the signal fires', async () => {
    const seen: string[] = []
    const { clock, client, peerErrors, access } = await timed(h, stuck(seen, true), ANY_RATE)
    await client.send(HEAD + 'some')
    await turns()
    await expires(clock, 30_000, () => client.received > 0)
    const answer = await client.response()
    assert.is(answer.status, 408)
    assert.is(answer.text, 'the content took too long\r\n')
    assert.is((await client.untilEnd()).length, 0)
    assert.equal(seen.sort(), ['ERR_WIRELET_REQUEST_ABORTED', 'signal'])
    assert.is(peerErrors[0]!.name, 'HPE_BODY_TIMEOUT')
    assert.match(access[0]!, /^POST \/up HTTP\/1\.1 408 /)
  })

  test('body: progress begins it anew', async () => {
    const { clock, client } = await timed(h, stuck([], true), ANY_RATE)
    await client.send(HEAD)
    for (let i = 0; i < 5; i++) {
      await client.send('x')
      await pass(clock, 29_000)
      assert.is(client.received, 0)
    }
    await pass(clock, 2_500)
    assert.is((await client.response()).status, 408)
  })

  test('body: once the head of the answer is sent, the connection is cut', async () => {
    const { clock, client, server } = await timed(h, (environ, startResponse) => {
      startResponse(200)
      return (async function* () {
        yield 'x'.repeat(5000)
        await environ['wsgi.input'].read()
      })()
    }, ANY_RATE)
    await client.send(HEAD)
    await until(() => client.received > 5000, 'the first piece')
    await expires(clock, 30_000, () => server.connections === 0)
    await client.reset
  })

  test('minBodyRate: below 500 B/s on average after 20 s', async () => {
    const { clock, client, peerErrors } = await timed(h, stuck([], true))
    await client.send(HEAD)
    for (let i = 0; i < 20; i++) {
      assert.is(client.received, 0, `after ${i} s`)
      await client.send('x'.repeat(400))
      await pass(clock, 1000)
    }
    await pass(clock, 1500)
    assert.is((await client.response()).status, 408)
    assert.is(peerErrors[0]!.name, 'HPE_BODY_TIMEOUT')
  })

  test('minBodyRate: above it all is well', async () => {
    const { clock, client } = await timed(h, stuck([], true))
    await client.send(HEAD)
    for (let i = 0; i < 60; i++) {
      await client.send('x'.repeat(600))
      await pass(clock, 1000)
    }
    assert.is(client.received, 0)
  })

  test('what the application does not read is not the fault of the peer', async () => {
    const gate = deferred()
    const { clock, client, server } = await timed(h, async (environ, startResponse) => {
      await gate.promise
      const content = await environ['wsgi.input'].read()
      startResponse(200)
      return [String(content.length)]
    })
    const sent = client.send(HEAD + 'x'.repeat(1_000_000))
    await turns(20)
    await pass(clock, 200_000, 500)
    assert.is(server.connections, 1)
    gate.resolve()
    await sent
    assert.is((await client.response()).text, '1000000')
  })

  test('nor is content that it has not been asked for (100-continue)', async () => {
    const gate = deferred()
    const { clock, client } = await timed(h, async (environ, startResponse) => {
      await gate.promise
      await environ['wsgi.input'].read()
      startResponse(200)
      return ['']
    }, ANY_RATE)
    await client.send('POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n')
    await turns()
    await pass(clock, 100_000)
    assert.is(client.received, 0)
    gate.resolve()
    await client.interim()
    const before = client.received
    await expires(clock, 30_000, () => client.received > before)
    assert.is((await client.response()).status, 408)
  })

  test('content that is drained after the answer has the same deadline', async () => {
    const { clock, client, server } = await timed(h, hello, ANY_RATE)
    await client.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nx')
    assert.is((await client.response()).has('connection'), false)
    await pass(clock, 29_000)
    assert.is(client.stream.readableEnded, false)
    await pass(clock, 3_000)
    assert.is((await client.untilEnd()).length, 0)
    await client.end()
    await until(() => server.connections === 0, 'closed')
  })

  test('minBodyRate: a stalled upload is too slow on average before it has stalled for 30 s', async () => {
    const { clock, client } = await timed(h, stuck([], true))
    await client.send(HEAD)
    await turns()
    await expires(clock, 20_000, () => client.received > 0)
    assert.is((await client.response()).status, 408)
  })

  test('a late tick costs no upload', async () => {
    const { clock, client } = await timed(h, stuck([], true), ANY_RATE)
    await client.send(HEAD)
    await turns()
    await pass(clock, 29_000)
    clock.jump(100_000)
    await turns()
    assert.is(client.received, 0)
  })
}).run()

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
    await stable(() => client.stream.readableLength)
    await pass(clock, 500)
    await expires(clock, 59_500, () => server.connections === 0)
    assert.is(returned, 1)
    assert.match(access[0]!, /^GET \/ HTTP\/1\.1 200 /)
    client.resume()
    await client.reset
  })

  test('send: progress begins it anew', async () => {
    const { clock, client, server } = await timed(h, (_environ, startResponse) => {
      startResponse(200)
      return endless()
    }, { timeouts: { minSendRate: 0 } })
    client.pause()
    await client.send(get())
    await stable(() => client.stream.readableLength)
    for (let i = 0; i < 3; i++) {
      await pass(clock, 50_000)
      assert.is(server.connections, 1)
      const target = client.received + (8 << 20)
      client.resume()
      await until(() => client.received > target, 'eight more MiB')
      client.pause()
      await stable(() => client.received)
    }
    await pass(clock, 62_000)
    assert.is(server.connections, 0)
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
