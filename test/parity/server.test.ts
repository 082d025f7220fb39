// eventlet wsgi_test.py, TestHttpd: listeners, pools, and the end of a server.
import * as net from 'node:net'
import * as assert from 'uvu/assert'
import { listen, type Listener } from '../../src/io/listener.ts'
import { Pool } from '../../src/server/pool.ts'
import { serve } from '../../src/server/serve.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { type Running, onEveryTransport, pass, turns } from '../support/harness.ts'
import { connectTo } from '../support/sockets.ts'
import { within } from '../support/within.ts'
import { CLOSE, H, echo, hello } from './support.ts'

onEveryTransport('parity: server', (h, test) => {
  test('test_socket_remains_open', async () => {
    const listener = await listen(0)
    const { port } = listener.address()
    const options = { transport: h.kind.transport, logOutput: false, closeListener: false }
    const ask = async (): Promise<string> => {
      const client = h.client(await connectTo(port))
      await client.send(`GET / HTTP/1.1\r\n${H}${CLOSE}\r\n`)
      const { text } = await client.response()
      // Or the server lingers for us.
      await client.closed
      await client.end()
      return text
    }
    try {
      const first = serve(listener, hello, options)
      assert.is(await ask(), 'hello world')
      await within(5_000, first.close(), 'the first server to close')
      // A listener that stays its owner's (the original's dup) serves again.
      const second = serve(listener, hello, options)
      assert.is(await ask(), 'hello world')
      await within(5_000, second.close(), 'the second server to close')
      const third = serve(listener, hello, { transport: h.kind.transport, logOutput: false })
      assert.is(await ask(), 'hello world')
      await within(5_000, third.close(), 'the third server to close')
      // Ours by default: closed with the server.
      assert.is(await connectTo(port).then(() => 'connected', (error: NodeJS.ErrnoException) => error.code), 'ECONNREFUSED')
    } finally {
      await listener.close()
    }
  })

  test('test_022_custom_pool', async () => {
    const pool = new Pool(5)
    let spawned = 0
    let waited = 0
    const customPool = {
      spawn(task: () => Promise<void>): void {
        spawned++
        pool.spawn(task)
      },
      waitall(): Promise<void> {
        waited++
        return pool.waitall()
      }
    }
    const { server } = await h.serve(hello, { customPool })
    const client = await h.connect()
    await client.send(`GET / HTTP/1.0\r\n${H}\r\n`)
    assert.is((await client.response()).text, 'hello world')
    await client.end()
    await within(5_000, server.close(), 'the server to close')
    assert.equal([spawned, waited, pool.running, pool.free()], [1, 1, 0, 5])
    // P11: what is no pool is refused at the start, before a connection is taken.
    const listener = await listen(0)
    try {
      assert.throws(() => serve(listener, hello, { customPool: { spawn() {} } as never }), /customPool/)
    } finally {
      await listener.close()
    }
  })

  test('test_025_accept_errors', async () => {
    // A socket that does not listen is refused at once; the error is the caller's, not the process's.
    assert.throws(() => serve(new net.Server(), hello), /not listening/)
    // One that fails later ends its server: `finished` rejects with the system's error, in order.
    const { server, errors, port } = await h.serve(hello)
    const listener = (server as unknown as { listener: Listener }).listener
    listener.server.emit('error', Object.assign(new Error('accept EINVAL'), { code: 'EINVAL' }))
    const outcome = await within(5_000, server.finished.then(() => 'resolved', (error: NodeJS.ErrnoException) => error.code), 'the server to finish')
    assert.is(outcome, 'EINVAL')
    assert.is(errors.filter(line => line.includes('accept EINVAL')).length, 1)
    await within(5_000, server.close(), 'the server to close')
    assert.is(await connectTo(port).then(() => 'connected', (error: NodeJS.ErrnoException) => error.code), 'ECONNREFUSED')
  })

  async function putAndStay(running: Running): Promise<Awaited<ReturnType<typeof h.connect>>> {
    const client = await h.connect(running)
    await client.send(`PUT /foo-bar HTTP/1.1\r\n${H}Content-Length: 30\r\n\r\n${'x'.repeat(30)}`)
    assert.is((await client.response()).text, 'x'.repeat(30))
    return client
  }

  test('test_close_idle_connections', async () => {
    const clock = new FakeClock()
    const running = await h.serve(echo, { clock })
    const client = await putAndStay(running)
    const fresh = await h.connect(running)
    let closed = false
    const closing = running.server.close().then(() => (closed = true))
    // A connection that has said nothing yet goes at once, a used one has `idleGrace` for a request that is on its way (design §3).
    await within(5_000, fresh.closed, 'the new connection to close')
    await turns()
    assert.is(closed, false)
    await pass(clock, 1_500)
    await within(5_000, client.closed, 'the idle connection to close')
    await within(5_000, closing, 'the server to close')
    assert.is(running.server.state, 'closed')
  })

  test('test_close_idle_connections_listen_socket_closed', async () => {
    // The listener's owner closes it: the server drains, as it does there.
    const clock = new FakeClock()
    const running = await h.serve(echo, { clock })
    const client = await putAndStay(running)
    await (running.server as unknown as { listener: Listener }).listener.close()
    await turns()
    await pass(clock, 1_500)
    await within(1_000, client.closed, 'the idle connection to close')
    await within(1_000, running.server.finished, 'the server to finish')
  })

  test('test_do_not_close_non_idle_connections', async () => {
    const clock = new FakeClock()
    const { server } = await h.serve(async (environ, startResponse) => {
      const content = await environ['wsgi.input'].read()
      startResponse('200 OK', [['Content-type', 'text/plain'], ['x-path', environ.PATH_INFO]])
      return [content]
    }, { clock })
    const client = await h.connect()
    await client.send(`PUT /foo-bar HTTP/1.1\r\n${H}Content-Length: 30\r\n\r\n`)
    await turns()
    let closed = false
    const closing = server.close().then(() => (closed = true))
    await pass(clock, 2_000)
    assert.is(closed, false)
    await client.send('x'.repeat(30))
    const answer = await client.response()
    assert.is(answer.text, 'x'.repeat(30))
    assert.is(answer.header('x-path'), '/foo-bar')
    // Unlike there the peer is told (D18).
    assert.is(answer.header('connection'), 'close')
    assert.is(await client.closed, 'end')
    await client.end()
    await within(5_000, closing, 'the server to close')
  })
}).run()
