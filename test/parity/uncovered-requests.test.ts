// What the original's suite leaves uncovered (reference §2.4), one test each: requests.
import * as assert from 'uvu/assert'
import type { Application, Environ } from '../../src/server/application.ts'
import { echoPath, onEveryTransport } from '../support/harness.ts'
import { CHUNKED, CLOSE, H, chunkedApp, hello } from './support.ts'

onEveryTransport('parity, uncovered there: requests', (h, test) => {
  /** The status that the request is answered with, and the application's environ if it got that far. */
  async function ask(request: string): Promise<{ status: number; environ: Environ | null; text: string }> {
    let environ: Environ | null = null
    await h.serve((seen, startResponse) => {
      environ = { ...seen }
      return hello(seen, startResponse)
    })
    const client = await h.connect()
    await client.send(request)
    const { status, text, header } = await client.response()
    if (status >= 400) {
      assert.is(header('connection'), 'close')
      assert.is(await client.closed, 'end')
    }
    return { status, environ, text }
  }

  test('HEAD', async () => {
    for (const [application, length] of [[hello, '11'], [chunkedApp, '']] as const) {
      await h.serve(application)
      const client = await h.connect()
      await client.send(`HEAD / HTTP/1.1\r\n${H}\r\nGET / HTTP/1.1\r\n${H}${CLOSE}\r\n`)
      const head = await client.response({ method: 'HEAD' })
      assert.is(head.status, 200)
      assert.is(head.header('content-length'), length)
      // The next octet is the next answer's.
      assert.ok((await client.response()).text.length > 0)
    }
  })

  test('204 and 304 with a body', async () => {
    const site: Application = (environ, startResponse) => {
      const status = environ.PATH_INFO.slice(1)
      startResponse(Number(status), [['X-Status', status]])
      return ['a body that must', ' not be seen']
    }
    await h.serve(site)
    const client = await h.connect()
    for (const status of [204, 304, 204]) {
      await client.send(`GET /${status} HTTP/1.1\r\n${H}\r\n`)
      const answer = await client.response()
      assert.is(answer.status, status)
      assert.is(answer.header('x-status'), String(status))
    }
    assert.is(client.buffered, '')
  })

  test('pipelining: more than one request in a segment', async () => {
    await h.serve(echoPath)
    const client = await h.connect()
    const paths = Array.from({ length: 40 }, (_, i) => `/${i}`)
    await client.send(paths.map(path => `GET ${path} HTTP/1.1\r\n${H}\r\n`).join(''))
    assert.equal((await client.responses(40)).map(answer => answer.text), paths)
  })

  test('bare LF', async () => {
    assert.is((await ask(`GET / HTTP/1.1\n${H}\r\n`)).status, 400)
    assert.is((await ask('GET / HTTP/1.1\r\nHost: localhost\n\r\n')).status, 400)
    assert.is((await ask(`GET / HTTP/1.1\r\n${H}\n`)).status, 400)
  })

  test('obs-fold', async () => {
    assert.is((await ask(`GET / HTTP/1.1\r\n${H}X-Folded: one\r\n two\r\n\r\n`)).status, 400)
  })

  test('a header without a colon', async () => {
    assert.is((await ask(`GET / HTTP/1.1\r\n${H}no colon here\r\nContent-Length: 5\r\n\r\nhello`)).status, 400)
    assert.is((await ask(`GET / HTTP/1.1\r\n${H}Name : value\r\n\r\n`)).status, 400)
  })

  test('lists of transfer codings', async () => {
    const values: [string, number][] = [
      ['gzip, chunked', 501], ['br, chunked', 501], ['chunked, chunked', 400], ['identity', 400], ['gzip', 400], ['chunked, gzip', 400], ['chunked;q=1', 400]
    ]
    for (const [value, status] of values) {
      assert.is((await ask(`POST / HTTP/1.1\r\n${H}Transfer-Encoding: ${value}\r\n\r\n0\r\n\r\n`)).status, status, value)
    }
    assert.is((await ask(`POST / HTTP/1.1\r\n${H}${CHUNKED}${CHUNKED}\r\n0\r\n\r\n`)).status, 400)
  })

  test('a second Content-Length', async () => {
    assert.is((await ask(`POST / HTTP/1.1\r\n${H}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!`)).status, 400)
    assert.is((await ask(`POST / HTTP/1.1\r\n${H}Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello`)).status, 400)
    assert.is((await ask(`POST / HTTP/1.1\r\n${H}Content-Length: 5, 5\r\n\r\nhello`)).status, 400)
  })

  test('no Host', async () => {
    assert.is((await ask('GET / HTTP/1.1\r\n\r\n')).status, 400)
    assert.is((await ask('GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n')).status, 400)
    assert.is((await ask('GET / HTTP/1.0\r\n\r\n')).status, 200)
  })

  test('absolute-form, * and authority-form', async () => {
    const absolute = (await ask(`GET http://example.com:81/a%20b?c=d HTTP/1.1\r\n${H}\r\n`)).environ!
    assert.equal([absolute.PATH_INFO, absolute.RAW_PATH_INFO, absolute.QUERY_STRING, absolute.HTTP_HOST], ['/a b', '/a%20b', 'c=d', 'example.com:81'])
    assert.is(absolute.REQUEST_URI, 'http://example.com:81/a%20b?c=d')
    const asterisk = (await ask(`OPTIONS * HTTP/1.1\r\n${H}\r\n`)).environ!
    assert.equal([asterisk.PATH_INFO, asterisk.RAW_PATH_INFO, asterisk.REQUEST_URI], ['*', '*', '*'])
    const tunnel = await ask(`CONNECT example.com:443 HTTP/1.1\r\n${H}\r\n`)
    assert.is(tunnel.status, 501)
    assert.is(tunnel.environ, null)
    assert.is((await ask(`GET example.com:443 HTTP/1.1\r\n${H}\r\n`)).status, 400)
  })

  test('no query', async () => {
    for (const [target, query] of [['/', ''], ['/?', ''], ['/?a=b?c', 'a=b?c']]) {
      const environ = (await ask(`GET ${target} HTTP/1.1\r\n${H}\r\n`)).environ!
      assert.ok('QUERY_STRING' in environ)
      assert.is(environ.QUERY_STRING, query)
    }
  })

  test('trailers', async () => {
    const seen: unknown[] = []
    await h.serve(async (environ, startResponse) => {
      seen.push(environ['wirelet.trailers'])
      const content = await environ['wsgi.input'].read()
      seen.push(environ['wirelet.trailers'], environ.HTTP_X_SUM, environ.HTTP_CONTENT_LENGTH)
      startResponse('200 OK', [])
      return [content]
    })
    const client = await h.connect()
    // CVE-2025-58068: whoever leaves them unread takes them for a request.
    await client.send(`POST / HTTP/1.1\r\n${H}${CHUNKED}\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\nx-sum: 2\r\n\r\nGET / HTTP/1.1\r\n${H}${CLOSE}\r\n`)
    assert.is((await client.response()).text, 'abc')
    await client.response()
    assert.is(await client.closed, 'end')
    assert.equal(seen.slice(0, 4), [null, [['X-Sum', '1'], ['x-sum', '2']], undefined, undefined])
    // Drained ones too, and what may not stand in them is refused.
    await h.serve(echoPath)
    const other = await h.connect()
    await other.send(`POST /unread HTTP/1.1\r\n${H}${CHUNKED}\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\nGET /next HTTP/1.1\r\n${H}\r\n`)
    assert.equal((await other.responses(2)).map(answer => answer.text), ['/unread', '/next'])
    await other.send(`POST / HTTP/1.1\r\n${H}${CHUNKED}\r\n0\r\nContent-Length: 5\r\n\r\n`)
    assert.is((await other.response()).status, 400)
  })
}).run()
