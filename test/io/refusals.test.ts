// What bad input gets (design §6, §7): a clear answer before any application runs, what came before it answered first, and nothing after it interpreted.
import * as assert from 'uvu/assert'
import type { Application } from '../../src/server/application.ts'
import { answering, echoPath, get, onEveryTransport, turns, until } from '../support/harness.ts'

const DATE = /^[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT$/
const hello = answering('Hello, World!\r\n')

const REFUSED: [name: string, bytes: string, status: number, code: string][] = [
  ['an invalid method', 'G@T / HTTP/1.1\r\nHost: a\r\n\r\n', 400, 'HPE_INVALID_METHOD'],
  ['no Host', 'GET / HTTP/1.1\r\n\r\n', 400, 'HPE_MISSING_HOST'],
  ['two Hosts', 'GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n', 400, 'HPE_DUPLICATE_HOST'],
  ['two Content-Lengths', 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx', 400, 'HPE_DUPLICATE_CONTENT_LENGTH'],
  ['CL and TE', 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 400, 'HPE_UNEXPECTED_CONTENT_LENGTH'],
  ['an unknown coding', 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n', 501, 'HPE_UNSUPPORTED_TRANSFER_CODING'],
  ['TE in 1.0', 'POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n', 400, 'HPE_TRANSFER_ENCODING_IN_1_0'],
  ['another expectation', 'POST / HTTP/1.1\r\nHost: a\r\nExpect: pay\r\nContent-Length: 1\r\n\r\nx', 417, 'HPE_EXPECTATION_FAILED'],
  ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 505, 'HPE_INVALID_VERSION'],
  ['CONNECT', 'CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n', 501, 'HPE_CONNECT_REFUSED'],
  ['an obsolete fold', 'GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n', 400, 'HPE_OBSOLETE_FOLD'],
  ['a space before the colon', 'GET / HTTP/1.1\r\nHost: a\r\nA : b\r\n\r\n', 400, 'HPE_UNEXPECTED_SPACE'],
  ['a chunk size that is none', 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\n', 400, 'HPE_INVALID_CHUNK_SIZE']
]

onEveryTransport('what a peer did wrong', (h, test) => {
  for (const [name, bytes, status, code] of REFUSED) {
    test(`${name}: ${status}`, async () => {
      let calls = 0
      const application: Application = (environ, startResponse) => {
        calls++
        return echoPath(environ, startResponse)
      }
      const { peerErrors, access, server } = await h.serve(application)
      const client = await h.connect()
      await client.send(get('/before') + bytes + get('/after'))
      assert.is((await client.response()).text, '/before')
      const answer = await client.response()
      assert.is(answer.status, status)
      assert.equal(answer.headers.map(pair => pair[0]), ['Content-Type', 'Content-Length', 'Date', 'Connection'])
      assert.is(answer.header('content-type'), 'text/plain')
      assert.is(answer.header('connection'), 'close')
      assert.match(answer.header('date'), DATE)
      assert.is((await client.untilEnd()).length, 0)
      assert.is(calls, 1, 'only what came before it reached the application')
      assert.is(peerErrors.length, 1)
      const event = peerErrors[0]!
      assert.is(event.name, code)
      assert.is(event.status, status)
      assert.is(`${event.reason}\r\n`, answer.text)
      assert.is(event.requestLine, bytes.slice(0, bytes.indexOf('\r\n')))
      assert.is(access.length, 2)
      assert.is(access[1], `${event.requestLine} ${status} ${answer.body.length} ${code}: ${event.reason}`)
      client.destroy()
      await until(() => server.connections === 0, 'closed')
    })
  }

  test('of HEAD: no content, wherever the fault is', async () => {
    const { access } = await h.serve(hello)
    const faults = [
      'HEAD / HTTP/1.1\r\n\r\n', '\r\nHEAD / HTTP/1.1\r\nHost: a\r\nA : b\r\n\r\n', 'HEAD / HTTP/1.1\r\nHost: a\r\nExpect: pay\r\n\r\n',
      'HEAD / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\n'
    ]
    for (const bytes of faults) {
      const client = await h.connect()
      await client.send(bytes)
      const answer = await client.response({ method: 'HEAD' })
      assert.is(Math.floor(answer.status / 100), 4)
      assert.is((await client.untilEnd()).length, 0)
    }
    for (const line of access) assert.match(line, /^HEAD \/ HTTP\/1\.1 4[01][07] 0 /)
    assert.is(access.length, faults.length)
    // Found before the method was read, however much of it came along: whose method is not known gets content.
    const client = await h.connect()
    await client.send('\nHEAD / HTTP/1.1\r\n\r\n')
    assert.is((await client.response()).text, 'unexpected bytes before the request line\r\n')
  })

  test('no octet of a request is in its refusal', async () => {
    const { access } = await h.serve(hello)
    const client = await h.connect()
    await client.send('GET /<script>"\x01 HTTP/1.1\r\nHost: a\r\n\r\n')
    const answer = await client.response()
    assert.is(answer.status, 400)
    assert.not.match(answer.raw.toString('latin1'), /script/)
    assert.match(access[0]!, /^GET \/<script>\\"\\x01 HTTP\/1\.1 400 /)
  })

  test('TRACE: 501 without the application, and the connection stays; with content: 400', async () => {
    const { access, peerErrors } = await h.serve(echoPath)
    const client = await h.connect()
    await client.send('TRACE / HTTP/1.1\r\nHost: a\r\n\r\n' + get('/next'))
    assert.is((await client.response()).status, 501)
    assert.is((await client.response()).text, '/next')
    await client.send('TRACE / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx')
    assert.is((await client.response()).status, 400)
    assert.is((await client.untilEnd()).length, 0)
    assert.equal(access.map(line => line.split(' ').slice(0, 4).join(' ')), ['TRACE / HTTP/1.1 501', 'GET /next HTTP/1.1 200', 'TRACE / HTTP/1.1 400'])
    assert.is(peerErrors.length, 1)
  })

  test('an error of the content after the head of the answer left: the connection is cut', async () => {
    const { access, peerErrors } = await h.serve((environ, startResponse) => {
      startResponse(200)
      return (async function* () {
        yield 'begun'
        for await (const piece of environ['wsgi.input']) yield piece
      })()
    }, { minimumChunkSize: 0 })
    const client = await h.connect()
    await client.send('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n')
    await until(() => client.buffered.endsWith('\r\nx\r\n'), 'the first chunk back')
    await client.send('zzz\r\n')
    await client.reset
    assert.is(peerErrors[0]!.name, 'HPE_INVALID_CHUNK_SIZE')
    assert.is(peerErrors[0]!.status, 0, 'no answer could be given')
    assert.equal(access, ['POST / HTTP/1.1 200 6 HPE_INVALID_CHUNK_SIZE: a chunk size is not a hexadecimal number'])
  })

  test('an application that reads invalid chunks gets a ChunkReadError, the peer a 400', async () => {
    let code: unknown
    const { peerErrors } = await h.serve(async (environ, startResponse) => {
      await environ['wsgi.input'].read().catch(error => (code = error.code))
      startResponse(200)
      return ['too late']
    })
    const client = await h.connect()
    await client.send('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n')
    await turns()
    await client.send('1\r\nxy\r\n')
    assert.is((await client.response()).status, 400)
    assert.is((await client.untilEnd()).length, 0)
    assert.is(code, 'ERR_WIRELET_CHUNK_READ')
    assert.is(peerErrors.length, 1)
  })

  test('onPeerError may throw', async () => {
    const { errors } = await h.serve(hello, { onPeerError: () => { throw new Error('mine') } })
    const client = await h.connect()
    await client.send('X\r\n\r\n')
    assert.is((await client.response()).status, 400)
    assert.is((await client.untilEnd()).length, 0)
    assert.is(errors.length, 1)
    assert.match(errors[0]!, /onPeerError failed.*mine/)
  })
}, { memory: true }).run()
