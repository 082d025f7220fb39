// One connection's life on the wire (design §3): what is kept, what is closed, what is half-closed.
import * as assert from 'uvu/assert'
import { FakeClock } from '../support/fake-clock.ts'
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

  test('abortOnHalfClose: a half-close counts as leaving while the request is being answered', async () => {
    const seen: string[] = []
    const { server } = await h.serve(environ => {
      environ['wirelet.signal'].addEventListener('abort', () => seen.push('aborted'))
      return new Promise(() => {})
    }, { abortOnHalfClose: true })
    const client = await h.connect()
    await client.send(get())
    await turns()
    await client.end()
    await until(() => server.connections === 0, 'cut')
    assert.equal(seen, ['aborted'])
  })

  test('the signal of a request that went well is not aborted, then or later', async () => {
    const signals: AbortSignal[] = []
    const { server } = await h.serve((environ, startResponse) => {
      signals.push(environ['wirelet.signal'])
      startResponse(200)
      return ['']
    })
    const client = await h.connect()
    await client.send(get() + get())
    await client.responses(2)
    client.resetNow()
    await until(() => server.connections === 0, 'closed')
    assert.equal(signals.map(signal => signal.aborted), [false, false])
  })

  test('strictness.acceptTransferEncodingWithContentLength: chunked wins, then the connection closes', async () => {
    await h.serve(async (environ, startResponse) => {
      const content = await environ['wsgi.input'].read()
      startResponse(200)
      return [content, ` ${environ.CONTENT_LENGTH} ${'CONTENT_LENGTH' in environ}`]
    }, { strictness: { acceptTransferEncodingWithContentLength: true } })
    const client = await h.connect()
    await client.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n' + get())
    const answer = await client.response()
    // Who reads as much as CONTENT_LENGTH says must not find another end of the content.
    assert.is(answer.text, 'hello undefined false')
    assert.is(answer.header('connection'), 'close')
    assert.is((await client.untilEnd()).length, 0)
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

  test('content cut short by the end of the connection: 400 if the application lets the error pass', async () => {
    const { access, peerErrors, errors } = await h.serve(async (environ, startResponse) => {
      const content = await environ['wsgi.input'].read()
      startResponse(200)
      return [content]
    })
    const client = await h.connect()
    await client.send(post('/up', 'hello').slice(0, -1))
    await client.end()
    const answer = await client.response()
    assert.is(answer.status, 400)
    assert.is(answer.header('connection'), 'close')
    assert.is((await client.untilEnd()).length, 0)
    await until(() => access.length === 1, 'the line')
    assert.is(peerErrors[0]!.name, 'HPE_INCOMPLETE_CONTENT')
    assert.equal(errors, [])
  })

  test('Date moves with the clock, once a second', async () => {
    const clock = new FakeClock()
    await h.serve(hello, { clock })
    const client = await h.connect()
    const dates: string[] = []
    for (const ms of [0, 999, 1, 60_000]) {
      clock.advance(ms)
      await client.send(get())
      dates.push((await client.response()).header('date').slice(17, 25))
    }
    assert.equal(dates, ['08:49:37', '08:49:37', '08:49:38', '08:50:38'])
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
