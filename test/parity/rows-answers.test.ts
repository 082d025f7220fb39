// reference.md §1 line by line, what no ported test says: applications, answers, ends. Each name begins with the rows that it stands for.
import * as assert from 'uvu/assert'
import { ALREADY_HANDLED, ChunkReadError, WireletError, formatDateTime, type Application, type Body } from '../../src/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { deferred, memoryPair, onEveryTransport, pass, turns, until } from '../support/harness.ts'
import { CHUNKED, CLOSE, H, KEEP_ALIVE, TextLog, hello } from './support.ts'

const GET = `GET / HTTP/1.1\r\n${H}\r\n`

onEveryTransport('parity, line by line: answers', (h, test) => {
  /** The codes of what is thrown. */
  function code(call: () => unknown): unknown {
    try {
      call()
      return 'nothing'
    } catch (error) {
      return (error as { code?: unknown }).code ?? String(error)
    }
  }

  const streaming = (...pieces: string[]): Application => (_environ, startResponse) => {
    startResponse('200 OK', [])
    return pieces.values()
  }

  test('A1: formatDateTime', () => {
    assert.is(formatDateTime(784111777000), 'Sun, 06 Nov 1994 08:49:37 GMT')
    assert.is(formatDateTime(new Date(784111777000)), 'Sun, 06 Nov 1994 08:49:37 GMT')
  })

  test('A2, A3, A4: a takeover after the head has left is an error', async () => {
    let seen: unknown = null
    const { errors } = await h.serve((environ, startResponse) => {
      const write = startResponse('200 OK', [['Content-Length', 2]])
      void write('ok')
      seen = code(() => environ['wsgi.input'].getSocket())
      return seen === 'nothing' ? ALREADY_HANDLED : []
    })
    const client = await h.connect()
    await client.send(GET)
    assert.is((await client.response()).text, 'ok')
    assert.is(seen, 'ERR_WIRELET_HEADERS_SENT')
    assert.equal(errors, [])
  })

  test('A5: ChunkReadError is one of ours', () => {
    assert.ok(ChunkReadError.prototype instanceof WireletError)
    assert.ok(WireletError.prototype instanceof Error)
  })

  test('A6, P8: outstandingRequests', async () => {
    const release = deferred()
    const { server } = await h.serve(async (environ, startResponse) => {
      await release.promise
      return hello(environ, startResponse)
    })
    const client = await h.connect()
    assert.is(server.outstandingRequests, 0)
    await client.send(GET)
    await turns()
    assert.is(server.outstandingRequests, 1)
    release.resolve()
    await client.response()
    await until(() => server.outstandingRequests === 0, 'the end of the request')
  })

  test('A7: a connection that came by another way is served', async () => {
    const { server } = await h.serve(hello)
    const [near, far] = memoryPair()
    server.handle(far)
    const client = h.client(near)
    await client.send(GET)
    assert.is((await client.response()).text, 'hello world')
  })

  test('I1, I2, I3: reading in every way', async () => {
    const results: string[] = []
    const reads: Application = async (environ, startResponse) => {
      const input = environ['wsgi.input']
      results.push(String(await input.read(0)), String(await input.read(2)), String(await input.readline(3)), String(await input.readline()))
      results.push((await input.readlines(4)).map(String).join('|'), String(await input.read(null)), String(await input.read()), String(await input.readline()))
      return hello(environ, startResponse)
    }
    await h.serve(reads)
    const client = await h.connect()
    const text = 'abcdefg\nhi\nj\nklm\nno'
    const chunks = '3\r\nabc\r\n6\r\ndefg\nh\r\n7\r\ni\nj\nklm\r\n3\r\n\nno\r\n0\r\n\r\n'
    for (const request of [`Content-Length: ${text.length}\r\n\r\n${text}`, `${CHUNKED}\r\n${chunks}`]) {
      await client.send(`POST / HTTP/1.1\r\n${H}${request}`)
      await client.response()
      assert.equal(results.splice(0), ['', 'ab', 'cde', 'fg\n', 'hi\n|j\n', 'klm\nno', '', ''])
    }
  })

  test('I4, I6: what is read in part is drained, a peer that vanishes spins nothing', async () => {
    const { server } = await h.serve(async (environ, startResponse) => {
      await environ['wsgi.input'].read(1)
      return hello(environ, startResponse)
    })
    const client = await h.connect()
    await client.send(`POST / HTTP/1.1\r\n${H}Content-Length: 5\r\n\r\nabcde${GET}`)
    assert.is((await client.responses(2)).length, 2)
    await client.send(`POST / HTTP/1.1\r\n${H}${CHUNKED}\r\n5\r\nab`)
    assert.is((await client.response()).status, 200)
    client.resetNow()
    await until(() => server.connections === 0, 'the connection to be gone')
  })

  test('X1: other expectations are refused', async () => {
    await h.serve(hello)
    const values: [string, string, number][] = [['1.1', 'other', 417], ['1.1', '100-continue, x', 417], ['1.0', '100-continue', 200], ['1.0', 'other', 200]]
    for (const [version, value, status] of values) {
      const client = await h.connect()
      await client.send(`POST / HTTP/${version}\r\n${H}Content-Length: 1\r\nExpect: ${value}\r\n\r\nx`)
      assert.is((await client.response()).status, status, `${version} ${value}`)
    }
  })

  test('X3: no read, no 100, and the close is announced by a stream too', async () => {
    await h.serve(streaming('no'))
    const client = await h.connect()
    await client.send(`POST / HTTP/1.1\r\n${H}Content-Length: 1\r\nExpect: 100-continue\r\n\r\n`)
    assert.is((await client.response()).header('connection'), 'close')
    assert.is(await client.closed, 'end')
  })

  test('X4, X6, X7, X8: explicit 100s', async () => {
    const after: unknown[] = []
    await h.serve(async (environ, startResponse) => {
      const input = environ['wsgi.input']
      input.setHundredContinueResponseHeaders([['x-one', '1']], false)
      input.sendHundredContinueResponse()
      input.sendHundredContinueResponse()
      const content = await input.read()
      const write = startResponse('200 OK', [])
      void write(content)
      after.push(code(() => input.sendHundredContinueResponse()), code(() => input.setHundredContinueResponseHeaders([['a b', 'c']])))
      return []
    })
    const client = await h.connect()
    // Without Expect too (there a 500), and the read that follows sends none of its own (there one more).
    for (const expect of ['Expect: 100-continue\r\n', '']) {
      await client.send(`POST / HTTP/1.1\r\n${H}Content-Length: 2\r\n${expect}\r\n`)
      for (let i = 0; i < 2; i++) assert.equal((await client.interim()).headers, [['x-one', '1']])
      await client.send('ab')
      assert.is((await client.response()).text, 'ab')
    }
    assert.equal(after.slice(0, 2), ['nothing', 'ERR_WIRELET_INVALID_HEADER'])
    // Never to 1.0.
    const old = await h.connect()
    await old.send(`POST / HTTP/1.0\r\n${H}Content-Length: 2\r\n\r\nab`)
    assert.ok((await old.untilEnd()).toString().startsWith('HTTP/1.1 200'))
  })

  test('W1, G1: a status that is none is a 500', async () => {
    for (const status of ['OK', '', '2000 x', 'abc def', 20, NaN]) {
      const { errors } = await h.serve((_environ, startResponse) => {
        startResponse(status, [])
        return []
      })
      const client = await h.connect()
      await client.send(GET)
      const answer = await client.response()
      assert.equal([answer.status, answer.header('connection'), answer.header('content-type')], [500, 'close', 'text/plain; charset=utf-8'], String(status))
      assert.is(errors.length, 1)
    }
  })

  test('W3: excInfo after the head is thrown back', async () => {
    const reason = new Error('mine')
    let thrown: unknown = null
    await h.serve((_environ, startResponse) => {
      const write = startResponse('200 OK', [['Content-Length', 2]])
      void write('ok')
      try {
        startResponse('500 x', [], reason)
      } catch (error) {
        thrown = error
      }
      return []
    })
    const client = await h.connect()
    await client.send(GET)
    await client.response()
    assert.is(thrown, reason)
  })

  test('W5, W7: startResponse inside the iterator, and never', async () => {
    await h.serve((environ, startResponse) => (function* () {
      yield ''
      if (environ.PATH_INFO === '/lazy') startResponse('201 Created', [])
      yield 'piece'
    })())
    for (const [path, status] of [['/lazy', 201], ['/never', 500]] as const) {
      const client = await h.connect()
      await client.send(`GET ${path} HTTP/1.1\r\n${H}\r\n`)
      assert.is((await client.response()).status, status)
    }
    for (const body of [[], ['x'], 'x']) {
      const { access } = await h.serve(() => body)
      const client = await h.connect()
      await client.send(GET)
      assert.is((await client.response()).status, 500)
      // E7: there 200 in the log, whatever the peer got.
      await until(() => access.length === 1, 'the access line')
      assert.is(access[0], 'GET / HTTP/1.1 500 0 -')
    }
  })

  test('W12: a length is computed where there is one', async () => {
    const bodies: [Body, string][] = [
      ['\u00e9', '2'], [Buffer.from('abc'), '3'], [['a', '\u20ac', Buffer.from('b')], '5'], [[], '0'], ['', '0'], [['a'].values(), ''], [new Set(['a', 'b']), '']
    ]
    for (const [body, length] of bodies) {
      await h.serve((_environ, startResponse) => {
        startResponse('200 OK', [])
        return body
      })
      const client = await h.connect()
      await client.send(GET)
      assert.is((await client.response()).header('content-length'), length)
    }
  })

  test('W6: write() sends at once, the head with it, even empty', async () => {
    const release = deferred()
    await h.serve(async (_environ, startResponse) => {
      const write = startResponse('200 OK', [['X', 'y']])
      assert.is(await write(''), true)
      await release.promise
      await write('a')
      return ['b']
    })
    const client = await h.connect()
    await client.send(GET)
    await until(() => client.buffered.endsWith('\r\n\r\n'), 'the head')
    release.resolve()
    assert.is((await client.response()).text, 'ab')
  })

  test('C7, W11, R11: pieces are joined up to the minimum and leave as one chunk', async () => {
    const sizes = async (count: number, size: number): Promise<string[]> => {
      await h.serve(streaming(...Array.from({ length: count }, () => 'x'.repeat(size))))
      const client = await h.connect()
      await client.send(GET)
      return (await client.response()).chunks!.map(chunk => chunk.length.toString(16))
    }
    assert.equal(await sizes(10, 1000), ['1388', '1388'])
    assert.equal(await sizes(5, 4095), ['1ffe', '1ffe', 'fff'])
  })

  test('W10: nothing has left, so the head can still become a 500', async () => {
    await h.serve((_environ, startResponse) => {
      startResponse('200 OK', [])
      return (function* () {
        yield 'x'.repeat(4095)
        throw new Error('late')
      })()
    })
    const client = await h.connect()
    await client.send(GET)
    assert.equal(await client.response().then(({ status, text }) => [status, text]), [500, ''])
  })

  test('§1.11, W12, W14: the head, in its order', async () => {
    const clock = new FakeClock()
    await h.serve((environ, startResponse) => {
      startResponse('200 Fine', [['x-number', 3], ['Set-Cookie', 'a'], ['Set-Cookie', 'b'], ['X-Latin', '\u00e9']])
      return environ.PATH_INFO === '/known' ? ['abc'] : ['abc'].values()
    }, { clock, keepalive: 5_000 })
    const client = await h.connect()
    await client.send(`GET /known HTTP/1.1\r\n${H}${KEEP_ALIVE}\r\n`)
    const common = 'HTTP/1.1 200 Fine\r\nX-Number: 3\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nX-Latin: \u00e9\r\n'
    const date = 'Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n'
    assert.is(
      (await client.response()).raw.toString('latin1'),
      `${common}Content-Length: 3\r\n${date}Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\nabc`
    )
    await client.send(`GET /unknown HTTP/1.1\r\n${H}${CLOSE}\r\n`)
    assert.is((await client.response()).raw.toString('latin1'), `${common}${date}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n`)
  })

  test('R1, R2: our own version, no Server, the application\'s Date', async () => {
    await h.serve((_environ, startResponse) => {
      startResponse('200 OK', [['Date', 'Mon, 01 Jan 2001 00:00:00 GMT']])
      return []
    })
    const client = await h.connect()
    await client.send(`GET / HTTP/1.0\r\n${H}\r\n`)
    const answer = await client.response()
    assert.is(answer.version, 'HTTP/1.1')
    assert.not(answer.has('server'))
    assert.is(answer.header('date'), 'Mon, 01 Jan 2001 00:00:00 GMT')
  })

  test('R3: what does not fit into latin-1 throws where it was said', async () => {
    const codes: unknown[] = []
    const { errors } = await h.serve((environ, startResponse) => {
      codes.push(code(() => startResponse('200 OK', [['X', '\u20ac']])), code(() => startResponse('200 \u20ac', [])))
      return hello(environ, startResponse)
    })
    const client = await h.connect()
    await client.send(GET)
    assert.is((await client.response()).status, 200)
    assert.equal(codes, ['ERR_WIRELET_INVALID_HEADER', 'ERR_WIRELET_INVALID_HEADER'])
    assert.equal(errors, [])
  })

  test('E1, E3: close(), then the drain, then hooks in order, then the log line', async () => {
    const order: string[] = []
    const { access } = await h.serve((environ, startResponse) => {
      environ['eventlet.posthooks'].push([() => order.push(`hook 1, ${access.length} lines`)], [async () => void order.push(`hook 2, ${access.length} lines`)])
      if (environ.PATH_INFO === '/500') throw new Error('as the test wants it')
      startResponse('200 OK', [])
      return Object.assign(['x'].values(), { close: () => order.push('close') })
    })
    const client = await h.connect()
    await client.send(`POST / HTTP/1.1\r\n${H}Content-Length: 2\r\n\r\n`)
    await client.response()
    await turns()
    assert.equal(order, ['close'])
    await client.send('ab')
    await until(() => access.length === 1, 'the log line')
    assert.equal(order.splice(0), ['close', 'hook 1, 0 lines', 'hook 2, 0 lines'])
    await client.send(`GET /500 HTTP/1.1\r\n${H}\r\n`)
    await client.response()
    await until(() => access.length === 2, 'the log line')
    assert.equal(order, ['hook 1, 1 lines', 'hook 2, 1 lines'])
  })

  test('E1: what an asynchronous application returned is left and closed before its hooks, failed or not', async () => {
    const order: string[] = []
    const left = (piece: unknown): Iterable<string> => ({
      * [Symbol.iterator](): Generator<string> {
        try {
          yield piece as string
        } finally {
          order.push('left')
        }
      }
    })
    const bodies: Readonly<Record<string, () => Iterable<string> | AsyncIterable<string>>> = {
      '/array': () => ['x'],
      '/iterable': () => left('x'),
      '/waits': () => (async function* () {
        yield* left('x')
        await new Promise(setImmediate)
      })(),
      '/no-piece': () => left(5)
    }
    await h.serve(async (environ, startResponse) => {
      await null
      environ['eventlet.posthooks'].push([() => order.push('hook')])
      startResponse('200 OK', [])
      return Object.assign(bodies[environ.PATH_INFO]!(), { close: () => order.push('close') })
    })
    for (const path of Object.keys(bodies)) {
      const client = await h.connect()
      await client.send(`GET ${path} HTTP/1.1\r\n${H}\r\n`)
      assert.is((await client.response()).status, path === '/no-piece' ? 500 : 200)
      await until(() => order.length === (path === '/array' ? 2 : 3), 'the hook')
      assert.equal(order.splice(0), [...(path === '/array' ? [] : ['left']), 'close', 'hook'], path)
    }
  })

  test('E2: a drain that fails is told, closes, and costs no hook', async () => {
    let hooks = 0
    const { log, access, peerErrors } = await h.serve((environ, startResponse) => {
      environ['eventlet.posthooks'].push([() => hooks++])
      return hello(environ, startResponse)
    })
    const client = await h.connect()
    await client.send(`POST / HTTP/1.1\r\n${H}${CHUNKED}\r\n`)
    assert.is((await client.response()).status, 200)
    await client.send('cats\r\n')
    assert.is((await client.untilEnd()).length, 0)
    await until(() => hooks === 1 && access.length === 1, 'the hook and the log line')
    assert.equal(peerErrors.map(event => [event.name, event.status]), [['HPE_INVALID_CHUNK_SIZE', 0]])
    assert.ok(access[0]!.startsWith('POST / HTTP/1.1 200 11 '))
    // The log says why the connection ended, wherever it says it.
    assert.is(log.filter(line => line.includes('HPE_INVALID_CHUNK_SIZE')).length, 1)
  })

  test('P14, E5, E6, E7, E8: what an access line counts', async () => {
    const log = new TextLog()
    const fields = ['client_ip', 'client_port', 'date_time', 'request_line', 'status_code', 'body_length', 'wire_length', 'wall_seconds']
    const { server } = await h.serve((environ, startResponse) => {
      startResponse('202 Accepted', [])
      return [environ.PATH_INFO]
    }, { log, logFormat: fields.map(name => `${name}=%(${name})s`).join(' ') })
    const client = await h.connect()
    await client.send(`GET /abc HTTP/1.1\r\n${H}\r\n`)
    const { raw } = await client.response()
    await server.close({ timeout: 0 })
    const line = log.lines.find(each => each.startsWith('client_ip='))!
    assert.match(line, /^client_ip=127\.0\.0\.1 client_port=\d+ date_time=\d\d\/[A-Z][a-z]{2}\/\d{4} \d\d:\d\d:\d\d request_line=GET \/abc HTTP\/1\.1 /)
    assert.ok(line.includes(` status_code=202 body_length=4 wire_length=${raw.length} wall_seconds=0.`), line)
  })

  test('P13: logOutput false silences all but the application\'s failures', async () => {
    const log = new TextLog()
    const { server } = await h.serve(() => {
      throw new Error('still told')
    }, { log, logOutput: false })
    const client = await h.connect()
    await client.send(GET)
    await client.response()
    await server.close({ timeout: 0 })
    assert.is(log.lines.filter(line => line.startsWith('(')).length, 1)
    assert.ok(log.text.includes('Error: still told'))
  })

  test('G2, G3: a failure after the head cuts, is logged once, and has its access line', async () => {
    const { errors, access } = await h.serve((_environ, startResponse) => {
      const write = startResponse('200 OK', [])
      void write('begun')
      throw new Error('too late')
    })
    const client = await h.connect()
    await client.send(GET)
    await client.reset
    assert.ok(client.buffered.endsWith('5\r\nbegun\r\n'))
    assert.is(errors.length, 1)
    assert.is(access.length, 1)
  })

  test('T2, T3: a content that stalls', async () => {
    const clock = new FakeClock()
    const failures: unknown[] = []
    const { access } = await h.serve(async (environ, startResponse) => {
      if (environ.PATH_INFO === '/unread') return hello(environ, startResponse)
      await environ['wsgi.input'].read().catch((error: { code: string }) => failures.push(error.code))
      return hello(environ, startResponse)
    }, { clock, socketTimeout: 2_000 })
    const [reading, draining] = [await h.connect(), await h.connect()]
    await reading.send(`POST /read HTTP/1.1\r\n${H}Content-Length: 3\r\n\r\na`)
    await draining.send(`POST /unread HTTP/1.1\r\n${H}Content-Length: 3\r\n\r\na`)
    assert.is((await draining.response()).status, 200)
    await turns()
    await pass(clock, 4_000)
    assert.is((await reading.response()).status, 408)
    assert.equal(failures, ['ERR_WIRELET_REQUEST_ABORTED'])
    await draining.closed
    assert.is(draining.buffered, '')
    await until(() => access.length === 2, 'the access lines')
  })

  test('S2, S3: a drain lets what has begun finish, once', async () => {
    const clock = new FakeClock()
    const { server } = await h.serve(hello, { clock })
    const [partial, used] = [await h.connect(), await h.connect()]
    await partial.send(`GET / HTTP/1.1\r\n`)
    await used.send(GET)
    await used.response()
    const closing = server.close()
    await turns()
    // A head that has begun is read to its end, and an idle connection's request that was on its way is answered: both with the close announced.
    await partial.send(`${H}\r\n`)
    await used.send(GET)
    for (const client of [partial, used]) {
      assert.is((await client.response()).header('connection'), 'close')
      assert.is((await client.untilEnd()).length, 0)
      await client.end()
    }
    await closing
  })
}).run()
