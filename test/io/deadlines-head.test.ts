// The deadlines before a request is complete (design §5): first byte, head, idle. Never early, within a second of their time, and what then happens.
import * as assert from 'uvu/assert'
import { answering, echoPath, get, onEveryTransport, pass, post, turns, until } from '../support/harness.ts'
import { expires, stuck, timed } from '../support/deadlines.ts'

const hello = answering('hello')

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
