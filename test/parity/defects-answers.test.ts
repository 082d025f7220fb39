// Defects of the original that must not come back (reference §1.17): what a server sends, and how it ends. Each test fails when its defect is put back.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import * as assert from 'uvu/assert'
import type { Application, Piece } from '../../src/server/application.ts'
import type { Listener } from '../../src/io/listener.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { deferred, onEveryTransport, pass, turns } from '../support/harness.ts'
import type { RawClient } from '../support/raw-client.ts'
import { connectTo } from '../support/sockets.ts'
import { within } from '../support/within.ts'
import { CHUNKED, CLOSE, H, hello } from './support.ts'

const GET = `GET / HTTP/1.1\r\n${H}\r\n`

onEveryTransport('parity: defects, answers', (h, test) => {
  async function served(application: Application, options = {}): Promise<{ client: RawClient; errors: string[] }> {
    const { errors } = await h.serve(application, options)
    return { client: await h.connect(), errors }
  }

  test('D1: no octet of content in an answer that has none', async () => {
    const site: Application = (environ, startResponse) => {
      const [, status, shape] = environ.PATH_INFO.split('/')
      const write = startResponse(Number(status), [])
      const pieces = ['HTTP/1.1 200 OK\r\n', 'Content-Length: 0\r\n\r\n']
      if (shape === 'write') for (const piece of pieces) void write(piece)
      return shape === 'write' ? [] : shape === 'iterator' ? pieces.values() : pieces
    }
    const { client } = await served(site)
    for (const shape of ['array', 'iterator', 'write']) {
      for (const status of [204, 304]) {
        await client.send(`GET /${status}/${shape} HTTP/1.1\r\n${H}\r\n`)
        assert.is((await client.response()).status, status, shape)
      }
      await client.send(`HEAD /200/${shape} HTTP/1.1\r\n${H}\r\n`)
      const head = await client.response({ method: 'HEAD' })
      assert.is(head.status, 200)
      // As GET would have it, where that is known.
      assert.is(head.header('content-length'), shape === 'array' ? '38' : '')
    }
    await client.send(`GET /205/array HTTP/1.1\r\n${H}\r\n`)
    assert.is((await client.response()).body.length, 0)
    await turns()
    assert.is(client.buffered, '')
  })

  test('D9: exactly one last chunk', async () => {
    const ways: Application[] = [
      (_environ, startResponse) => {
        const write = startResponse('200 OK', [])
        void write('')
        void write('one')
        return ['', 'two', ''].values()
      },
      (_environ, startResponse) => {
        const write = startResponse('200 OK', [])
        void write('onetwo')
        return []
      },
      (environ, startResponse) => {
        environ['eventlet.minimum_write_chunk_size'] = 0
        startResponse('200 OK', [])
        return ['', 'one', '', 'two', ''].values()
      }
    ]
    for (const way of ways) {
      const { client } = await served(way)
      // The parser of the tests knows no empty chunk but the last; what follows it is the next answer.
      await client.send(GET + GET)
      for (const answer of await client.responses(2)) assert.equal([answer.framing, answer.text], ['chunked', 'onetwo'])
    }
  })

  test('D10: an answer has the length that it announced, or is cut', async () => {
    const announcing = (length: number, body: () => Iterable<Piece>): Application => (_environ, startResponse) => {
      startResponse('200 OK', [['Content-Length', length]])
      return body()
    }
    for (const body of [() => ['hello', ' world'], () => ['hello', ' world'].values()]) {
      const more = await served(announcing(5, body))
      await more.client.send(GET + GET)
      const answer = await more.client.response()
      assert.is(answer.text, 'hello')
      // What was said of the connection may be on its way already; it ends here in any case.
      assert.is((await more.client.untilEnd()).length, 0)
      assert.is(more.errors.length, 1)
      const less = await served(announcing(12, body))
      await less.client.send(GET + GET)
      await less.client.reset
      assert.ok(less.client.buffered.endsWith('\r\n\r\nhello world'))
      assert.is(less.errors.length, 1)
    }
    let refused: unknown = null
    const writing = await served((_environ, startResponse) => {
      const write = startResponse('200 OK', [['Content-Length', 5]])
      void write('hello')
      try {
        void write('!')
      } catch (error) {
        refused = error
      }
      return []
    })
    await writing.client.send(GET)
    assert.is((await writing.client.response()).text, 'hello')
    assert.is((refused as { code: string }).code, 'ERR_WIRELET_INVALID_HEADER')
  })

  /** What startResponse says to each; whatever it is, nothing of it is on the wire. */
  async function refuses(attempts: [string | number, [string, string][]][]): Promise<void> {
    const codes: unknown[] = []
    const { client } = await served((environ, startResponse) => {
      for (const [status, headers] of attempts) {
        try {
          startResponse(status, headers)
          codes.push(`taken: ${JSON.stringify([status, headers])}`)
        } catch (error) {
          codes.push((error as { code: string }).code)
        }
      }
      return hello(environ, startResponse)
    })
    await client.send(GET)
    const answer = await client.response()
    assert.equal(codes, attempts.map(() => 'ERR_WIRELET_INVALID_HEADER'))
    assert.equal(answer.headers.map(([name]) => name), ['Content-Type', 'Content-Length', 'Date'])
  }

  test('D11: framing and hop-by-hop headers are not the application\'s', async () => {
    const headers: [string, string][] = [
      ['Transfer-Encoding', 'chunked'], ['transfer-encoding', 'identity'], ['Keep-Alive', 'timeout=1'], ['Connection', 'keep-alive'], ['Connection', 'x-y'],
      ['TE', 'trailers'], ['Proxy-Connection', 'close'], ['Upgrade', 'h2c'], ['Content-Length', '-1'], ['Content-Length', '1, 1']
    ]
    await refuses(headers.map(header => ['200 OK', [header]]))
    await refuses([['200 OK', [['Content-Length', '1'], ['content-length', '1']]]])
  })

  test('D12: no CR or LF gets into a head', async () => {
    const bad = ['a\r\nX-Evil: 1', 'a\nb', 'a\rb', 'a\x00b', '\u010aX-Evil: 1', 'a\u0100']
    await refuses(bad.flatMap(text => [[`200 ${text}`, []], ['200 OK', [['X-Name', text]]], ['200 OK', [[text, 'v']]]] as [string, [string, string][]][]))
    await refuses([['20 OK', []], ['OK', []], ['600 x', []], [99, []], ['101 Switching Protocols', []]])
  })

  test('D13: the application\'s Connection: close closes', async () => {
    const { client } = await served((_environ, startResponse) => {
      startResponse('200 OK', [['Connection', 'close']])
      return ['bye']
    })
    await client.send(GET + GET)
    const answer = await client.response()
    assert.is(answer.header('connection'), 'close')
    assert.is((await client.untilEnd()).length, 0)
  })

  test('D14: no traceback for the peer unless somebody asked for it', async () => {
    const { client, errors } = await served(() => {
      throw new Error('secret')
    })
    await client.send(GET)
    const answer = await client.response()
    assert.equal([answer.status, answer.text], [500, ''])
    assert.not(answer.raw.includes('secret'))
    assert.ok(errors[0]!.includes('secret'))
  })

  test('D18: a drain closes the listener first, says so in the last answer, and ends', async () => {
    const clock = new FakeClock()
    const release = deferred()
    const { server, port } = await h.serve(async (environ, startResponse) => {
      if (environ.PATH_INFO === '/wait') await release.promise
      else if (environ.PATH_INFO === '/never') await new Promise(() => {})
      return hello(environ, startResponse)
    }, { clock, timeouts: { shutdown: 5_000 } })
    const [waiting, never] = [await h.connect(), await h.connect()]
    await waiting.send(`GET /wait HTTP/1.1\r\n${H}\r\n`)
    await never.send(`GET /never HTTP/1.1\r\n${H}\r\n`)
    await turns()
    const closing = server.close()
    await turns()
    assert.is(await connectTo(port).then(() => 'connected', (error: NodeJS.ErrnoException) => error.code), 'ECONNREFUSED')
    release.resolve()
    assert.is((await waiting.response()).header('connection'), 'close')
    await waiting.end()
    await pass(clock, 5_500)
    await within(5_000, closing, 'the server to close')
    await never.reset
  })

  test('D19: an accept that fails does not end the server', async () => {
    const { server } = await h.serve(hello)
    const listener = (server as unknown as { listener: Listener }).listener
    const handle = (listener.server as unknown as { _handle: { onconnection(status: number, client: undefined): void } })._handle
    // libuv's ECONNABORTED, ECONNRESET, EMFILE, ENFILE on Linux, as libuv would tell them.
    for (const status of [-103, -104, -24, -23]) handle.onconnection(status, undefined)
    await turns()
    assert.is(server.state, 'listening')
    const client = await h.connect()
    await client.send(GET)
    assert.is((await client.response()).text, 'hello world')
  })

  test('D19: nor does a process without descriptors', async () => {
    // 60 descriptors, 100 connections; when they have gone the next one is served.
    const index = new URL('../../src/index.js', import.meta.url).href
    const script = `
      const { listen, serve } = await import(${JSON.stringify(index)})
      const app = (environ, startResponse) => { startResponse('200 OK', []); return ['alive'] }
      const server = serve(await listen(0), app, { transport: ${JSON.stringify(h.kind.transport)}, logOutput: false })
      console.log(server.address.port)
      process.stdin.on('end', () => process.exit(server.state === 'listening' ? 0 : 3)).resume()`
    const child = spawn('sh', ['-c', 'ulimit -n 60 && exec "$0" --input-type=module -e "$1"', process.execPath, script], { stdio: ['pipe', 'pipe', 'pipe'] })
    try {
      let stderr = ''
      child.stderr.on('data', (text: Buffer) => (stderr += String(text)))
      const [line] = (await within(10_000, once(createInterface(child.stdout), 'line'), 'the port')) as [string]
      const sockets = await Promise.all(Array.from({ length: 100 }, () => connectTo(Number(line))))
      for (const socket of sockets) socket.on('error', () => {}).resume()
      await turns(50)
      for (const socket of sockets) socket.destroy()
      let answer = ''
      // Connections that were accepted and closed unanswered may be among the first.
      for (let i = 0; i < 50 && !answer.endsWith('alive'); i++) {
        const client = h.client(await connectTo(Number(line)))
        await client.send(`GET / HTTP/1.1\r\n${H}${CLOSE}\r\n`).catch(() => {})
        answer = await client.untilEnd().then(String, () => '')
        client.destroy()
      }
      assert.ok(answer.endsWith('alive'), `no answer; stderr: ${stderr}`)
      child.stdin.end()
      const [code] = (await within(10_000, once(child, 'exit'), 'the child to exit')) as [number]
      assert.is(code, 0, stderr)
    } finally {
      child.kill()
    }
  })

  test('D9 and D17 meet: an answer of unknown length to a body that nobody reads', async () => {
    const { client } = await served((_environ, startResponse) => {
      startResponse('200 OK', [])
      return ['a', 'b'].values()
    })
    await client.send(`POST / HTTP/1.1\r\n${H}${CHUNKED}\r\n`)
    assert.is((await client.response()).text, 'ab')
    await client.send(`3\r\nabc\r\n0\r\n\r\n${GET}`)
    assert.is((await client.response()).text, 'ab')
  })
}).run()
