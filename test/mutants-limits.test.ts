// Bounds that no other test meets at their very octet; each of these survived as a planted fault (mutants/faults.mjs) before.
import * as assert from 'uvu/assert'
import { FakeClock } from './support/fake-clock.ts'
import { answering, get, onEveryTransport, turns, until } from './support/harness.ts'

onEveryTransport('mutants/limits', (h, test) => {
  const LIMITS = { limits: { maxDrain: 1000 } }
  const upload = 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n'

  test('content that nobody reads: maxDrain octets of it keep the connection', async () => {
    await h.serve(answering('ok'), LIMITS)
    const client = await h.connect()
    await client.send(upload)
    await client.response()
    await client.send(`3e8\r\n${'x'.repeat(1000)}\r\n`)
    await turns()
    await client.send(`0\r\n\r\n${get()}`)
    assert.is((await client.response()).text, 'ok')
  })

  test('content that nobody reads: one octet more closes it', async () => {
    await h.serve(answering('ok'), LIMITS)
    const client = await h.connect()
    await client.send(upload)
    await client.response()
    await client.send(`3e9\r\n${'x'.repeat(1001)}\r\n`)
    await turns()
    await client.send(`0\r\n\r\n${get()}`).catch(() => {})
    assert.is((await client.untilEnd()).length, 0)
  })

  test('content that nobody reads, announced larger than maxDrain: the answer says that the connection closes', async () => {
    await h.serve(answering('ok'), LIMITS)
    for (const [size, connection] of [[1000, ''], [1001, 'close']] as const) {
      const client = await h.connect()
      await client.send(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\n`)
      assert.is((await client.response()).header('connection'), connection)
    }
  })

  test('lingering: what is discarded counts over all reads', async () => {
    // On a clock that stands still: the linger deadline would close it too.
    const { server } = await h.serve(answering('ok'), { ...LIMITS, clock: new FakeClock() })
    const client = await h.connect()
    await client.send('BAD\r\n\r\n')
    await client.response()
    await client.untilEnd()
    for (let i = 0; i < 3; i++) {
      await client.send('x'.repeat(300))
      await turns()
    }
    assert.is(server.connections, 1)
    await client.send('x'.repeat(200))
    await until(() => server.connections === 0, 'closed')
  })
}).run()
