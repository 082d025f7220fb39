// reference.md §1 line by line, what no ported test says: defaults, listeners, processes. Each name begins with the rows that it stands for.
import * as net from 'node:net'
import * as assert from 'uvu/assert'
import type { Application, Piece } from '../../src/server/application.ts'
import { listen } from '../../src/io/listener.ts'
import { completeOptions, DEFAULT_LOG_FORMAT } from '../../src/server/options.ts'
import { serve } from '../../src/server/serve.ts'
import { onEveryTransport, turns, until } from '../support/harness.ts'
import { connectTo } from '../support/sockets.ts'
import { H, TextLog, echo, hello } from './support.ts'

const GET = `GET / HTTP/1.1\r\n${H}\r\n`

onEveryTransport('parity, line by line: server', (h, test) => {
  async function outcome(port: number): Promise<unknown> {
    return await connectTo(port).then(socket => socket.destroy() && 'connected', (error: NodeJS.ErrnoException) => error.code)
  }

  test('C1, C2, C7, C9, P3, P9, P12, P13, P14, P15, P16, P17, P18: defaults', () => {
    const settings = completeOptions({})
    assert.equal(
      [settings.maxSize, settings.maxHttpVersion, settings.minimumChunkSize, settings.logFormat, settings.limits.urlLengthLimit, settings.keepalive],
      [1024, 'HTTP/1.1', 4096, DEFAULT_LOG_FORMAT, 8192, 75_000]
    )
    assert.equal([settings.logXForwardedFor, settings.logOutput, settings.capitalizeResponseHeaders, settings.log], [true, true, true, null])
    // Changed: debug is off, and no deadline is.
    assert.is(settings.debug, false)
    assert.equal([settings.timeouts.firstByte, settings.timeouts.head, settings.timeouts.body, settings.timeouts.send], [10_000, 30_000, 30_000, 60_000])
    const { timeouts } = completeOptions({ socketTimeout: 7 })
    assert.equal([timeouts.firstByte, timeouts.head, timeouts.body, timeouts.send], [7, 7, 7, 7])
    // P7, P8: deprecated there, unknown here, and said so.
    for (const name of ['protocol', 'server_event', 'max_size']) assert.throws(() => completeOptions({ [name]: 1 } as never), new RegExp(`unknown option: ${name}`))
  })

  test('C10, S1: one server ends, the other goes on', async () => {
    const [ending, staying] = [await h.serve(hello), await h.serve(hello)]
    const client = await h.connect(staying)
    await ending.server.close()
    await client.send(GET)
    assert.is((await client.response()).text, 'hello world')
    assert.equal([ending.server.state, staying.server.state], ['closed', 'listening'])
    assert.is(await outcome(ending.port), 'ECONNREFUSED')
  })

  test('C12: listen() binds this host alone, once, and again at once', async () => {
    const first = await listen(0)
    const { address, port } = first.address()
    assert.is(address, '127.0.0.1')
    // No SO_REUSEPORT unless somebody makes the socket so: two servers of one port are a mistake more often than a wish.
    assert.is(await listen(port).then(() => 'bound', (error: NodeJS.ErrnoException) => error.code), 'EADDRINUSE')
    const server = serve(first, hello, { transport: h.kind.transport, logOutput: false })
    const client = h.client(await connectTo(port))
    await client.send(GET.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'))
    await client.untilEnd()
    await client.end()
    await server.close()
    const again = await listen(port)
    assert.is(await outcome(port), 'connected')
    await again.close()
  })

  test('P1: a server of the caller\'s own', async () => {
    const own = net.createServer()
    await new Promise<void>(resolve => own.listen(0, '127.0.0.1', resolve))
    const { port } = own.address() as net.AddressInfo
    const log = new TextLog()
    const server = serve(own, hello, { log })
    assert.is(server.transport, 'stream')
    const client = h.client(await connectTo(port))
    await client.send(GET)
    assert.is((await client.response()).text, 'hello world')
    await server.close({ timeout: 0 })
    assert.is(own.listening, false)
  })

  /** What is thrown or rejected with, one request each. */
  async function failsWith(things: unknown[]): Promise<void> {
    let next: unknown = null
    const { server, errors } = await h.serve((environ) => {
      if (environ.PATH_INFO === '/async') return Promise.reject(next)
      throw next
    })
    for (const thing of things) {
      for (const path of ['/sync', '/async']) {
        next = thing
        const client = await h.connect()
        await client.send(`GET ${path} HTTP/1.1\r\n${H}\r\n`)
        assert.is((await client.response()).status, 500)
        await client.closed
        client.destroy()
      }
    }
    assert.is(errors.length, 2 * things.length)
    assert.is(server.state, 'listening')
  }

  test('P2, L5, G5: whatever an application throws is its request\'s failure', async () => {
    const names = ['SIGINT', 'SIGTERM', 'uncaughtException', 'unhandledRejection']
    const before = names.map(name => process.listenerCount(name))
    await failsWith([undefined, null, 'text', 0, Object.freeze({}), Object.create(null), Symbol('s')])
    // serve() takes no signal and no uncaught error for itself: that is the command's.
    assert.equal(names.map(name => process.listenerCount(name)), before)
  })

  test('G5: what an application throws, and that throws when it is looked at', async () => {
    const trap = (): never => {
      throw new Error('trap')
    }
    await failsWith([new Proxy({}, { get: trap }), new Proxy({}, { getPrototypeOf: trap }), Object.defineProperty(new Error('x'), 'stack', { get: trap })])
  })

  test('P5: a place is a connection, not a request', async () => {
    const { server } = await h.serve(hello, { maxSize: 2, limits: { maxParked: 0 } })
    const [first, second] = [await h.connect(), await h.connect()]
    // Two that have not spoken yet: nobody can be asked to go.
    const third = await h.connect()
    await third.closed
    assert.is(server.connections, 2)
    for (const client of [first, second]) {
      await client.send(GET)
      await client.response()
    }
    // Now the longest idle one is.
    const fourth = await h.connect()
    await fourth.send(GET)
    assert.is((await fourth.response()).text, 'hello world')
    await first.closed
    assert.is(server.connections, 2)
  })

  test('P9: the minimum chunk size of one request, whatever a number can be made of', async () => {
    for (const [minimum, sizes] of [['3', [3, 3, 1]], [7, [7]], [0, [1, 1, 1, 1, 1, 1, 1]], ['many', [7]], [-1, [7]]] as const) {
      await h.serve((environ, startResponse) => {
        environ['eventlet.minimum_write_chunk_size'] = minimum as number
        startResponse('200 OK', [])
        return [...'sevenxx'].values()
      })
      const client = await h.connect()
      await client.send(GET)
      assert.equal((await client.response()).chunks!.map(chunk => chunk.length), [...sizes], String(minimum))
    }
  })

  test('L2: each accept is told at debug', async () => {
    const { log } = await h.serve(hello)
    const client = await h.connect()
    assert.match(log.at(-1)!, /^\(\d+\) accepted 127\.0\.0\.1:\d+$/)
    client.destroy()
  })

  test('I7, I8: discard() reads to the end, whatever that takes', async () => {
    await h.serve(async (environ, startResponse) => {
      await environ['wsgi.input'].discard()
      return echo(environ, startResponse)
    })
    const client = await h.connect()
    const block = Buffer.alloc(1_000_000, 'x')
    await client.send(`POST / HTTP/1.1\r\n${H}Content-Length: ${3 * block.length}\r\n\r\n`)
    for (let i = 0; i < 3; i++) await client.send(block)
    const answer = await client.response()
    assert.equal([answer.text, answer.has('connection')], ['', false])
  })

  test('W2, W4, W8, W9, W13: close() always, once', async () => {
    const bodies: [string, () => Iterable<Piece>, number][] = [
      ['read to its end', () => ['a', '', '\u00e9'].values(), 200],
      ['never begun', () => [][Symbol.iterator](), 200],
      ['failing', () => (function* () { throw new Error('as the test wants it') })(), 500],
      ['no piece', () => [7 as never].values(), 500],
      ['nobody asked for', () => ['x'].values(), 204]
    ]
    for (const [what, body, status] of bodies) {
      let closed = 0
      const application: Application = (_environ, startResponse) => {
        startResponse(status === 204 ? 204 : 200, [])
        return Object.assign(body(), { close: () => closed++ })
      }
      await h.serve(application)
      const client = await h.connect()
      await client.send(GET)
      assert.is((await client.response()).status, status, what)
      await turns()
      assert.is(closed, 1, what)
    }
  })

  test('E4, G4: a peer that resets costs one line at most', async () => {
    const { server, errors, access } = await h.serve((_environ, startResponse) => {
      startResponse('200 OK', [])
      return (function* () {
        for (;;) yield 'x'.repeat(65536)
      })()
    })
    const client = await h.connect()
    await client.send(GET)
    await client.bytes(100_000)
    client.resetNow()
    await until(() => server.connections === 0 && access.length === 1, 'the end of the request')
    // There a traceback.
    assert.equal(errors, [])
  })

  test('S6: the last line', async () => {
    const log = new TextLog()
    const { server } = await h.serve(hello, { log })
    await server.close()
    assert.match(log.lines.at(-1)!, /^\(\d+\) wsgi exited$/)
  })
}).run()
