// Defects of the original that must not come back (reference §1.17): what a peer sends. Each test fails when its defect is put back.
import * as assert from 'uvu/assert'
import type { Application, Environ } from '../../src/server/application.ts'
import { echoPath, onEveryTransport, turns, until } from '../support/harness.ts'
import { CHUNKED, CLOSE, H, TextLog, hello } from './support.ts'

const SMUGGLED = `GET /smuggled HTTP/1.1\r\n${H}\r\n`

onEveryTransport('parity: defects, requests', (h, test) => {
  /** One connection, one segment. All that the application was called for, and the statuses that came back before the end. */
  async function exchange(bytes: string, site: Application = echoPath): Promise<{ calls: string[]; statuses: number[] }> {
    const calls: string[] = []
    const { errors } = await h.serve((environ, startResponse) => {
      calls.push(environ.RAW_PATH_INFO)
      return site(environ, startResponse)
    })
    const client = await h.connect()
    await client.send(bytes)
    await client.end()
    const text = (await client.untilEnd()).toString('latin1')
    assert.equal(errors, [])
    return { calls, statuses: [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(match => Number(match[1])) }
  }

  async function refused(bytes: string, status: number, what: string, site?: Application): Promise<void> {
    const { calls, statuses } = await exchange(bytes, site)
    assert.equal([calls, statuses], [[], [status]], what)
  }

  test('D2: an unknown Transfer-Encoding is no absent body', async () => {
    const values: [string, number][] = [
      ['gzip, chunked', 501], ['identity', 400], ['chunked, chunked', 400], [`chunked\r\n${CHUNKED.trim()}`, 400], ['\x0bchunked', 400]
    ]
    for (const [value, status] of values) {
      await refused(`POST / HTTP/1.1\r\n${H}Transfer-Encoding: ${value}\r\n\r\n${SMUGGLED}`, status, JSON.stringify(value))
    }
  })

  test('D3: Content-Length is digits, once', async () => {
    for (const value of ['5\r\nContent-Length: 0', '0\r\nContent-Length: 5', '5\r\nContent-Length: 5', '+5', '0_5', '5,5', '0x5', '5 5']) {
      await refused(`POST / HTTP/1.1\r\n${H}Content-Length: ${value}\r\n\r\n${SMUGGLED}`, 400, JSON.stringify(value))
    }
  })

  test('D4: a bad field line hides none after it', async () => {
    for (const line of ['no colon', 'Name : v', ': v', ' leading: v']) {
      await refused(`POST / HTTP/1.1\r\n${H}${line}\r\nContent-Length: ${SMUGGLED.length}\r\n\r\n${SMUGGLED}`, 400, line)
    }
  })

  test('D5: CR, LF and folded lines end nothing', async () => {
    for (const line of ['X: a\rContent-Length: 5', 'X: a\nContent-Length: 5', 'X: a\r\n b', 'X: a\r\n\tb', 'X: a\x00b']) {
      await refused(`POST / HTTP/1.1\r\n${H}${line}\r\n\r\n${SMUGGLED}`, 400, JSON.stringify(line))
    }
    await refused(`GET / HTTP/1.1\n${H}\r\n${SMUGGLED}`, 400, 'a request line that ends in LF')
  })

  test('D6: chunks are framed by the grammar alone', async () => {
    const readAll: Application = async (environ, startResponse) => {
      await environ['wsgi.input'].read()
      return hello(environ, startResponse)
    }
    const bodies = ['0x5', '+5', ' 5 ', '0_5', '-5', '5 5', ''].map(size => `${size}\r\nhello\r\n0\r\n\r\n`)
    bodies.push('5\r\nhelloX\r\n0\r\n\r\n', '5\r\nhello\n0\r\n\r\n', '5\nhello\r\n0\r\n\r\n', '5;ext\nhello\r\n0\r\n\r\n', '5\r\nhello\r\n0\r\n\n')
    bodies.push('0000000000000000005\r\nhello\r\n0\r\n\r\n')
    for (const body of bodies) await refused(`POST / HTTP/1.1\r\n${H}${CHUNKED}\r\n${body}${SMUGGLED}`, 400, JSON.stringify(body), readAll)
    const long = '1;' + 'e'.repeat(1000) + '\r\nx\r\n'
    const trailers = Array.from({ length: 20 }, (_, i) => `T${i}: ${'t'.repeat(1000)}\r\n`).join('')
    // More than every kernel delivers at once: the application may have been called.
    for (const [content, status] of [[`${long.repeat(20)}0\r\n\r\n`, 400], [`0\r\n${trailers}\r\n`, 431]] as const) {
      assert.equal((await exchange(`POST / HTTP/1.1\r\n${H}${CHUNKED}\r\n${content}`, readAll)).statuses, [status])
    }
  })

  test('D7: a head cut off by the end of the connection is not executed', async () => {
    const whole = `GET /cut HTTP/1.1\r\n${H}X: y\r\n\r\n`
    for (const length of [3, 12, 17, 19, 30, whole.length - 2, whole.length - 1]) {
      await refused(whole.slice(0, length), 400, `${length} octets`)
    }
    const { calls, statuses } = await exchange('')
    assert.equal([calls, statuses], [[], []])
  })

  test('D8: reads stay inside the content', async () => {
    const results: unknown[] = []
    const reads: Application = async (environ, startResponse) => {
      const input = environ['wsgi.input']
      if (environ.PATH_INFO === '/read') results.push(String(await input.read(-1)))
      if (environ.PATH_INFO === '/readline') results.push(String(await input.readline(-1)), String(await input.readline(-1)))
      if (environ.PATH_INFO === '/readlines') results.push((await input.readlines()).map(String), String(await input.read()))
      return echoPath(environ, startResponse)
    }
    for (const path of ['/read', '/readline', '/readlines']) {
      const { calls, statuses } = await exchange(`POST ${path} HTTP/1.1\r\n${H}Content-Length: 7\r\n\r\nab\ncdef${SMUGGLED}`, reads)
      assert.equal([calls, statuses], [[path, '/smuggled'], [200, 200]])
    }
    assert.equal(results, ['ab\ncdef', 'ab\n', 'cdef', ['ab\n', 'cdef'], ''])
  })

  test('D15: what is refused before the application has a status line, a log line and a hook', async () => {
    const { access, peerErrors } = await h.serve(hello)
    const requests: [string, number][] = [
      ['nonsense\r\n\r\n', 400], ['GET /\r\n\r\n', 400], [`GET / HTTP/3.0\r\n${H}\r\n`, 505],
      [`GET / HTTP/1.1\r\n${H}${'x: y\r\n'.repeat(101)}\r\n`, 431]
    ]
    for (const [bytes, status] of requests) {
      const client = await h.connect()
      await client.send(bytes)
      const answer = await client.response()
      assert.is(answer.status, status)
      assert.is(answer.header('content-type'), 'text/plain')
      assert.is(answer.header('connection'), 'close')
      assert.ok(answer.has('date'))
      assert.not(answer.has('server'))
      assert.is(await client.closed, 'end')
    }
    assert.equal(access.map(line => / (\d{3}) \d+ HPE_/.exec(line)?.[1]), ['400', '400', '505', '431'])
    assert.equal(peerErrors.map(event => [event.status, /^HPE_[A-Z_]+$/.test(event.name), event.remoteAddress]), [
      [400, true, '127.0.0.1'], [400, true, '127.0.0.1'], [505, true, '127.0.0.1'], [431, true, '127.0.0.1']
    ])
  })

  test('D16: the answer is not lost behind input that nobody reads', async () => {
    await h.serve(hello)
    for (const request of [`GET /${'x'.repeat(9000)} HTTP/1.1\r\n`, `POST / HTTP/1.1\r\n${H}${CLOSE}Content-Length: 600000\r\n\r\n`]) {
      const client = await h.connect()
      // As a peer that sends everything before it reads: closing with its octets unread would reset the connection under the answer.
      client.pause()
      await client.send(request)
      await client.send(Buffer.alloc(500_000, 'x'))
      await turns(20)
      client.resume()
      const answer = await client.response()
      assert.is(answer.header('connection'), 'close')
      assert.is(await client.closed, 'end')
    }
  })

  test('D17: an unread body is drained up to a limit, and bodies have one too', async () => {
    await h.serve(hello, { limits: { maxDrain: 10_000 } })
    // Known to be too long: the answer says so, and only so much is taken in.
    const announced = await h.connect()
    await announced.send(`POST / HTTP/1.1\r\n${H}Content-Length: 10001\r\n\r\n`)
    assert.is((await announced.response()).header('connection'), 'close')
    const short = await h.connect()
    await short.send(`POST / HTTP/1.1\r\n${H}Content-Length: 10000\r\n\r\n`)
    assert.not((await short.response()).has('connection'))
    await short.send(`${'x'.repeat(10000)}GET / HTTP/1.1\r\n${H}\r\n`)
    assert.is((await short.response()).status, 200)
    // Of unknown length: drained until it is too much.
    const endless = await h.connect()
    await endless.send(`POST / HTTP/1.1\r\n${H}${CHUNKED}\r\n`)
    assert.is((await endless.response()).status, 200)
    let broken = false
    const chunk = `3e8\r\n${'x'.repeat(1000)}\r\n`
    for (let i = 0; i < 5_000 && !broken; i++) {
      await endless.send(chunk).catch(() => (broken = true))
      await turns(1)
    }
    assert.ok(broken)
    const { peerErrors } = await h.serve(hello, { limits: { maxBodySize: 1000 } })
    const tooLarge = await h.connect()
    await tooLarge.send(`POST / HTTP/1.1\r\n${H}Content-Length: 1001\r\n\r\n`)
    assert.is((await tooLarge.response()).status, 413)
    assert.is(peerErrors[0]!.name, 'HPE_BODY_TOO_LARGE')
  })

  test('D20: versions and cookies are told as they are', async () => {
    const seen: Environ[] = []
    const streaming: Application = (environ, startResponse) => {
      seen.push({ ...environ })
      startResponse('200 OK', [])
      return ['no', ' length'].values()
    }
    await h.serve(streaming, { maxHttpVersion: 'HTTP/1.0' })
    const old = await h.connect()
    await old.send(`GET / HTTP/1.1\r\n${H}Connection: keep-alive\r\n\r\n`)
    const answer = await old.response()
    assert.equal([answer.version, answer.framing, answer.header('connection'), answer.text], ['HTTP/1.0', 'close', 'close', 'no length'])
    await h.serve(streaming)
    for (const version of ['1.0', '1.1']) {
      const client = await h.connect()
      await client.send(`GET / HTTP/${version}\r\n${H}Cookie: a=1\r\nAccept: x\r\nCookie: b=2\r\nAccept: y\r\n\r\n`)
      await client.response()
    }
    assert.equal(seen.slice(1).map(environ => [environ.SERVER_PROTOCOL, environ.HTTP_COOKIE, environ.HTTP_ACCEPT]), [
      ['HTTP/1.0', 'a=1; b=2', 'x, y'],
      ['HTTP/1.1', 'a=1; b=2', 'x, y']
    ])
  })

  test('D21: one request is one line, whatever the peer puts into it', async () => {
    const request = `GET /"\x1b HTTP/1.1\r\n${H}\r\n`
    const forwarded = `GET / HTTP/1.1\r\n${H}X-Forwarded-For: "evil"\r\nX-Forwarded-For: ${'9'.repeat(400)}\r\nUser-Agent: a"b\\c\xe9\r\n\r\n`
    for (const logFormat of ['%(client_ip)s "%(request_line)s" "%(user_agent)s"', 'common', 'combined', 'json']) {
      const log = new TextLog()
      const { server } = await h.serve(hello, { log, logFormat })
      for (const bytes of [request, forwarded]) {
        const client = await h.connect()
        await client.send(bytes)
        await client.response()
        await client.end()
      }
      await until(() => server.connections === 0, 'the connections to be gone')
      await server.close({ timeout: 0 })
      const lines = log.lines.filter(line => !line.includes(') wsgi '))
      assert.is(lines.length, 2, `${logFormat}: ${log.text}`)
      for (const line of lines) assert.match(line, /^[\x20-\x7e]+$/)
      // The presets name the socket's own address, whatever the peer claims; the template holds so much of the claim.
      if (logFormat.startsWith('%')) assert.match(lines[1]!, /^\\"evil\\",9{249},127\.0\.0\.1 "/)
      else assert.ok(lines.every(line => line.includes('127.0.0.1') && !line.includes('evil')))
      if (logFormat === 'json') lines.forEach(line => JSON.parse(line))
    }
  })

  test('D22: names that a peer chooses are keys and nothing else', async () => {
    const checks: unknown[] = []
    await h.serve((environ, startResponse) => {
      const copy: Record<string, unknown> = { ...environ }
      checks.push(
        environ.HTTP_CONSTRUCTOR, environ.HTTP_TOSTRING, environ.HTTP_VALUEOF, environ['HTTP___PROTO__'], environ.HTTP_PROXY,
        Object.getPrototypeOf(copy) === Object.prototype, ({} as Record<string, unknown>)['polluted'], process.env['HTTP_PROXY'],
        Object.keys(environ).filter(key => key.includes('PROTO_')), environ.headers_raw.filter(([name]) => name === '__proto__').length
      )
      return hello(environ, startResponse)
    })
    const client = await h.connect()
    const fields = 'constructor: c\r\ntoString: t\r\n__proto__: polluted\r\nproto: p\r\nProxy: http://evil\r\n'
    await client.send(`GET / HTTP/1.1\r\n${H}${fields}\r\n`)
    assert.is((await client.response()).status, 200)
    assert.equal(checks, ['c', 't', undefined, undefined, 'http://evil', true, undefined, process.env['HTTP_PROXY'], [], 1])
  })
}).run()
