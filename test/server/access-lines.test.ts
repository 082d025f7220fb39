// Access lines as requests over the wire make them. What a template can say is test/server/access-log.test.ts's.
import * as assert from 'uvu/assert'
import { ALREADY_HANDLED, type Application } from '../../src/server/application.ts'
import { DEFAULT_LOG_FORMAT, type ServeOptions } from '../../src/server/options.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { echoPath, get, type Harness, onEveryTransport, pass, post, until, type Running } from '../support/harness.ts'
import type { RawClient } from '../support/raw-client.ts'

const SIZES = '%(status_code)d %(body_length)d %(wire_length)d'

/** A server with this format, a client of it, and its access lines as they come. */
async function started(h: Harness, application: Application, logFormat: string, options: ServeOptions = {}): Promise<{ client: RawClient; running: Running; line(): Promise<string> }> {
  const running = await h.serve(application, { logFormat, ...options })
  let read = 0
  return {
    running,
    client: await h.connect(running),
    line: async () => {
      await until(() => running.access.length > read, 'an access line')
      return running.access[read++]!
    }
  }
}

onEveryTransport('access lines', (h, test) => {
  const peer = h.kind.over === 'unix' ? 'unix' : '127\\.0\\.0\\.1'
  const port = h.kind.over === 'unix' ? '0' : '\\d+'

  test("default: eventlet's line, every field", async () => {
    const { client, line } = await started(h, echoPath, DEFAULT_LOG_FORMAT)
    await client.send(get('/a%20b?c=d'))
    await client.response()
    assert.match(await line(), new RegExp(`^${peer} - - \\[\\d\\d/[A-Z][a-z]{2}/\\d{4} \\d\\d:\\d\\d:\\d\\d\\] "GET /a%20b\\?c=d HTTP/1\\.1" 200 4 \\d+\\.\\d{6}$`))
  })

  test('default: X-Forwarded-For in front, spaces out; the option turns it off', async () => {
    for (const logXForwardedFor of [true, false]) {
      const { client, line } = await started(h, echoPath, DEFAULT_LOG_FORMAT, { logXForwardedFor })
      await client.send(get('/', 'X-Forwarded-For: 192.0.2.1, 192.0.2.2\r\nX-Forwarded-For: 192.0.2.3\r\n'))
      await client.response()
      assert.match(await line(), new RegExp(`^${logXForwardedFor ? '192\\.0\\.2\\.1,192\\.0\\.2\\.2,192\\.0\\.2\\.3,' : ''}${peer} - - `))
    }
  })

  test('common, combined, json: the socket\'s own address, whatever the peer says of itself', async () => {
    const fields = 'X-Forwarded-For: 192.0.2.1\r\nReferer: http://r/"x\r\nUser-Agent: curl/8\\\r\n'
    const common = `${peer} - - \\[\\d\\d/[A-Z][a-z]{2}/\\d{4}:\\d\\d:\\d\\d:\\d\\d [+-]\\d{4}\\] "GET /x HTTP/1\\.1" 200 2`
    const expected: [string, RegExp][] = [
      ['common', new RegExp(`^${common}$`)],
      ['combined', new RegExp(`^${common} "http://r/\\\\"x" "curl/8\\\\\\\\"$`)]
    ]
    for (const [logFormat, pattern] of expected) {
      const { client, line } = await started(h, echoPath, logFormat)
      await client.send(get('/x', fields))
      await client.response()
      assert.match(await line(), pattern)
    }
    const { client, line } = await started(h, echoPath, 'json')
    await client.send(get('/x', fields))
    const answer = await client.response()
    const entry = JSON.parse(await line()) as Record<string, unknown>
    assert.match(String(entry['time']), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
    assert.match(String(entry['peer_ip']), new RegExp(`^${peer}$`))
    assert.match(String(entry['peer_port']), new RegExp(`^${port}$`))
    assert.type(entry['wall_seconds'], 'number')
    for (const name of ['time', 'peer_ip', 'peer_port', 'wall_seconds']) delete entry[name]
    assert.equal(entry, {
      method: 'GET', target: '/x', protocol: 'HTTP/1.1', status_code: 200, body_length: 2, wire_length: answer.raw.length, referer: 'http://r/"x', user_agent: 'curl/8\\'
    })
  })

  test('one request is one line, whatever is in it', async () => {
    const { client, line, running } = await started(h, echoPath, '%(request_line)s|%(user_agent)s|%(client_ip)s')
    await client.send(get('/', 'User-Agent: a\tb\x80\xff\r\nX-Forwarded-For: 192.0.2.1\x9b31m\r\n'))
    await client.response()
    const text = await line()
    assert.match(text, /^GET \/ HTTP\/1\.1\|a\\x09b\\x80\\xff\|192\.0\.2\.1\\x9b31m,/)
    // What is no request at all: as far as it came, escaped.
    await client.send('GET /\x1b[2J\r\n\r\n')
    await client.response()
    const refused = await line()
    assert.match(refused, /^GET \/\\x1b\[2J\|-\|/)
    assert.ok(running.access.every(each => /^[\x20-\x7e]+$/.test(each)))
  })

  // ── Lengths ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  test('body_length is content, wire_length all: an array, a stream in chunks, HEAD, 204, 304, HTTP/1.0', async () => {
    const application: Application = (environ, startResponse) => {
      switch (environ.PATH_INFO) {
        case '/204': startResponse(204); return []
        case '/304': startResponse(304, [['Content-Length', '7']]); return []
        case '/stream': startResponse(200); return ['abc', 'def', 'g'].values()
        default: startResponse(200); return ['abc', 'def', 'g']
      }
    }
    const { client, line } = await started(h, application, SIZES)
    const ask = async (request: string, method = 'GET'): Promise<string> => {
      await client.send(request)
      const answer = await client.response({ method })
      return `${answer.status} ${answer.body.length} ${answer.raw.length}`
    }
    for (const path of ['/', '/stream', '/204', '/304']) {
      const expected = await ask(get(path))
      assert.is(await line(), expected, path)
    }
    const head = await ask(get('/').replace('GET', 'HEAD'), 'HEAD')
    assert.match(head, /^200 0 /)
    assert.is(await line(), head)
    const old = await ask(get('/stream', '', '1.0'))
    assert.match(old, /^200 7 /)
    assert.is(await line(), old)
  })

  test('multi-byte text counts in bytes', async () => {
    const { client, line } = await started(h, (_environ, startResponse) => {
      startResponse(200)
      return ['é', '€', '😀']
    }, '%(body_length)d')
    await client.send(get())
    await client.response()
    assert.is(await line(), '9')
  })

  test('pipelined: one line each, in the order of the requests', async () => {
    const { client, line } = await started(h, echoPath, '%(request_line)s %(body_length)d')
    await client.send(get('/1') + get('/22') + 'nonsense\r\n\r\n')
    await client.responses(3)
    assert.is(await line(), 'GET /1 HTTP/1.1 2')
    assert.is(await line(), 'GET /22 HTTP/1.1 3')
    assert.match(await line(), /^nonsense \d+$/)
  })

  // ── What did not go as usual ─────────────────────────────────────────────────────────────────────────────────────────────────────

  test('refused: status, lengths and the reason at the end of the default line', async () => {
    const { client, line } = await started(h, echoPath, DEFAULT_LOG_FORMAT)
    await client.send('GET /no HTTP/1.1\r\n\r\n')
    const answer = await client.response()
    assert.is(answer.status, 400)
    assert.match(await line(), new RegExp(`^${peer} - - \\[.*\\] "GET /no HTTP/1\\.1" 400 ${answer.body.length} \\d+\\.\\d{6} "HPE_[A-Z_]+: .+"$`))
  })

  test('refused: wire_length is what was sent', async () => {
    const { client, line } = await started(h, echoPath, SIZES)
    await client.send('GET /no HTTP/1.1\r\n\r\n')
    const answer = await client.response()
    assert.is(await line(), `400 ${answer.body.length} ${answer.raw.length}`)
  })

  test('refused for its announced content: its request line is known', async () => {
    const { client, line } = await started(h, echoPath, '%(request_line)s %(status_code)d %(reason)s', { limits: { maxBodySize: 3 } })
    await client.send(post('/big', 'four', 'User-Agent: t\r\n'))
    assert.is((await client.response()).status, 413)
    assert.match(await line(), /^POST \/big HTTP\/1\.1 413 HPE_/)
  })

  test('a request whose time ran out: 408, with its reason', async () => {
    const clock = new FakeClock()
    const { client, line } = await started(h, echoPath, '%(request_line)s %(status_code)d %(reason)s', { clock })
    await client.send('GET /slow HTTP/1.1\r\nHost:')
    await until(() => clock.pending() > 0, 'the clock to be wound')
    await pass(clock, 31_500)
    assert.is((await client.response()).status, 408)
    assert.match(await line(), /^GET \/slow HTTP\/1\.1 408 HPE_/)
  })

  test('an application that fails: 500', async () => {
    const { client, line } = await started(h, () => { throw new Error('as the test wants it') }, SIZES)
    await client.send(get())
    const answer = await client.response()
    assert.is(await line(), `500 0 ${answer.raw.length}`)
  })

  test('aborted: one line, with what the peer may have had', async () => {
    const { client, line, running } = await started(h, (_environ, startResponse) => {
      startResponse(200)
      return (async function* () {
        yield 'x'.repeat(5000)
        await new Promise(() => {})
      })()
    }, '%(request_line)s %(status_code)d %(body_length)d')
    await client.send(get('/cut'))
    await until(() => client.received >= 5000, 'the first piece')
    // A unix socket has no reset, and an end is none: the drain's deadline cuts there.
    if (h.kind.over === 'tcp') client.resetNow()
    else void running.server.close({ timeout: 0 })
    assert.is(await line(), 'GET /cut HTTP/1.1 200 5000')
  })

  test('taken over: 200 and nothing, whatever was said on it', async () => {
    const { client, line, running } = await started(h, environ => {
      const duplex = environ['wirelet.upgrade']()
      duplex.end('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\nthe end')
      return ALREADY_HANDLED
    }, `%(request_line)s ${SIZES}`)
    await client.send(get('/up'))
    await client.interim()
    await client.end()
    await client.untilEnd()
    assert.is(await line(), 'GET /up HTTP/1.1 200 0 0')
    assert.is(running.access.length, 1)
  })

  test('after the hooks', async () => {
    let release: () => void = () => {}
    const { client, line, running } = await started(h, (environ, startResponse) => {
      environ['eventlet.posthooks'].push([() => new Promise<void>(resolve => (release = resolve))])
      return echoPath(environ, startResponse)
    }, '%(status_code)d')
    await client.send(get())
    await client.response()
    assert.equal(running.access, [])
    release()
    assert.is(await line(), '200')
  })

  test('wall_seconds is seconds, from the head to the end of the answer', async () => {
    const clock = new FakeClock()
    clock.advance(5)
    const { client, line } = await started(h, async (environ, startResponse) => {
      await null
      clock.advance(34)
      return echoPath(environ, startResponse)
    }, '%(wall_seconds).3f', { clock })
    await client.send(get())
    await client.response()
    assert.is(await line(), '0.034')
  })

  // ── request_id ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  test('request_id: generated, each its own; a peer\'s own is never used', async () => {
    const { client, line } = await started(h, echoPath, '%(request_id)s')
    const ids = new Set<string>()
    for (let i = 0; i < 20; i++) {
      await client.send(get('/', 'X-Request-Id: mine\r\nRequest-Id: mine\r\n'))
      await client.response()
      const id = await line()
      assert.match(id, /^[0-9A-Za-z_-]{12,}$/)
      assert.not.match(id, 'mine')
      ids.add(id)
    }
    assert.is(ids.size, 20)
  })

  test('request_id: none for what was refused before it was a request', async () => {
    const { client, line } = await started(h, echoPath, '%(request_id)s %(status_code)d')
    await client.send('nonsense\r\n\r\n')
    await client.response()
    assert.is(await line(), '- 400')
  })

  // ── Where they go ────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  test('a sink with write() alone: whole lines, the last of them before close() has resolved', async () => {
    let text = ''
    const { server } = await h.serve(echoPath, { log: { write: (more: string) => (text += more) }, logFormat: '%(request_line)s' })
    const client = await h.connect()
    await client.send(get('/1') + get('/2'))
    await client.responses(2)
    client.destroy()
    await server.close()
    const lines = text.split('\n')
    assert.is(lines.pop(), '')
    assert.match(lines[0]!, new RegExp(`^\\(\\d+\\) wsgi starting up on http:.* \\(${h.kind.transport} transport\\)$`))
    assert.equal(lines.filter(line => line.startsWith('GET')), ['GET /1 HTTP/1.1', 'GET /2 HTTP/1.1'])
    assert.match(lines.at(-1)!, /^\(\d+\) wsgi exited$/)
  })

  test('a logger: access lines to access(), else to info(); null: none are made', async () => {
    const make = (): Record<'info' | 'debug' | 'error', (line: string) => void> & { lines: string[] } => {
      const lines: string[] = []
      return { lines, info: line => lines.push(`info ${line}`), debug: line => lines.push(`debug ${line}`), error: line => lines.push(`error ${line}`) }
    }
    const withAccess = make()
    const plain = make()
    const without = make()
    const logs = [{ ...withAccess, access: (line: string) => withAccess.lines.push(`access ${line}`) }, plain, { ...without, access: null }]
    for (const log of logs) {
      const running = await h.serve(echoPath, { log, logFormat: '%(request_line)s' })
      const client = await h.connect(running)
      await client.send(get('/x'))
      await client.response()
      client.destroy()
      await running.server.close({ timeout: 0 })
    }
    const of = (lines: string[]): string[] => lines.filter(line => line.includes('GET'))
    assert.equal([withAccess, plain, without].map(each => of(each.lines)), [['access GET /x HTTP/1.1'], ['info GET /x HTTP/1.1'], []])
  })

  test('a logger that throws takes nothing with it', async () => {
    const broken = (): never => { throw new Error('a broken logger') }
    await h.serve(echoPath, { log: { info: broken, debug: broken, error: broken } })
    const client = await h.connect()
    await client.send(get('/1') + get('/2'))
    assert.equal((await client.responses(2)).map(each => each.text), ['/1', '/2'])
  })

  test('logOutput: false silences all but failures', async () => {
    let text = ''
    const { server } = await h.serve((environ, startResponse) => {
      if (environ.PATH_INFO === '/broken') throw new Error('as the test wants it')
      return echoPath(environ, startResponse)
    }, { log: { write: (more: string) => (text += more) }, logOutput: false })
    const client = await h.connect()
    await client.send(get('/fine') + get('/broken'))
    await client.responses(2)
    client.destroy()
    await server.close({ timeout: 0 })
    const lines = text.split('\n').filter(line => line !== '' && !line.startsWith('    at '))
    assert.is(lines.length, 1, text)
    assert.match(lines[0]!, /the application failed: Error: as the test wants it/)
  })

  test('wsgi.errors is standard error, and not the access log', async () => {
    const written: string[] = []
    const stock = process.stderr.write
    process.stderr.write = ((text: string) => written.push(text) > 0) as typeof stock
    try {
      const { client, running } = await started(h, (environ, startResponse) => {
        environ['wsgi.errors'].write('a word of the application\n')
        return echoPath(environ, startResponse)
      }, '%(status_code)d')
      await client.send(get())
      await client.response()
      await until(() => running.access.length === 1, 'the line')
      assert.equal(running.log.filter(line => line.includes('a word')), [])
    } finally {
      process.stderr.write = stock
    }
    assert.equal(written, ['a word of the application\n'])
  })

  test('keep-alive: the line of one request does not wait for the next', async () => {
    const { client, line } = await started(h, echoPath, '%(request_line)s')
    await client.send(get('/1'))
    await client.response()
    assert.is(await line(), 'GET /1 HTTP/1.1')
    await client.send(get('/2'))
    await client.response()
    assert.is(await line(), 'GET /2 HTTP/1.1')
  })
}, { unix: true }).run()
