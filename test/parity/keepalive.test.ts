// eventlet wsgi_test.py, TestHttpd: connections that stay, connections that close, and their deadlines on a clock of the test's own.
import * as assert from 'uvu/assert'
import type { Application } from '../../src/server/application.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { onEveryTransport, pass, turns } from '../support/harness.ts'
import { CHUNKED, CLOSE, H, KEEP_ALIVE, chunkedApp, chunkedPost, hello } from './support.ts'

onEveryTransport('parity: keep-alive', (h, test) => {
  test('test_018_http_10_keepalive', async () => {
    await h.serve(hello)
    const client = await h.connect()
    for (let i = 0; i < 2; i++) {
      await client.send(`GET / HTTP/1.0\r\n${H}${KEEP_ALIVE}\r\n`)
      const answer = await client.response()
      assert.is(answer.header('connection'), 'keep-alive')
      assert.is(answer.text, 'hello world')
    }
  })

  test('test_018b_http_10_keepalive_framing', async () => {
    // The bodies look like requests: whoever gets the framing wrong answers them.
    const site: Application = (environ, startResponse) => {
      startResponse('200 OK', [])
      return [{ '/1': 'first response', '/2': 'second response', '/3': 'third response' }[environ.PATH_INFO] ?? 'smuggled']
    }
    const { access } = await h.serve(site)
    const body = `GET /smuggled HTTP/1.0\r\n${H}\r\n`
    const put = (path: string, fields: string): string =>
      `PUT ${path} HTTP/1.0\r\n${H}${fields}Content-Length: ${body.length}\r\n\r\n${body}`
    const client = await h.connect()
    await client.send(put('/1', KEEP_ALIVE))
    const first = await client.response()
    assert.is(first.text, 'first response')
    assert.is(first.header('connection'), 'keep-alive')
    await client.send(put('/2', `${KEEP_ALIVE}Expect: 100-continue\r\n`))
    const second = await client.response()
    assert.is(second.text, 'second response')
    // In HTTP/1.0 Expect says nothing (RFC 9110 §10.1.1: a server MUST ignore it), so here the framing is known and the connection may stay.
    assert.is(second.header('connection'), 'keep-alive')
    await client.send(put('/3', CLOSE))
    const third = await client.response()
    assert.is(third.text, 'third response')
    assert.is(third.header('connection'), 'close')
    assert.is(await client.closed, 'end')
    // The original's own case, in the version that has Expect.
    const other = await h.connect()
    await other.send(`PUT /2 HTTP/1.1\r\n${H}Expect: 100-continue\r\nContent-Length: ${body.length}\r\n\r\n${body}`)
    const unread = await other.response()
    assert.is(unread.text, 'second response')
    assert.is(unread.header('connection'), 'close')
    await other.send(put('/3', CLOSE)).catch(() => {})
    assert.is((await other.untilEnd()).length, 0)
    assert.equal(access.map(line => line.split(' ')[1]), ['/1', '/2', '/3', '/2'])
  })

  test('test_close_chunked_with_1_0_client', async () => {
    await h.serve(chunkedApp)
    const client = await h.connect()
    await client.send(`GET / HTTP/1.0\r\n${H}${KEEP_ALIVE}\r\n`)
    const answer = await client.response()
    assert.is(answer.header('connection'), 'close')
    assert.is(answer.framing, 'close')
    assert.is(answer.text, 'thisischunked')
  })

  test('test_026_http_10_nokeepalive', async () => {
    await h.serve(hello, { keepalive: false })
    const client = await h.connect()
    await client.send(`GET / HTTP/1.0\r\n${H}${KEEP_ALIVE}\r\n`)
    assert.is((await client.response()).header('connection'), 'close')
    assert.is(await client.closed, 'end')
  })

  test('test_026b_http_10_zero_keepalive', async () => {
    await h.serve(hello, { keepalive: 0 })
    const client = await h.connect()
    await client.send(`GET / HTTP/1.0\r\n${H}${KEEP_ALIVE}\r\n`)
    assert.is((await client.response()).header('connection'), 'close')
    assert.is(await client.closed, 'end')
  })

  test('test_027_keepalive_chunked', async () => {
    await h.serve(chunkedPost)
    const client = await h.connect()
    for (const path of ['/a', '/b', '/c', '/a']) {
      await client.send(`PUT ${path} HTTP/1.1\r\n${H}${CHUNKED}\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n`)
      assert.is((await client.response()).text, '0123456789abcdef')
    }
  })

  test('test_server_keepalive_sent_in_headers', async () => {
    await h.serve(hello, { keepalive: 2500 })
    const client = await h.connect()
    await client.send(`GET / HTTP/1.1\r\n${H}${KEEP_ALIVE}\r\n`)
    const answer = await client.response()
    assert.is(answer.header('connection'), 'keep-alive')
    assert.is(answer.header('keep-alive'), 'timeout=2')
  })

  test('test_server_keepalive_as_timeout', async () => {
    const clock = new FakeClock()
    const methods: string[] = []
    const noting: Application = (environ, startResponse) => {
      methods.push(environ.REQUEST_METHOD)
      return hello(environ, startResponse)
    }
    await h.serve(noting, { clock, socketTimeout: 10_000, keepalive: 1_000 })
    const client = await h.connect()
    await client.send('GET / HTTP/1.1\r\n')
    await pass(clock, 2_000)
    // The idle limit does not count inside a head.
    await client.send(`${H}\r\n`)
    const answer = await client.response()
    assert.is(answer.status, 200)
    assert.not(answer.has('keep-alive'))
    await pass(clock, 2_000)
    await client.send(`PUT / HTTP/1.1\r\n${H}Content-Length: 0\r\n\r\n`).catch(() => {})
    await client.closed
    assert.is(client.buffered, '')
    assert.equal(methods, ['GET'])
  })

  test('test_server_socket_timeout', async () => {
    const clock = new FakeClock()
    const { access } = await h.serve(hello, { clock, socketTimeout: 1_000 })
    const client = await h.connect()
    await client.send('GET / HTTP/1.1\r\n')
    await turns()
    await pass(clock, 2_500)
    // The original closes without a word; here the peer is told (RFC 9110 §15.5.9).
    assert.is((await client.response()).status, 408)
    assert.is(await client.closed, 'end')
    assert.equal(access, ['GET / HTTP/1.1 408 34 HPE_HEAD_TIMEOUT: the header section took too long'])
    const silent = await h.connect()
    await pass(clock, 2_500)
    assert.is((await silent.untilEnd()).length, 0)
  })

  test('test_server_connection_timeout_exception', async () => {
    for (const debug of [true, false]) {
      const clock = new FakeClock()
      const lines: string[] = []
      const log = { write: (text: string): unknown => lines.push(...text.split('\n').slice(0, -1)) }
      const { server } = await h.serve(hello, { clock, log, debug, keepalive: 1_000 })
      const client = await h.connect()
      await client.send(`GET / HTTP/1.1\r\n${H}\r\n`)
      await client.response()
      await pass(clock, 2_500)
      await client.closed
      await server.close({ timeout: 0 })
      const told = lines.filter(line => line.includes('timed out'))
      assert.is(told.length, debug ? 1 : 0, `with debug ${debug}: ${lines.join(' | ')}`)
      if (debug) assert.match(told[0]!, /^\(\d+\) timed out 127\.0\.0\.1:\d+ \(\w+\)$/)
      assert.not(lines.some(line => line.includes('    at ')))
    }
  })
}).run()
