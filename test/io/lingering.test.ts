// Closing so that the peer can read the answer (RFC 9112 §9.6), and what becomes of content that nobody read.
import * as assert from 'uvu/assert'
import { FakeClock } from '../support/fake-clock.ts'
import { answering, get, onEveryTransport, pass, turns, until } from '../support/harness.ts'

const MiB = 1 << 20

function upload(size: number, fields = ''): string {
  return `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n${fields}\r\n`
}

onEveryTransport('lingering', (h, test) => {
  for (const [name, start] of [['a refused head', 'POST / HTTP/1.1\r\nContent-Length: 900000\r\n\r\n'], ['a refused length', upload(900_000)], ['a refused target', `GET /${'x'.repeat(9000)}`]] as const) {
    test(`${name}: readable by a client that goes on sending, and a clean end`, async () => {
      await h.serve(answering('x'), { limits: { maxBodySize: 1000 } })
      const client = await h.connect()
      await client.send(start)
      for (let i = 0; i < 14; i++) await client.send(Buffer.alloc(65536, 'x'))
      const answer = await client.response()
      assert.ok(answer.status >= 400)
      assert.is((await client.untilEnd()).length, 0)
      await client.end()
    })
  }

  test('the server half-closes and closes when the peer does', async () => {
    const { server } = await h.serve(answering('x'))
    const client = await h.connect()
    await client.send('BAD\r\n\r\n')
    await client.response()
    await client.untilEnd()
    await turns()
    assert.is(server.connections, 1, 'still there for what the peer sends')
    await client.end()
    await until(() => server.connections === 0, 'closed')
  })

  test('beyond maxDrain of input the connection is closed at once', async () => {
    const { server } = await h.serve(answering('x'), { limits: { maxDrain: 1000 } })
    const client = await h.connect()
    await client.send('BAD\r\n\r\n')
    await client.response()
    await client.untilEnd()
    await client.send(Buffer.alloc(500))
    await turns()
    assert.is(server.connections, 1)
    await client.send(Buffer.alloc(2000))
    await until(() => server.connections === 0, 'closed')
  })

  test('nothing after an error is interpreted, whole requests included', async () => {
    const { access } = await h.serve(answering('x'))
    const client = await h.connect()
    await client.send('BAD\r\n\r\n' + get())
    await turns()
    await client.send(get().repeat(10))
    assert.is((await client.response()).status, 400)
    assert.is((await client.untilEnd()).length, 0)
    assert.is(access.length, 1)
  })

  test('timeouts.linger ends it', async () => {
    const clock = new FakeClock()
    const { server } = await h.serve(answering('x'), { clock, timeouts: { linger: 2000 } })
    const client = await h.connect()
    await client.send('BAD\r\n\r\n')
    await client.response()
    await client.untilEnd()
    await pass(clock, 2000)
    assert.is(server.connections, 1)
    await pass(clock, 1000)
    assert.is(server.connections, 0)
  })

  test('a connection that is idle and ended by its peer leaves no lingering one', async () => {
    const { server } = await h.serve(answering('x'))
    const client = await h.connect()
    await client.send(get('/', 'Connection: close\r\n'))
    await client.response()
    await client.end()
    await until(() => server.connections === 0, 'closed')
  })
}).run()

onEveryTransport('unread content', (h, test) => {
  for (const size of [1, 1000, 200_000]) {
    test(`${size} octets, within maxDrain: drained, and the connection goes on`, async () => {
      const { access } = await h.serve(answering('x'))
      const client = await h.connect()
      await client.send(upload(size))
      assert.is((await client.response()).has('connection'), false)
      await client.send(Buffer.alloc(size))
      await client.send(get('/2'))
      await client.response()
      assert.equal(access.map(line => line.split(' ')[1]), ['/', '/2'])
    })
  }

  test('maxDrain exactly, and one more', async () => {
    await h.serve(answering('x'), { limits: { maxDrain: 1000 } })
    const kept = await h.connect()
    await kept.send(upload(1000))
    assert.is((await kept.response()).has('connection'), false)
    await kept.send(Buffer.alloc(1000))
    await kept.send(get())
    await kept.response()
    const closed = await h.connect()
    await closed.send(upload(1001))
    assert.is((await closed.response()).header('connection'), 'close')
    assert.is((await closed.untilEnd()).length, 0)
  })

  test('what has arrived counts: only the rest has to be drained', async () => {
    await h.serve(answering('x'), { limits: { maxDrain: 1000 } })
    const client = await h.connect()
    await client.send(upload(1500) + 'x'.repeat(600))
    assert.is((await client.response()).has('connection'), false)
    await client.send(Buffer.alloc(900))
    await client.send(get())
    await client.response()
  })

  test('chunked beyond maxDrain: closed in order once it is known', async () => {
    await h.serve(answering('x'), { limits: { maxDrain: 1000 } })
    const client = await h.connect()
    await client.send('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n')
    assert.is((await client.response()).has('connection'), false)
    await client.send(`3e8\r\n${'x'.repeat(1000)}\r\n`)
    await turns()
    assert.is(client.stream.readableEnded, false)
    await client.send('1\r\nx\r\n')
    assert.is((await client.untilEnd()).length, 0)
  })

  test('invalid chunks in what is drained: the answer stands, the connection ends', async () => {
    const { access, peerErrors } = await h.serve(answering('x'))
    const client = await h.connect()
    await client.send('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n')
    await client.response()
    await client.send('oops\r\n' + get())
    assert.is((await client.untilEnd()).length, 0)
    await client.end()
    await until(() => access.length === 1, 'one line')
    assert.match(access[0]!, /^POST \/ HTTP\/1\.1 200 1/)
    assert.is(peerErrors.length, 1)
  })

  test('the peer ends inside what is drained', async () => {
    const { access, server } = await h.serve(answering('x'))
    const client = await h.connect()
    await client.send(upload(1000) + 'x')
    await client.response()
    await client.end()
    assert.is((await client.untilEnd()).length, 0)
    await until(() => server.connections === 0, 'closed')
    assert.is(access.length, 1)
  })

  test('an application that keeps its input and reads after its answer is told', async () => {
    let kept!: Promise<unknown>
    await h.serve((environ, startResponse) => {
      startResponse(200)
      kept = environ['wsgi.input'].read().catch(error => error.code)
      return ['x']
    })
    const client = await h.connect()
    await client.send(upload(10) + 'x')
    await client.response()
    assert.is(await kept, 'ERR_WIRELET_REQUEST_ABORTED')
    await client.send('x'.repeat(9) + get())
    await client.response()
  })

  test('half a MiB already on its way and never read', async () => {
    await h.serve(answering('x'))
    const client = await h.connect()
    const sent = client.send(Buffer.concat([Buffer.from(upload(MiB / 2)), Buffer.alloc(MiB / 2), Buffer.from(get('/2'))]))
    assert.equal((await client.responses(2)).map(answer => answer.status), [200, 200])
    await sent
  })
}).run()
