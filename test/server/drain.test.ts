// close(): the drain column of design §3 state by state, its deadline, and that it always ends.
import { once } from 'node:events'
import * as net from 'node:net'
import * as assert from 'uvu/assert'
import { listen } from '../../src/io/listener.ts'
import type { Application } from '../../src/server/application.ts'
import { ALREADY_HANDLED } from '../../src/server/application.ts'
import type { ServeOptions } from '../../src/server/options.ts'
import { serve } from '../../src/server/serve.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { type Deferred, type Harness, type Running, answering, deferred, echoPath, get, onEveryTransport, pass, post, turns, until } from '../support/harness.ts'
import type { RawClient } from '../support/raw-client.ts'
import { connectTo } from '../support/sockets.ts'
import { within } from '../support/within.ts'

interface Timed extends Running {
  clock: FakeClock
}

async function timed(h: Harness, application: Application, options: ServeOptions = {}): Promise<Timed> {
  const clock = new FakeClock()
  return { ...(await h.serve(application, { clock, ...options })), clock }
}

/** Every answer waits for the gate of its path. */
function gated(): { application: Application; gates: Record<string, Deferred>; called: string[] } {
  const gates: Record<string, Deferred> = {}
  const called: string[] = []
  const application: Application = async (environ, startResponse) => {
    called.push(environ.PATH_INFO)
    await (gates[environ.PATH_INFO] ??= deferred()).promise
    startResponse(200)
    return [environ.PATH_INFO]
  }
  return { application, gates, called }
}

onEveryTransport('drain', (h, test) => {
  /** A unix socket has no RST: there a cut is an end, and no answer can be told to be whole by it. */
  const cut = (client: RawClient): Promise<unknown> => h.hasReset ? client.reset : client.closed

  test('without a connection: at once; the states, finished, and a second close', async () => {
    const { server, log } = await h.serve(answering('x'))
    assert.is(server.state, 'listening')
    const first = server.close()
    assert.is(server.state, 'draining')
    const second = server.close()
    await within(1000, Promise.all([first, second, server.finished]), 'close, twice, and finished')
    assert.is(server.state, 'closed')
    await server.close()
    assert.match(log.at(-1)!, /wsgi exited/)
  })

  test('new connections are closed at once', async () => {
    const { server } = await h.serve(answering('x'))
    const client = await h.connect()
    const closed = server.close()
    assert.is((await client.untilEnd()).length, 0)
    await closed
  })

  test('the listener is closed first: nobody can connect any more', async () => {
    const { application, gates } = gated()
    const { server, port, path } = await h.serve(application)
    const client = await h.connect()
    await client.send(get('/1'))
    await turns()
    const closed = server.close()
    await turns()
    const late = net.connect(path === '' ? { port, host: '127.0.0.1' } : { path })
    const [error] = await once(late, 'error')
    assert.ok(['ECONNREFUSED', 'ENOENT'].includes(error.code), error.code)
    gates['/1']!.resolve()
    assert.is((await client.response()).text, '/1')
    await client.end()
    await closed
  })

  test('closeListener: false leaves it; connections that still come are closed at accept', async () => {
    const listener = await listen(0)
    const server = serve(listener, answering('x'), { transport: h.kind.transport, closeListener: false, logOutput: false })
    await server.close()
    assert.is(server.state, 'closed')
    const late = h.client(await connectTo(listener.address().port))
    await late.closed
    assert.is(late.received, 0)
    const again = serve(listener, answering('again'), { transport: h.kind.transport, logOutput: false })
    const client = h.client(await connectTo(listener.address().port))
    await client.send(get())
    assert.is((await client.response()).text, 'again')
    await again.close({ timeout: 0 })
  })

  test('a head that is being read is read to its end; what came in the same segment is answered too, the last with close', async () => {
    const { server } = await h.serve(echoPath)
    const client = await h.connect()
    await client.send('GET /late HTTP/1.1\r\n')
    await turns()
    const closed = server.close()
    await turns()
    await client.send('Host: a\r\n\r\n' + get('/with-it'))
    assert.is((await client.response()).text, '/late')
    const answer = await client.response()
    assert.is(answer.text, '/with-it')
    assert.is(answer.header('connection'), 'close')
    assert.is((await client.untilEnd()).length, 0)
    await client.end()
    await closed
  })

  test('a head that never ends meets its own deadline', async () => {
    const { server, clock } = await timed(h, echoPath, { timeouts: { head: 5_000 } })
    const client = await h.connect()
    await client.send('GET /')
    await turns()
    const closed = server.close()
    await pass(clock, 6_000)
    assert.is((await client.response()).status, 408)
    await client.end()
    await closed
  })

  test('an answer whose head is unsent carries close', async () => {
    const { application, gates } = gated()
    const { server } = await h.serve(application)
    const client = await h.connect()
    await client.send(get('/1'))
    await until(() => '/1' in gates, 'the call')
    const closed = server.close()
    gates['/1']!.resolve()
    assert.is((await client.response()).header('connection'), 'close')
    assert.is((await client.untilEnd()).length, 0)
    await client.end()
    await closed
  })

  test('an answer that has begun goes on to its end; nothing said that the connection would close, so it has its grace', async () => {
    const gate = deferred()
    const { server, clock } = await timed(h, (_environ, startResponse) => {
      startResponse(200)
      return (async function* () {
        yield 'begun, '
        await gate.promise
        yield 'ended'
      })()
    })
    const client = await h.connect()
    await client.send(get())
    await until(() => client.buffered.includes('begun'), 'the first piece')
    const closed = server.close()
    await turns()
    gate.resolve()
    assert.is((await client.response()).text, 'begun, ended')
    await pass(clock, 2000)
    assert.is((await client.untilEnd()).length, 0)
    await client.end()
    await closed
  })

  test('content goes on arriving', async () => {
    const { server } = await h.serve(async (environ, startResponse) => {
      const content = await environ['wsgi.input'].read()
      startResponse(200)
      return [content]
    })
    const client = await h.connect()
    await client.send(post('/', 'hello').slice(0, -3))
    await turns()
    const closed = server.close()
    await turns()
    await client.send('llo')
    const answer = await client.response()
    assert.is(answer.text, 'hello')
    assert.is(answer.header('connection'), 'close')
    await client.end()
    await closed
  })

  test('idle connections that were used have idleGrace: a request that still comes is answered, with close', async () => {
    const { server, clock } = await timed(h, echoPath)
    const quick = await h.connect()
    const slow = await h.connect()
    for (const client of [quick, slow]) {
      await client.send(get())
      await client.response()
    }
    const closed = server.close()
    await pass(clock, 900)
    assert.is(server.connections, 2)
    await quick.send(get('/just'))
    const answer = await quick.response()
    assert.is(answer.text, '/just')
    assert.is(answer.header('connection'), 'close')
    await quick.end()
    await pass(clock, 1100)
    assert.is((await slow.untilEnd()).length, 0)
    await closed
  })

  test('pipelined requests that are complete are answered, the last with close; later input is not', async () => {
    const { application, gates, called } = gated()
    const { server, access } = await h.serve(application)
    const client = await h.connect()
    await client.send(get('/1') + get('/2') + get('/3') + get('/4').slice(0, 20))
    await until(() => '/1' in gates, 'the first call')
    const closed = server.close()
    await client.send(get('/4').slice(20) + get('/5'))
    await turns()
    for (const path of ['/1', '/2', '/3']) {
      await until(() => path in gates, `the call of ${path}`)
      gates[path]!.resolve()
      const answer = await client.response()
      assert.is(answer.text, path)
      assert.is(answer.header('connection'), path === '/3' ? 'close' : '', path)
    }
    assert.is((await client.untilEnd()).length, 0)
    await client.end()
    await closed
    assert.equal(called, ['/1', '/2', '/3'])
    assert.is(access.length, 3)
  })

  test('a request that comes behind the one being answered is not called, and the answer says close', async () => {
    const { application, gates, called } = gated()
    const { server } = await h.serve(application)
    const client = await h.connect()
    await client.send(get('/1'))
    await until(() => '/1' in gates, 'the first call')
    const closed = server.close()
    await client.send(get('/late'))
    await turns()
    gates['/1']!.resolve()
    assert.is((await client.response()).header('connection'), 'close')
    assert.is((await client.untilEnd()).length, 0)
    await client.end()
    await closed
    assert.equal(called, ['/1'])
  })

  test('set_idle: cut at the start of the drain, or as soon as it is called', async () => {
    const gate = deferred()
    const aborted: string[] = []
    const { server } = await h.serve((environ, startResponse) => {
      environ['wirelet.signal'].addEventListener('abort', () => aborted.push(environ.PATH_INFO))
      if (environ.PATH_INFO === '/early') environ['eventlet.set_idle']()
      else void gate.promise.then(() => environ['eventlet.set_idle']())
      startResponse(200, { 'Content-Type': 'text/event-stream' })
      return (async function* () {
        yield 'data: 1\n\n'
        await new Promise(() => {})
      })()
    })
    const early = await h.connect()
    const late = await h.connect()
    for (const [client, path] of [[early, '/early'], [late, '/late']] as const) {
      await client.send(get(path))
      await until(() => client.buffered.includes('data: 1'), `the first event of ${path}`)
    }
    const closed = server.close()
    await cut(early)
    assert.equal(aborted, ['/early'])
    gate.resolve()
    await cut(late)
    await closed
    assert.equal(aborted, ['/early', '/late'])
  })

  test('a taken-over connection lives until the deadline', async () => {
    const { server, clock } = await timed(h, (environ) => {
      const socket = environ['wirelet.upgrade']()
      socket.write('yours')
      socket.on('data', (bytes: Buffer) => socket.write(bytes))
      socket.on('error', () => {})
      return ALREADY_HANDLED
    }, { timeouts: { shutdown: 10_000 } })
    const client = await h.connect()
    await client.send(get())
    assert.is(String(await client.bytes(5)), 'yours')
    const closed = server.close()
    await pass(clock, 9_000)
    await client.send('echo')
    assert.is(String(await client.bytes(4)), 'echo')
    await pass(clock, 1_500)
    await client.closed
    await closed
  })

  for (const [name, options, ms] of [['timeouts.shutdown', undefined, 30_000], ['close({ timeout })', { timeout: 4_000 }, 4_000]] as const) {
    test(`what is left at the end of ${name} is destroyed`, async () => {
      const { server, clock } = await timed(h, () => new Promise(() => {}))
      const client = await h.connect()
      await client.send(get())
      await turns()
      let done = false
      const closed = server.close(options).then(() => (done = true))
      await pass(clock, ms - 1)
      assert.is(done, false)
      assert.is(server.connections, 1)
      await pass(clock, 501)
      await closed
      await cut(client)
      assert.is(server.connections, 0)
      assert.is(server.outstandingRequests, 0)
    })
  }

  test('timeout 0, and a signal, at once or later', async () => {
    const controller = new AbortController()
    for (const close of [{ timeout: 0 }, { signal: AbortSignal.abort() }, { signal: controller.signal }]) {
      const running = await h.serve(() => new Promise(() => {}))
      const client = await h.connect(running)
      await client.send(get())
      await turns()
      const closed = running.server.close(close)
      if ('signal' in close && close.signal === controller.signal) {
        await turns(20)
        assert.is(running.server.connections, 1)
        controller.abort()
      }
      await within(1000, closed, 'close')
      await cut(client)
    }
  })

  test('a second close may cut the first one short', async () => {
    const { server } = await h.serve(() => new Promise(() => {}))
    const client = await h.connect()
    await client.send(get())
    await turns()
    const first = server.close()
    await turns(20)
    assert.is(server.state, 'draining')
    await within(1000, server.close({ timeout: 0 }), 'the second close')
    await within(1000, first, 'the first')
  })

  test('a second close with a deadline of its own brings the end nearer, and never puts it off', async () => {
    const clock = new FakeClock()
    const { server } = await h.serve(() => new Promise(() => {}), { clock })
    const client = await h.connect()
    await client.send(get())
    await turns()
    const first = server.close()
    await turns(20)
    void server.close({ timeout: 100 })
    void server.close({ timeout: 60_000 })
    assert.is(server.state, 'draining')
    await pass(clock, 100)
    await within(1000, first, 'the drain')
    assert.is(clock.pending(), 0)
    void server.close({ timeout: 100 })
    assert.is(clock.pending(), 0)
  })

  test('asynchronous disposal drains', async () => {
    const { server } = await h.serve(answering('x'))
    await server[Symbol.asyncDispose]()
    assert.is(server.state, 'closed')
  })

  test('a drain from within a request: it is answered, and the server closes', async () => {
    let closed!: Promise<void>
    const { server } = await h.serve((_environ, startResponse) => {
      closed = server.close()
      startResponse(200)
      return ['the last']
    })
    const client = await h.connect()
    await client.send(get() + get('/2'))
    const answer = await client.response()
    assert.is(answer.text, 'the last')
    await client.response()
    assert.is((await client.untilEnd()).length, 0)
    await client.end()
    await closed
  })

  test('no timer is left of a drained server', async () => {
    const { server, clock } = await timed(h, echoPath)
    const client = await h.connect()
    await client.send(get('/', 'Connection: close\r\n'))
    await client.response()
    await client.end()
    await server.close()
    assert.is(clock.pending(), 0)
  })
}, { unix: true }).run()
