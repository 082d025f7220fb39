// One connection's life on the wire (design §3): what is kept, what is closed, and how what a peer did wrong is answered.
import * as assert from 'uvu/assert'
import type { Application } from '../../src/server/application.ts'
import { answering, deferred, echoPath, get, onEveryTransport, post, turns, until } from '../support/harness.ts'

const DATE = /^[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT$/
const hello = answering('Hello, World!\r\n')

onEveryTransport('connection', (h, test) => {
  test('the first answer, byte by byte in its order', async () => {
    await h.serve(hello)
    const client = await h.connect()
    await client.send(get())
    const answer = await client.response()
    assert.is(answer.version, 'HTTP/1.1')
    assert.is(answer.status, 200)
    assert.is(answer.reason, 'OK')
    assert.equal(answer.headers.map(pair => pair[0]), ['Content-Type', 'Content-Length', 'Date'])
    assert.is(answer.header('content-length'), '15')
    assert.match(answer.header('date'), DATE)
    assert.is(answer.text, 'Hello, World!\r\n')
    assert.is(client.buffered, '')
  })

  test('a connection serves request after request', async () => {
    const { server, access } = await h.serve(echoPath)
    const client = await h.connect()
    for (const path of ['/1', '/2', '/3']) {
      await client.send(get(path))
      assert.is((await client.response()).text, path)
    }
    assert.is(server.connections, 1)
    assert.equal(access, ['GET /1 HTTP/1.1 200 2 -', 'GET /2 HTTP/1.1 200 2 -', 'GET /3 HTTP/1.1 200 2 -'])
  })

  test('a head cut at every place', async () => {
    await h.serve(echoPath)
    const client = await h.connect()
    const request = get('/x', 'A: b\r\n')
    for (let cut = 1; cut < request.length; cut++) {
      await client.send(request.slice(0, cut))
      await turns(2)
      await client.send(request.slice(cut))
      assert.is((await client.response()).text, '/x', `cut at ${cut}`)
    }
  })

  test('content cut at every place', async () => {
    await h.serve(async (environ, startResponse) => {
      startResponse(200)
      return [await environ['wsgi.input'].read()]
    })
    const client = await h.connect()
    for (const request of [post('/', 'hello'), 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nT: u\r\n\r\n']) {
      const head = request.indexOf('\r\n\r\n') + 4
      for (let cut = head; cut < request.length; cut++) {
        await client.send(request.slice(0, cut))
        await turns(2)
        await client.send(request.slice(cut))
        assert.is((await client.response()).text, 'hello', `cut at ${cut}`)
      }
    }
  })

  test('Connection: close is answered with it, then FIN', async () => {
    await h.serve(hello)
    for (const value of ['close', 'Close', 'x, close', 'close, keep-alive']) {
      const client = await h.connect()
      await client.send(get('/', `Connection: ${value}\r\n`) + get('/never'))
      assert.is((await client.response()).header('connection'), 'close', value)
      assert.is((await client.untilEnd()).length, 0)
    }
  })

  test('HTTP/1.0: closed unless it asks to be kept, answered as 1.1, kept with Keep-Alive', async () => {
    const { access } = await h.serve(hello)
    const once = await h.connect()
    await once.send(get('/', '', '1.0'))
    const first = await once.response()
    assert.is(first.version, 'HTTP/1.1')
    assert.is(first.header('connection'), 'close')
    assert.is((await once.untilEnd()).length, 0)
    const kept = await h.connect()
    for (let i = 0; i < 2; i++) {
      await kept.send(get('/', 'Connection: keep-alive\r\n', '1.0'))
      const answer = await kept.response()
      assert.is(answer.header('connection'), 'keep-alive')
      assert.is(answer.header('keep-alive'), 'timeout=75')
    }
    assert.is(access.length, 3)
  })

  test('HTTP/1.0: an answer of unknown length ends with the connection, keep-alive or not', async () => {
    await h.serve((_environ, startResponse) => {
      startResponse('200 OK')
      return (function* () {
        yield 'this'
        yield 'is'
      })()
    })
    const client = await h.connect()
    await client.send(get('/', 'Connection: keep-alive\r\n', '1.0'))
    const answer = await client.response()
    assert.is(answer.framing, 'close')
    assert.is(answer.text, 'thisis')
    assert.is(answer.has('transfer-encoding'), false)
  })

  test('HTTP/1.1 that asks to be kept is told so', async () => {
    await h.serve(hello, { keepalive: 5_999 })
    const client = await h.connect()
    await client.send(get('/', 'Connection: Keep-Alive\r\n'))
    const answer = await client.response()
    assert.equal(answer.headers.slice(-2), [['Connection', 'keep-alive'], ['Keep-Alive', 'timeout=5']])
  })

  test('keepalive: false and maxHttpVersion HTTP/1.0 close after the first answer', async () => {
    for (const options of [{ keepalive: false }, { keepalive: 0 }, { maxHttpVersion: 'HTTP/1.0' as const }]) {
      const running = await h.serve((_environ, startResponse) => {
        startResponse(200)
        return ['a', 'b'].values()
      }, options)
      const client = await h.connect(running)
      await client.send(get('/', 'Connection: keep-alive\r\n') + get('/2'))
      const answer = await client.response()
      assert.is(answer.header('connection'), 'close')
      assert.is(answer.text, 'ab')
      if ('maxHttpVersion' in options) {
        assert.is(answer.version, 'HTTP/1.0')
        assert.is(answer.framing, 'close')
      }
      assert.is((await client.untilEnd()).length, 0)
      assert.is(running.access.length, 1)
    }
  })

  test("the application's own Connection: close closes", async () => {
    await h.serve((_environ, startResponse) => {
      startResponse(200, [['Connection', 'close']])
      return ['bye']
    })
    const client = await h.connect()
    await client.send(get())
    assert.is((await client.response()).header('connection'), 'close')
    assert.is((await client.untilEnd()).length, 0)
  })

  test('a half-closed peer is answered', async () => {
    const { access } = await h.serve(async (_environ, startResponse) => {
      await turns()
      startResponse(200)
      return ['late']
    })
    const client = await h.connect()
    await client.send(get())
    await client.end()
    const answer = await client.response()
    assert.is(answer.text, 'late')
    assert.is(answer.header('connection'), 'close')
    assert.is((await client.untilEnd()).length, 0)
    assert.equal(access, ['GET / HTTP/1.1 200 4 -'])
  })

  test('pipelined requests before a half-close are all answered, the last with close', async () => {
    await h.serve(async (environ, startResponse) => {
      await null
      startResponse(200)
      return [environ.PATH_INFO]
    })
    const client = await h.connect()
    await client.send(get('/1') + get('/2') + get('/3'))
    await client.end()
    assert.equal((await client.responses(3)).map(answer => answer.text), ['/1', '/2', '/3'])
    assert.is((await client.untilEnd()).length, 0)
  })

  test('a connection that ends without a byte, or idle, is closed without a word', async () => {
    const { server, access, peerErrors } = await h.serve(hello)
    const silent = await h.connect()
    await silent.end()
    assert.is((await silent.untilEnd()).length, 0)
    const idle = await h.connect()
    await idle.send(get())
    await idle.response()
    await idle.end()
    assert.is((await idle.untilEnd()).length, 0)
    await until(() => server.connections === 0, 'both connections gone')
    assert.is(access.length, 1)
    assert.equal(peerErrors, [])
  })

  test('a head cut short by the end of the connection: 400', async () => {
    const { access, peerErrors } = await h.serve(hello)
    const client = await h.connect()
    await client.send('GET /cut HTTP/1.1\r\nHos')
    await client.end()
    const answer = await client.response()
    assert.is(answer.status, 400)
    assert.is(answer.text, 'the connection ended inside the header section\r\n')
    assert.is((await client.untilEnd()).length, 0)
    assert.is(peerErrors[0]!.name, 'HPE_INCOMPLETE_HEAD')
    assert.is(peerErrors[0]!.requestLine, 'GET /cut HTTP/1.1')
    assert.equal(access, ['GET /cut HTTP/1.1 400 48 HPE_INCOMPLETE_HEAD: the connection ended inside the header section'])
  })

  test('a reset in any state leaves nothing behind', async () => {
    let calls = 0
    const { server } = await h.serve(async (environ, startResponse) => {
      calls++
      // A unix socket has no reset: its end is a half-close, and half-closed peers are answered.
      if (h.kind.over === 'unix') return ['']
      const { promise, resolve } = deferred()
      environ['wirelet.signal'].addEventListener('abort', () => resolve())
      await promise
      startResponse(200)
      return ['nobody reads this']
    })
    for (const bytes of ['', 'GET', post('/', 'x').slice(0, -1), get()]) {
      const client = await h.connect()
      if (bytes !== '') await client.send(bytes)
      await turns()
      client.resetNow()
      await until(() => server.connections === 0, `closed after ${JSON.stringify(bytes)}`)
    }
    assert.is(calls, 2)
    await until(() => server.outstandingRequests === 0, 'no request is left')
  })
}, { unix: true, tls: true, memory: true }).run()

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
