// eventlet wsgi_test.py, TestHttpd: TLS.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Application } from '../../src/server/application.ts'
import { Harness, until } from '../support/harness.ts'
import { closing, connectTo } from '../support/sockets.ts'
import { CLOSE, H, hello } from './support.ts'

const kinds = (['stream', 'handle'] as const).map(transport => ({
  tls: suite(`parity: TLS (${transport})`),
  harness: new Harness({ name: `${transport}, TLS`, transport, over: 'tls' })
}))
let h = kinds[0]!.harness
const test = (name: string, body: () => Promise<void>): void => {
  for (const { tls, harness } of kinds) tls(name, () => (h = harness).run(body))
}

test('test_012_ssl_server', async () => {
  const seen: unknown[] = []
  const wsgiApp: Application = async (environ, startResponse) => {
    seen.push(environ['wsgi.url_scheme'], environ.HTTPS)
    const content = await environ['wsgi.input'].read()
    // No headers at all, given as an object.
    startResponse('200 OK', {})
    return [content]
  }
  const { log } = await h.serve(wsgiApp)
  // Reference L1.
  assert.match(log[0]!, /^\(\d+\) wsgi starting up on https:\/\/127\.0\.0\.1:\d+ \((stream|handle) transport\)$/)
  assert.ok(log[0]!.includes(`(${h.kind.transport} transport)`))
  const client = await h.connect()
  await client.send(`POST /foo HTTP/1.1\r\n${H}${CLOSE}Content-Length: 3\r\n\r\nabc`)
  assert.ok((await client.untilEnd()).toString('latin1').endsWith('\r\n\r\nabc'))
  assert.equal(seen, ['https', 'on'])
})

test('test_013_empty_return', async () => {
  await h.serve((_environ, startResponse) => {
    startResponse('200 OK', [])
    return [new Uint8Array(0)]
  })
  const client = await h.connect()
  await client.send(`GET /foo HTTP/1.1\r\n${H}${CLOSE}\r\n`)
  const answer = (await client.untilEnd()).toString('latin1')
  assert.ok(answer.endsWith('\r\n\r\n'))
  assert.ok(answer.includes('Content-Length: 0\r\n'))
})

test('test_017_ssl_zeroreturnerror', async () => {
  // A single octet, then the end of the session: a TLSSocket ends, and nobody gets an 'error' that nobody expects.
  const { server, errors } = await h.serve(hello)
  const client = await h.connect()
  await client.send('X')
  await client.end()
  await client.closed
  await until(() => server.connections === 0, 'the connection to be gone')
  assert.equal(errors, [])
  // The same in the middle of a content: its end, reported as a content cut short.
  let failure: unknown = null
  const running = await h.serve(async (environ, startResponse) => {
    await environ['wsgi.input'].read().catch((error: unknown) => (failure = error))
    return hello(environ, startResponse)
  })
  const half = await h.connect()
  await half.send(`POST / HTTP/1.1\r\n${H}Content-Length: 3\r\n\r\na`)
  await until(() => running.server.outstandingRequests === 1, 'the request')
  await half.end()
  await until(() => failure !== null, 'the failure')
  assert.is((failure as { code: string }).code, 'ERR_WIRELET_REQUEST_ABORTED')
})

test('test_028_ssl_handshake_errors', async () => {
  const { server, port, errors } = await h.serve(hello)
  const gone = await connectTo(port)
  gone.destroy()
  const plain = await connectTo(port)
  plain.write(`GET / HTTP/1.1\r\n${H}\r\n`)
  await closing(plain)
  plain.destroy()
  // And one that never says a word, in front of the good one.
  const mute = await connectTo(port)
  const client = await h.connect()
  await client.send(`GET / HTTP/1.1\r\n${H}${CLOSE}\r\n`)
  assert.is((await client.response()).text, 'hello world')
  assert.is(server.state, 'listening')
  assert.equal(errors, [])
  mute.destroy()
})

for (const { tls } of kinds) tls.run()
