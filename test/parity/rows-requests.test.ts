// reference.md §1 line by line, what no ported test says: heads, framing, environ. Each name begins with the rows that it stands for.
import * as assert from 'uvu/assert'
import type { Application, Environ } from '../../src/server/application.ts'
import type { ServeOptions } from '../../src/server/options.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { Harness, onEveryTransport, pass, turns } from '../support/harness.ts'
import { CHUNKED, H, hello } from './support.ts'

/** What is written to standard error meanwhile, which does not get there. */
function standardError(during: () => unknown): string {
  const { write } = process.stderr
  let text = ''
  process.stderr.write = (chunk: string | Uint8Array): boolean => {
    text += String(chunk)
    return true
  }
  try {
    during()
  } finally {
    process.stderr.write = write
  }
  return text
}

onEveryTransport('parity, line by line: requests', (h, test) => {
  interface Asked {
    status: number
    environ: Environ | null
    connection: string
    text: string
  }

  /** One request, one answer. */
  async function ask(request: string, options: ServeOptions = {}, application: Application = hello): Promise<Asked> {
    let environ: Environ | null = null
    await h.serve((seen, startResponse) => {
      environ = { ...seen }
      return application(seen, startResponse)
    }, options)
    const client = await h.connect()
    await client.send(request).catch(() => {})
    const answer = await client.response()
    return { status: answer.status, environ, connection: answer.header('connection'), text: answer.text }
  }

  const get = (fields: string, target = '/', version = '1.1'): string => `GET ${target} HTTP/${version}\r\n${H}${fields}\r\n`

  async function statuses(requests: string[], options: ServeOptions = {}): Promise<number[]> {
    const all: number[] = []
    for (const request of requests) all.push((await ask(request, options)).status)
    return all
  }

  test('C3, P15: the request line without its CRLF, exactly the limit passes', async () => {
    const line = (length: number): string => get('', `/${'x'.repeat(length - 'GET / HTTP/1.1'.length)}`)
    assert.equal(await statuses([line(8192), line(8193)]), [200, 414])
    assert.equal(await statuses([line(20), line(21)], { urlLengthLimit: 20 }), [200, 414])
  })

  test('C4, C5, C6, H11: field lines, their sum and their number; beyond each 431', async () => {
    const field = (length: number): string => `X: ${'x'.repeat(length - 3)}\r\n`
    assert.equal(await statuses([get(field(8192)), get(field(8193))]), [200, 431])
    const head = (length: number): string => {
      const blocks = field(8000).repeat(8)
      return get(blocks + field(length - get(blocks).length - 2))
    }
    assert.is(head(65536).length, 65536)
    assert.equal(await statuses([head(65536), head(65537)]), [200, 431])
    assert.equal(await statuses([get('X: y\r\n'.repeat(99)), get('X: y\r\n'.repeat(100))]), [200, 431])
  })

  test('H1: an end before a request is no request', async () => {
    const { access, peerErrors, errors } = await h.serve(hello)
    const client = await h.connect()
    await client.end()
    assert.is((await client.untilEnd()).length, 0)
    await turns()
    assert.equal([access, peerErrors, errors], [[], [], []])
  })

  test('H3: up to four empty lines in front are skipped', async () => {
    assert.equal(await statuses([`\r\n${get('')}`, '\r\n'.repeat(4) + get(''), '\r\n'.repeat(5) + get('')]), [200, 200, 400])
  })

  test('H1, H3: an end behind empty lines alone is no request cut short', async () => {
    const { access, peerErrors } = await h.serve(hello)
    const post = `POST / HTTP/1.1\r\n${H}Content-Length: 1\r\n\r\na`
    for (const [sent, answers] of [[`${post}\r\n`, 1], [`${post}\r`, 1], ['\r\n\r\n', 0]] as const) {
      const client = await h.connect()
      await client.send(sent)
      for (let i = 0; i < answers; i++) assert.is((await client.response()).status, 200)
      client.end()
      assert.is((await client.untilEnd()).length, 0, JSON.stringify(sent))
    }
    assert.equal([access.length, peerErrors.length], [2, 0])
    const client = await h.connect()
    await client.send('\r\nG')
    client.end()
    assert.is((await client.response()).status, 400)
  })

  test('H2, H4, H5, H8: one grammar for the request line', async () => {
    const lines = [
      'GET  / HTTP/1.1', 'GET /  HTTP/1.1', 'GET\t/ HTTP/1.1', ' GET / HTTP/1.1', 'GET / HTTP/1.1 ', 'GET /', 'GET', 'GET / a HTTP/1.1', 'GET / http/1.1',
      'GET / HTTP/1', 'GET / HTTP/1.10', 'GET / HTTP/11.1', 'GET / HTTPS/1.1'
    ]
    for (const line of lines) {
      const { status, connection } = await ask(`${line}\r\n${H}\r\n`)
      assert.equal([status, connection], [400, 'close'], line)
    }
    assert.equal(await statuses(['0.9', '1.2', '1.9', '2.0', '3.0'].map(version => get('', '/', version))), [505, 505, 505, 505, 505])
    assert.is((await ask('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')).status, 505)
  })

  test('H6: a method is any token, as sent', async () => {
    for (const method of ['get', 'X-1', "!#$%&'*+-.^_`|~9"]) {
      assert.is((await ask(`${method} / HTTP/1.1\r\n${H}\r\n`)).environ!.REQUEST_METHOD, method)
    }
    assert.equal(await statuses([`G@T / HTTP/1.1\r\n${H}\r\n`, `GET{} / HTTP/1.1\r\n${H}\r\n`]), [400, 400])
    const trace = await ask(`TRACE / HTTP/1.1\r\n${H}\r\n`)
    assert.equal([trace.status, trace.environ, trace.connection], [501, null, ''])
  })

  test('H7: a path that begins with // is a path', async () => {
    const { environ } = await ask(get('', '//example.com/x?y'))
    assert.equal([environ!.PATH_INFO, environ!.RAW_PATH_INFO, environ!.REQUEST_URI], ['//example.com/x', '//example.com/x', '//example.com/x?y'])
    assert.is(environ!.HTTP_HOST, 'localhost')
  })

  test('H9, H10: refusals are whole answers', async () => {
    const { access } = await h.serve(hello)
    const client = await h.connect()
    await client.send(get('X\r\n'))
    const answer = await client.response()
    assert.equal(answer.headers.map(([name]) => name), ['Content-Type', 'Content-Length', 'Date', 'Connection'])
    assert.equal([answer.version, answer.reason], ['HTTP/1.1', 'Bad Request'])
    assert.is(await client.closed, 'end')
    assert.is(access.length, 1)
  })

  test('H13: Host is required, once', async () => {
    const requests = ['GET / HTTP/1.1\r\n\r\n', get(H), 'GET / HTTP/1.1\r\nHost: a b\r\n\r\n', 'GET / HTTP/1.1\r\nHost:\r\n\r\n']
    assert.equal(await statuses(requests), [400, 400, 400, 400])
  })

  test('H14: Connection is a list of tokens', async () => {
    const keeps: [string, string, string][] = [
      ['1.1', 'keep-alive, close', 'close'], ['1.1', 'x, Close', 'close'], ['1.1', 'close', 'close'], ['1.1', 'Keep-Alive', 'keep-alive'], ['1.1', 'x-y', ''],
      ['1.0', 'x, keep-alive', 'keep-alive'], ['1.0', 'x', 'close']
    ]
    for (const [version, value, connection] of keeps) {
      assert.is((await ask(get(`Connection: ${value}\r\n`, '/', version))).connection, connection, `${version} ${value}`)
    }
  })

  test('F1, F2, F3, F4: what frames a content', async () => {
    const post = (fields: string, content: string): string => `POST / HTTP/1.1\r\n${H}${fields}\r\n${content}`
    const readAll: Application = async (environ, startResponse) => {
      const content = await environ['wsgi.input'].read()
      startResponse('200 OK', [])
      return [content]
    }
    const table: [string, string, number, string][] = [
      ['Content-Length: 3\r\n', 'abc', 200, 'abc'], ['Content-Length: 003\r\n', 'abc', 200, 'abc'], ['Transfer-Encoding: CHUNKED\r\n', '3\r\nabc\r\n0\r\n\r\n', 200, 'abc'],
      ['', '', 200, ''], ['Content-Length: 3\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n', 400, ''], ['Content-Length: -1\r\n', '', 400, ''],
      ['Content-Length: 99999999999999999999\r\n', '', 400, '']
    ]
    for (const [fields, content, status, text] of table) {
      const answer = await ask(post(fields, content), {}, readAll)
      assert.is(answer.status, status, fields)
      if (status === 200) assert.is(answer.text, text)
    }
  })

  test('F5: octets behind a content are the next request', async () => {
    await h.serve((environ, startResponse) => hello(environ, startResponse))
    const client = await h.connect()
    await client.send(`POST / HTTP/1.1\r\n${H}Content-Length: 3\r\n\r\nabc${get('')}POST / HTTP/1.0\r\n${H}Content-Length: 1\r\n\r\nxjunk that nobody reads`)
    assert.equal((await client.responses(3)).map(answer => answer.status), [200, 200, 200])
    assert.is((await client.untilEnd()).length, 0)
  })

  test('F6: a content cut short never looks complete', async () => {
    let code: unknown = null
    await h.serve(async (environ, startResponse) => {
      await environ['wsgi.input'].read().catch((error: { code: string }) => (code = error.code))
      return hello(environ, startResponse)
    })
    const client = await h.connect()
    await client.send(`POST / HTTP/1.1\r\n${H}Content-Length: 10\r\n\r\nabc`)
    await client.end()
    assert.is((await client.response()).header('connection'), 'close')
    assert.is(code, 'ERR_WIRELET_REQUEST_ABORTED')
  })

  test('F7, F9: extensions and trailers frame nothing', async () => {
    const readAll: Application = async (environ, startResponse) => {
      startResponse('200 OK', [])
      return [await environ['wsgi.input'].read()]
    }
    const answer = await ask(`POST / HTTP/1.1\r\n${H}${CHUNKED}\r\n3;a;b=c;d="e\\"f"\r\nabc\r\n0;x\r\nT: v\r\n\r\n`, {}, readAll)
    assert.equal([answer.status, answer.text], [200, 'abc'])
  })

  test('§1.7: every key', async () => {
    const fields = `Content-Type: a/b\r\nContent-Length: 0\r\nX-Two: 1\r\nX-Two: 2\r\nX_Under: score\r\n`
    const request = `POST /a%2Fb%00?q HTTP/1.1\r\n${H}${fields}\r\n`
    let seen: Environ | null = null
    let written = ''
    const { port } = await h.serve((environ, startResponse) => {
      seen = { ...environ }
      assert.is(environ['wsgi.input'], environ['eventlet.input'])
      written = standardError(() => environ['wsgi.errors'].write('for the test'))
      return hello(environ, startResponse)
    })
    const client = await h.connect()
    await client.send(request)
    assert.is((await client.response()).status, 200)
    assert.is(written, 'for the test')
    const { REMOTE_PORT, ...rest } = seen!
    assert.match(REMOTE_PORT, /^\d+$/)
    const plain = Object.fromEntries(Object.entries(rest).filter(([, value]) => typeof value !== 'function'))
    for (const key of ['wsgi.input', 'wsgi.errors', 'eventlet.input', 'wirelet.signal']) delete plain[key]
    assert.equal(plain, {
      REQUEST_METHOD: 'POST', SCRIPT_NAME: '', RAW_PATH_INFO: '/a%2Fb%00', PATH_INFO: '/a/b\0', REQUEST_URI: '/a%2Fb%00?q', QUERY_STRING: 'q',
      CONTENT_TYPE: 'a/b', CONTENT_LENGTH: '0', SERVER_PROTOCOL: 'HTTP/1.1', GATEWAY_INTERFACE: 'CGI/1.1', SERVER_NAME: '127.0.0.1', SERVER_PORT: String(port),
      REMOTE_ADDR: '127.0.0.1', HTTP_HOST: 'localhost', HTTP_X_TWO: '1, 2',
      headers_raw: [['Host', 'localhost'], ['Content-Type', 'a/b'], ['Content-Length', '0'], ['X-Two', '1'], ['X-Two', '2'], ['X_Under', 'score']],
      'wsgi.version': [1, 0], 'wsgi.url_scheme': 'http', 'wsgi.multithread': false, 'wsgi.multiprocess': false, 'wsgi.run_once': false,
      'eventlet.posthooks': [], 'wirelet.trailers': [], 'wirelet.outcome': null, 'wirelet.tls': null
    })
    assert.type(seen!['eventlet.set_idle'], 'function')
    const bare = (await ask(get(''))).environ!
    assert.equal(['CONTENT_TYPE', 'CONTENT_LENGTH', 'HTTPS', 'QUERY_STRING'].map(key => key in bare), [false, false, false, true])
    assert.is((await ask(get('Content-Type:\r\n'))).environ!.CONTENT_TYPE, '')
  })

  test('P4: the environ option gives way to the request', async () => {
    const environ = { 'wsgi.multiprocess': true, 'x.mine': 7, REQUEST_METHOD: 'EVIL', HTTP_HOST: 'evil', HTTP_X: 'z', HTTP_Y: 'there' }
    const seen = (await ask(get('X: x\r\n'), { environ })).environ!
    assert.equal(
      [seen['wsgi.multiprocess'], seen['x.mine'], seen.REQUEST_METHOD, seen.HTTP_HOST, seen.HTTP_X, seen.HTTP_Y],
      [true, 7, 'GET', 'localhost', 'x', 'there']
    )
    assert.is(environ.HTTP_X, 'z')
  })

  test('P12, T4: keepalive in milliseconds, T1, T5: deadlines for all the rest', async () => {
    const clock = new FakeClock()
    const { server, access } = await h.serve(hello, { clock, keepalive: 1_000 })
    // A new connection has `firstByte`, not the idle limit.
    const [fresh, used, partial] = [await h.connect(), await h.connect(), await h.connect()]
    await used.send(get(''))
    await used.response()
    await partial.send('GET / HTTP/1.1\r\nX: ')
    await pass(clock, 2_500)
    await used.closed
    assert.is(server.connections, 2)
    await pass(clock, 9_000)
    assert.is((await fresh.untilEnd()).length, 0)
    assert.is(server.connections, 1)
    // A drip does not help: the whole head has one deadline.
    for (let i = 0; i < 20; i++) {
      await partial.send('T')
      await pass(clock, 1_000)
    }
    assert.is((await partial.response()).status, 408)
    assert.is(access.length, 2)
  })

  test('S7: unix peers are connections like all others', async () => {
    const unix = new Harness({ name: 'unix', transport: h.kind.transport, over: 'unix' })
    await unix.run(async () => {
      const clock = new FakeClock()
      const { server } = await unix.serve(hello, { clock })
      const clients = [await unix.connect(), await unix.connect(), await unix.connect()]
      for (const client of clients) {
        await client.send(get(''))
        await client.response()
      }
      const closing = server.close()
      await turns()
      await pass(clock, 1_500)
      await Promise.all(clients.map(client => client.closed))
      await closing
    })
  })
}).run()
