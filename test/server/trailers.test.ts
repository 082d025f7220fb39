// Trailers, both ways (RFC 9110 §6.5, RFC 9112 §7.1.2): received ones are kept apart and known only at the end; ours leave when the peer said it wants them.
import * as assert from 'uvu/assert'
import type { Application, Body, Headers } from '../../src/server/application.ts'
import { get, onEveryTransport, until } from '../support/harness.ts'

const TE = 'TE: trailers\r\nConnection: TE\r\n'
const CHUNKED = 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n'

/** Streams `pieces`, with trailers made at the end. */
function sending(make: () => Headers, pieces: () => Body = () => ['a', 'b'].values(), headers: Headers = []): Application {
  return (environ, startResponse) => {
    environ['wirelet.sendTrailers'] = make
    startResponse(200, headers)
    return pieces()
  }
}

const SUM = (): Headers => [['X-Sum', '42'], ['server-timing', 'app;dur=1']]

onEveryTransport('trailers', (h, test) => {
  // ── Received ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  test('received: null before the end, then pairs as they came, in order', async () => {
    const seen: unknown[] = []
    await h.serve(async (environ, startResponse) => {
      seen.push(environ['wirelet.trailers'])
      const content = await environ['wsgi.input'].read()
      seen.push(environ['wirelet.trailers'])
      startResponse(200)
      return [content]
    })
    const client = await h.connect()
    await client.send(`${CHUNKED}Trailer: X-Sum\r\n\r\n5\r\nhello\r\n`)
    await client.send('0\r\nX-Sum:  42 \r\nx-sum: 43\r\nX-Bytes: \xe9\r\n\r\n')
    assert.is((await client.response()).text, 'hello')
    assert.equal(seen, [null, [['X-Sum', '42'], ['x-sum', '43'], ['X-Bytes', '\xe9']]])
  })

  test('received: null until the last line is read, though all has come; after a discard of the rest too', async () => {
    const seen: unknown[] = []
    await h.serve(async (environ, startResponse) => {
      const input = environ['wsgi.input']
      for (let i = 0; i < 2; i++) {
        seen.push(String(await input.readline()), environ['wirelet.trailers'])
      }
      if (environ.PATH_INFO === '/discard') await input.discard()
      else seen.push(String(await input.readline()))
      seen.push(environ['wirelet.trailers'])
      startResponse(200)
      return []
    })
    const client = await h.connect()
    for (const path of ['/', '/discard']) {
      await client.send(`${CHUNKED.replace('/', path)}\r\n5\r\na\nb\nc\r\n0\r\nX-Sum: 1\r\n\r\n`)
      await client.response()
    }
    assert.equal(seen, ['a\n', null, 'b\n', null, 'c', [['X-Sum', '1']], 'a\n', null, 'b\n', null, [['X-Sum', '1']]])
  })

  test('received: never merged into the headers of the environ', async () => {
    let keys: string[] = []
    let raw = ''
    await h.serve(async (environ, startResponse) => {
      await environ['wsgi.input'].read()
      keys = Object.keys(environ).filter(key => key.startsWith('HTTP_'))
      raw = JSON.stringify(environ.headers_raw)
      startResponse(200)
      return []
    })
    const client = await h.connect()
    await client.send(`${CHUNKED}X-Real: 1\r\n\r\n0\r\nX-Real: 2\r\nX-Late: 3\r\n\r\n`)
    await client.response()
    assert.equal(keys.sort(), ['HTTP_HOST', 'HTTP_TRANSFER_ENCODING', 'HTTP_X_REAL'])
    assert.not.match(raw, 'Late')
  })

  test('received: an empty list without any, without chunks, and without content', async () => {
    const seen: unknown[] = []
    await h.serve(async (environ, startResponse) => {
      await environ['wsgi.input'].read()
      seen.push(environ['wirelet.trailers'])
      startResponse(200)
      return []
    })
    const client = await h.connect()
    await client.send(`${CHUNKED}\r\n2\r\nab\r\n0\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab${get()}`)
    await client.responses(3)
    assert.equal(seen, [[], [], []])
  })

  test('received: to be seen by post hooks, and when the application read in pieces', async () => {
    const seen: unknown[] = []
    await h.serve(async (environ, startResponse) => {
      for await (const piece of environ['wsgi.input']) void piece
      seen.push(environ['wirelet.trailers'])
      environ['eventlet.posthooks'].push([each => seen.push(each['wirelet.trailers'])])
      startResponse(200)
      return []
    })
    const client = await h.connect()
    await client.send(`${CHUNKED}\r\n2\r\nab\r\n0\r\nX-Sum: 1\r\n\r\n`)
    await client.response()
    await until(() => seen.length === 2, 'the hook')
    assert.equal(seen, [[['X-Sum', '1']], [['X-Sum', '1']]])
  })

  for (const name of ['Content-Length', 'transfer-encoding', 'Host', 'Authorization', 'Trailer', 'Set-Cookie', 'Content-Type', 'Connection']) {
    test(`received: ${name} has no place there (TR-03)`, async () => {
      let code = ''
      const { peerErrors } = await h.serve(async (environ, startResponse) => {
        await environ['wsgi.input'].read().catch((error: { code: string }) => {
          code = error.code
          throw error
        })
        startResponse(200)
        return []
      })
      const client = await h.connect()
      await client.send(`${CHUNKED}\r\n2\r\nab\r\n0\r\n${name}: 1\r\n\r\n${get('/smuggled')}`)
      const answer = await client.response()
      assert.equal([answer.status, answer.header('connection')], [400, 'close'])
      await client.untilEnd()
      assert.is(peerErrors.length, 1)
      // Whether the application was called depends on where the segment was cut; it never sees an end.
      assert.ok(code === '' || code.startsWith('ERR_WIRELET_'), code)
    })
  }

  // ── Sent ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  test('sent at the end of the chunks to a peer that said TE: trailers; the connection goes on', async () => {
    await h.serve(sending(SUM))
    const client = await h.connect()
    await client.send(get('/', TE) + get('/', 'TE: deflate;q=0.5, Trailers\r\nConnection: TE, keep-alive\r\n'))
    for (let i = 0; i < 2; i++) {
      const answer = await client.response()
      assert.is(answer.text, 'ab')
      assert.equal(answer.trailers, [['X-Sum', '42'], ['Server-Timing', 'app;dur=1']])
    }
    assert.is(client.buffered, '')
  })

  test('the bytes', async () => {
    await h.serve(sending(() => ({ 'x-sum': 42 })))
    const client = await h.connect()
    await client.send(get('/', TE))
    assert.ok((await client.response()).raw.toString('latin1').endsWith('\r\n\r\n2\r\nab\r\n0\r\nX-Sum: 42\r\n\r\n'))
  })

  test('made when the content has ended, not before', async () => {
    let sum = 0
    await h.serve(sending(() => [['X-Sum', sum]], async function* () {
      for (const n of [1, 2, 3]) {
        sum += n
        yield String(n)
      }
    }))
    const client = await h.connect()
    await client.send(get('/', TE))
    const answer = await client.response()
    assert.is(answer.text, '123')
    assert.equal(answer.trailers, [['X-Sum', '6']])
  })

  test('an object, a Map, several values, none at all', async () => {
    const sets: (() => Headers)[] = [
      () => ({ 'X-A': '1', 'X-B': 2 }),
      () => new Map([['X-A', '1'], ['X-B', '2']]),
      () => ({ 'X-A': ['1', '2'] }),
      () => []
    ]
    let next = 0
    await h.serve((environ, startResponse) => sending(sets[next++]!)(environ, startResponse))
    const client = await h.connect()
    for (const expected of [[['X-A', '1'], ['X-B', '2']], [['X-A', '1'], ['X-B', '2']], [['X-A', '1'], ['X-A', '2']], []]) {
      await client.send(get('/', TE))
      assert.equal((await client.response()).trailers, expected)
    }
  })

  test('case as given with capitalizeResponseHeaders: false', async () => {
    await h.serve(sending(() => [['x-sum', '1']]), { capitalizeResponseHeaders: false })
    const client = await h.connect()
    await client.send(get('/', TE))
    assert.equal((await client.response()).trailers, [['x-sum', '1']])
  })

  test('not sent, nor made, unless the peer wants them', async () => {
    let made = 0
    await h.serve(sending(() => {
      made++
      return SUM()
    }))
    const client = await h.connect()
    for (const fields of ['', 'TE: deflate\r\nConnection: TE\r\n', 'TE: trailers;q=0\r\nConnection: TE\r\n', 'X-TE: trailers\r\n']) {
      await client.send(get('/', fields))
      assert.equal((await client.response()).trailers, [], fields)
    }
    assert.is(made, 0)
  })

  test('not sent where the answer has no chunks: a known length, HEAD, 204, HTTP/1.0', async () => {
    await h.serve((environ, startResponse) => {
      environ['wirelet.sendTrailers'] = SUM
      if (environ.PATH_INFO === '/204') startResponse(204)
      else if (environ.PATH_INFO === '/length') startResponse(200, [['Content-Length', '2']])
      else startResponse(200)
      return environ.PATH_INFO === '/array' ? ['ab'] : environ.PATH_INFO === '/204' ? [].values() : ['a', 'b'].values()
    })
    const client = await h.connect()
    for (const path of ['/array', '/length']) {
      await client.send(get(path, TE))
      const answer = await client.response()
      assert.equal([answer.framing, answer.text], ['length', 'ab'])
    }
    await client.send(get('/204', TE))
    assert.is((await client.response()).status, 204)
    await client.send(get('/', TE).replace('GET', 'HEAD'))
    await client.response({ method: 'HEAD' })
    await client.send(get('/', TE, '1.0'))
    assert.is((await client.response()).text, 'ab')
    assert.is((await client.untilEnd()).length, 0)
  })

  test('after write(), too', async () => {
    await h.serve(async (environ, startResponse) => {
      environ['wirelet.sendTrailers'] = SUM
      const write = startResponse(200)
      await write('written')
      return []
    })
    const client = await h.connect()
    await client.send(get('/', TE))
    const answer = await client.response()
    assert.is(answer.text, 'written')
    assert.is(answer.trailers!.length, 2)
  })

  // ── Forbidden ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  const forbidden: [string, string][] = [
    ['Content-Length', '2'], ['Transfer-Encoding', 'chunked'], ['Set-Cookie', 'a=b'], ['Host', 'b'], ['Trailer', 'X'], ['Connection', 'close'],
    ['Content-Encoding', 'gzip'], ['Content-Type', 'text/html'], ['WWW-Authenticate', 'Basic'], ['If-Match', '*'], ['Cache-Control', 'no-store']
  ]
  for (const [name, value] of [...forbidden, ['bad name', 'x'], ['X-Bad', 'a\r\nSet-Cookie: b'], ['', 'x'], ['X-Wide', '\u010a']] as [string, string][]) {
    test(`forbidden: ${JSON.stringify(`${name}: ${value}`)} before the head was sent is a clean 500`, async () => {
      const { errors } = await h.serve(sending(() => [[name, value]]))
      const client = await h.connect()
      await client.send(get('/', TE))
      const answer = await client.response()
      assert.equal([answer.status, answer.header('connection'), answer.text], [500, 'close', ''])
      await client.untilEnd()
      assert.match(errors[0]!, 'InvalidHeader')
    })
  }

  test('forbidden after the head was sent: the connection is cut, the content never looks complete', async () => {
    const { errors } = await h.serve(sending(() => [['Content-Length', '1']], () => ['x'.repeat(10_000)].values()))
    const client = await h.connect()
    await client.send(get('/', TE))
    const ending = await client.closed
    if (h.hasReset) assert.is(ending, 'reset')
    assert.not.match(client.buffered, '\r\n0\r\n')
    assert.is(errors.length, 1)
  })

  test('a function that throws, or gives what are no headers: the same', async () => {
    for (const make of [() => { throw new Error('as the test wants it') }, () => null as never, () => 'X: 1' as never, () => Promise.resolve([]) as never]) {
      const { errors } = await h.serve(sending(make))
      const client = await h.connect()
      await client.send(get('/', TE))
      assert.is((await client.response()).status, 500, String(make))
      await client.untilEnd()
      assert.is(errors.length, 1)
    }
  })

  test('an async function that fails: the same, and the process lives on', async () => {
    const { errors } = await h.serve(sending(() => Promise.reject(new Error('as the test wants it')) as never))
    const client = await h.connect()
    await client.send(get('/', TE))
    assert.is((await client.response()).status, 500)
    await until(() => errors.length === 2, 'both lines')
    assert.match(errors.join(''), 'headers must be there, not promised')
    assert.match(errors.join(''), 'sendTrailers failed: Error: as the test wants it')
  })

  test('what is no function is ignored', async () => {
    await h.serve((environ, startResponse) => {
      ;(environ as Record<string, unknown>)['wirelet.sendTrailers'] = [['X-Sum', '1']]
      startResponse(200)
      return ['a'].values()
    })
    const client = await h.connect()
    await client.send(get('/', TE))
    const answer = await client.response()
    assert.equal([answer.text, answer.trailers], ['a', []])
  })

  test('trailers count as wire bytes, not as content', async () => {
    const { access } = await h.serve(sending(SUM), { logFormat: '%(body_length)d %(wire_length)d' })
    const client = await h.connect()
    await client.send(get('/', TE))
    const answer = await client.response()
    await until(() => access.length > 0, 'the line')
    assert.equal(access, [`2 ${answer.raw.length}`])
  })
}, { memory: true }).run()
