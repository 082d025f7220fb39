// The deadlines of content (design §5): no progress, too low a rate; and whose fault it is not.
import * as assert from 'uvu/assert'
import type { ServeOptions } from '../../src/server/options.ts'
import { answering, deferred, onEveryTransport, pass, turns, until } from '../support/harness.ts'
import { expires, stuck, timed } from '../support/deadlines.ts'

const hello = answering('hello')

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

  test('but it is once the answer has begun: no 100 can come any more', async () => {
    const { clock, client, server } = await timed(h, async (environ, startResponse) => {
      await startResponse(200)('begun')
      await environ['wsgi.input'].read()
      return ['']
    }, ANY_RATE)
    await client.send('POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n')
    await until(() => client.received > 0, 'the head of the answer')
    await expires(clock, 30_000, () => server.connections === 0)
    await client.reset
  })

  test('nor while its answer goes on and nobody waits for the content: it need not send any', async () => {
    const gate = deferred()
    const { clock, client, server } = await timed(h, (_environ, startResponse) => {
      startResponse(200)
      return (async function* () {
        yield 'begun'
        await gate.promise
        yield 'end'
      })()
    }, ANY_RATE)
    await client.send('POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n')
    await until(() => client.received > 0, 'the head of the answer')
    await pass(clock, 100_000)
    assert.is(server.connections, 1)
    gate.resolve()
    assert.is((await client.response()).text, 'begunend')
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
