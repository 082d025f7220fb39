// eventlet wsgi_test.py, TestHttpd: what the log says, and of whom.
import * as assert from 'uvu/assert'
import type { Environ } from '../../src/server/application.ts'
import { listen } from '../../src/io/listener.ts'
import { DEFAULT_LOG_FORMAT } from '../../src/server/options.ts'
import { serve } from '../../src/server/serve.ts'
import { Harness, onEveryTransport } from '../support/harness.ts'
import { connectTo } from '../support/sockets.ts'
import { H, TextLog, hello } from './support.ts'

onEveryTransport('parity: logs', (h, test) => {
  test('test_020_x_forwarded_for', async () => {
    const request = `GET / HTTP/1.1\r\n${H}X-Forwarded-For: 1.2.3.4, 5.6.7.8\r\n\r\n`
    for (const logXForwardedFor of [true, false]) {
      const log = new TextLog()
      const { server } = await h.serve(hello, { log, logFormat: DEFAULT_LOG_FORMAT, logXForwardedFor })
      const client = await h.connect()
      await client.send(request)
      await client.response()
      await server.close({ timeout: 0 })
      const line = log.lines.find(each => each.includes('"GET / HTTP/1.1"'))!
      const address = logXForwardedFor ? '1\\.2\\.3\\.4,5\\.6\\.7\\.8,127\\.0\\.0\\.1' : '127\\.0\\.0\\.1'
      assert.match(line, new RegExp(`^${address} - - \\[\\d\\d/[A-Z][a-z]{2}/\\d{4} \\d\\d:\\d\\d:\\d\\d\\] "GET / HTTP/1\\.1" 200 11 \\d+\\.\\d{6}$`))
    }
  })

  test('test_026_log_format', async () => {
    const log = new TextLog()
    const { server } = await h.serve(hello, { log, logFormat: 'HI %(request_line)s HI' })
    const client = await h.connect()
    await client.send(`GET /yo! HTTP/1.1\r\n${H}\r\n`)
    await client.response()
    await server.close({ timeout: 0 })
    assert.ok(log.lines.includes('HI GET /yo! HTTP/1.1 HI'), log.text)
  })

  test('test_log_disable', async () => {
    const log = new TextLog()
    const { server } = await h.serve(hello, { log, logOutput: false })
    const client = await h.connect()
    await client.send(`GET / HTTP/1.1\r\n${H}\r\n`)
    await client.response()
    await server.close({ timeout: 0 })
    assert.is(log.text, '')
  })

  test('test_log_unix_address', async () => {
    const unix = new Harness({ name: 'unix', transport: h.kind.transport, over: 'unix' })
    await unix.run(async () => {
      const log = new TextLog()
      let seen: Environ | null = null
      const { server, path } = await unix.serve((environ, startResponse) => {
        seen = { ...environ }
        return hello(environ, startResponse)
      }, { log, logFormat: DEFAULT_LOG_FORMAT })
      const client = await unix.connect()
      await client.send(`GET / HTTP/1.0\r\n${H}\r\n`)
      const answer = (await client.untilEnd()).toString('latin1')
      assert.ok(answer.startsWith('HTTP/1.1 200 OK\r\n'))
      await server.close({ timeout: 0 })
      assert.match(log.lines[0]!, /^\(\d+\) wsgi starting up on http:\//)
      assert.ok(log.lines[0]!.includes(`http:${path} `))
      assert.is(log.lines.filter(line => line.startsWith('unix - - [')).length, 1)
      const { SERVER_NAME, SERVER_PORT, REMOTE_ADDR, REMOTE_PORT } = seen!
      assert.equal([SERVER_NAME, SERVER_PORT, REMOTE_ADDR, REMOTE_PORT], ['unix', '', 'unix', ''])
    })
  })

  test('test_ipv6', async () => {
    const log = new TextLog()
    const listener = await listen({ port: 0, host: '::1' }).catch((error: NodeJS.ErrnoException) => {
      // A box without IPv6 has nothing to test: without ::1, or without the family (ipv6.disable=1).
      assert.ok(['EADDRNOTAVAIL', 'EAFNOSUPPORT'].includes(error.code!), error.code)
      return null
    })
    if (listener === null) return
    const server = serve(listener, hello, { log, transport: h.kind.transport })
    await server.close()
    assert.match(log.lines[0]!, /^\(\d+\) wsgi starting up on http:\/\/\[::1\]:\d+ \((stream|handle) transport\)$/)
    assert.match(log.lines.at(-1)!, /^\(\d+\) wsgi exited/)
  })

  test('what is no log is refused at the start', async () => {
    // There an AttributeError at the first line; lines that nobody gets are worse.
    const listener = await listen(0)
    try {
      for (const log of [{}, { info: () => {}, debug: () => {} }, 'stderr']) {
        const start = (): unknown => serve(listener, hello, { log: log as never, transport: h.kind.transport })
        assert.throws(start, (error: { code?: string }) => error.code === 'ERR_WIRELET_USAGE')
      }
    } finally {
      await listener.close()
    }
  })

  test('a logger with levels gets access lines and tracebacks at their level', async () => {
    // Reference P3: what has `info` and `debug` is a logger.
    const lines: [string, string][] = []
    const log = {
      info: (line: string): unknown => lines.push(['info', line]),
      debug: (line: string): unknown => lines.push(['debug', line]),
      error: (line: string): unknown => lines.push(['error', line])
    }
    const { server, port } = await h.serve((environ, startResponse) => {
      if (environ.PATH_INFO === '/broken') throw new Error('as the test wants it')
      return hello(environ, startResponse)
    }, { log, logFormat: '%(request_line)s %(status_code)d' })
    for (const path of ['/', '/broken']) {
      const client = h.client(await connectTo(port))
      await client.send(`GET ${path} HTTP/1.1\r\n${H}\r\n`)
      await client.response()
    }
    await server.close({ timeout: 0 })
    const at = (level: string): string[] => lines.filter(line => line[0] === level).map(line => line[1].split('\n')[0]!)
    assert.equal(at('info').filter(line => line.startsWith('GET')), ['GET / HTTP/1.1 200', 'GET /broken HTTP/1.1 500'])
    assert.is(at('debug').filter(line => line.includes('accepted 127.0.0.1:')).length, 2)
    assert.match(at('error')[0]!, /the application failed: Error: as the test wants it/)
  })
}).run()
