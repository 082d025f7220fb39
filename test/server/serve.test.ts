// serve(): what it takes, what it refuses, what a running server tells of itself.
import { once } from 'node:events'
import * as net from 'node:net'
import { type Duplex, PassThrough, Readable, Writable } from 'node:stream'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { WireletError } from '../../src/io/errors.ts'
import { listen } from '../../src/io/listener.ts'
import type { Application } from '../../src/server/application.ts'
import type { ServeOptions } from '../../src/server/options.ts'
import { Pool } from '../../src/server/pool.ts'
import { serve } from '../../src/server/serve.ts'
import { answering, deferred, echoPath, get, memoryPair, onEveryTransport, turns, until } from '../support/harness.ts'
import { RawClient } from '../support/raw-client.ts'
import { connectTo } from '../support/sockets.ts'
import { within } from '../support/within.ts'

function thrown(call: () => unknown): NodeJS.ErrnoException {
  try {
    call()
  } catch (error) {
    return error as NodeJS.ErrnoException
  }
  throw new Error('nothing was thrown')
}

onEveryTransport('serve', (h, test) => {
  test('address, url, transport, connections, outstandingRequests', async () => {
    const gate = deferred()
    const { server, port, path } = await h.serve(async (_environ, startResponse) => {
      await gate.promise
      startResponse(200)
      return ['']
    })
    assert.is(server.transport, h.kind.transport)
    if (h.kind.over === 'unix') {
      assert.equal(server.address, { address: 'unix', port: 0, family: 'unix' })
      assert.is(server.url, `http:${path}`)
    } else {
      assert.equal(server.address, { address: '127.0.0.1', port, family: 'IPv4' })
      assert.is(server.url, `http${h.kind.over === 'tls' ? 's' : ''}://127.0.0.1:${port}`)
    }
    assert.equal([server.connections, server.outstandingRequests], [0, 0])
    const client = await h.connect()
    await h.connect()
    await client.send(get() + get())
    await until(() => server.outstandingRequests === 1, 'one request at a time')
    assert.is(server.connections, 2)
    gate.resolve()
    await client.responses(2)
    await until(() => server.outstandingRequests === 0, 'answered')
  })

  test('the log: its start, each request as eventlet writes it, errors; nothing else', async () => {
    const { log, errors } = await h.serve(echoPath, { logFormat: '%(client_ip)s - - [%(date_time)s] "%(request_line)s" %(status_code)s %(body_length)s %(wall_seconds).6f' })
    const client = await h.connect()
    await client.send(get('/x?y', 'X-Forwarded-For: 10.0.0.1, 10.0.0.2\r\n'))
    await client.response()
    await until(() => log.some(line => line.includes('"GET /x?y HTTP/1.1" 200 2 ')), 'the access line')
    assert.match(log[0]!, /^\(\d+\) wsgi starting up on http/)
    const line = log.find(each => each.includes('GET'))!
    const peer = h.kind.over === 'unix' ? 'unix' : '127\\.0\\.0\\.1'
    assert.match(line, new RegExp(`^10\\.0\\.0\\.1,10\\.0\\.0\\.2,${peer} - - \\[\\d\\d/\\w{3}/\\d{4} \\d\\d:\\d\\d:\\d\\d\\] "GET /x\\?y HTTP/1\\.1" 200 2 \\d+\\.\\d{6}$`))
    assert.equal(errors, [])
  })

  test('a log with write(): lines in batches, all of them by the end of close()', async () => {
    const sink = new PassThrough()
    let text = ''
    sink.on('data', chunk => (text += chunk))
    const { server } = await h.serve(echoPath, { log: sink, logFormat: '%(target)s' })
    const client = await h.connect()
    await client.send(Array.from({ length: 20 }, (_, i) => get(`/${i}`)).join(''))
    await client.responses(20)
    client.destroy()
    await server.close({ timeout: 0 })
    assert.equal(text.split('\n').filter(line => line.startsWith('/')), Array.from({ length: 20 }, (_, i) => `/${i}`))
  })

  test('logOutput: false silences all but errors', async () => {
    const { log, errors } = await h.serve(() => { throw new Error('heard') }, { logOutput: false })
    const client = await h.connect()
    await client.send(get())
    await client.response()
    await turns()
    assert.is(log.length, 1)
    assert.match(errors[0]!, /heard/)
  })

  test('environ: added to every request; the request goes before it', async () => {
    await h.serve((environ, startResponse) => {
      startResponse(200)
      return [JSON.stringify([environ['my.thing'], environ['wsgi.multithread'], environ.REQUEST_METHOD])]
    }, { environ: { 'my.thing': 7, 'wsgi.multithread': 'mine', REQUEST_METHOD: 'PUT' } })
    const client = await h.connect()
    await client.send(get())
    assert.is((await client.response()).text, '[7,"mine","GET"]')
  })

  test('handle(duplex): a connection that came by another way', async () => {
    const { server, access } = await h.serve(echoPath)
    const [near, far] = memoryPair()
    server.handle(far)
    const client = h.client(near)
    await client.send(get('/memory'))
    assert.is((await client.response()).text, '/memory')
    assert.is(server.connections, 1)
    client.resetNow()
    await until(() => server.connections === 0, 'closed')
    assert.is(access.length, 1)
    const closed = server.close()
    await closed
    const [late, refused] = memoryPair()
    server.handle(refused)
    await h.client(late).closed
  })

  test('a pool of one: the second connection waits for the first to end', async () => {
    const { server } = await h.serve(echoPath, { customPool: new Pool(1) })
    const first = await h.connect()
    await first.send(get('/1'))
    await first.response()
    const second = await h.connect()
    await second.send(get('/2'))
    await turns(20)
    assert.is(second.buffered, '')
    assert.is(server.connections, 1)
    first.destroy()
    assert.is((await second.response()).text, '/2')
  })

  test('a pool that spawns late delays the reading', async () => {
    const tasks: (() => Promise<void>)[] = []
    let waited = false
    const { server } = await h.serve(echoPath, { customPool: { spawn: task => tasks.push(task), waitall: async () => { waited = true } } })
    const client = await h.connect()
    await client.send(get('/early'))
    await until(() => tasks.length === 1, 'the task')
    await turns(20)
    assert.is(client.buffered, '')
    const task = tasks[0]!()
    assert.is((await client.response()).text, '/early')
    client.destroy()
    await within(1000, task, 'the task to settle')
    await server.close()
    assert.is(waited, true)
  })

  test('several servers in one process, and requests between them', async () => {
    const inner = await h.serve(answering('inner'))
    const outer = await h.serve(async (_environ, startResponse) => {
      const client = await h.connect(inner)
      await client.send(get())
      const { text } = await client.response()
      startResponse(200)
      return [`outer and ${text}`]
    })
    const client = await h.connect(outer)
    await client.send(get())
    assert.is((await client.response()).text, 'outer and inner')
  })
}, { unix: true, tls: true }).run()

const refusals = suite('serve: what it refuses')

const BAD: [name: string, options: object, message: RegExp][] = [
  ['an unknown option', { keepAlive: true }, /keepAlive/],
  ['an unknown limit', { limits: { maxHeads: 1 } }, /limits\.maxHeads/],
  ['an unknown timeout', { timeouts: { heads: 1 } }, /timeouts\.heads/],
  ['a limit that is no number', { limits: { maxHead: '64k' } }, /limits\.maxHead/],
  ['limits that are no object', { limits: 65536 }, /limits must be an object/],
  ['timeouts that are no object', { timeouts: 30_000 }, /timeouts must be an object/],
  ['a negative timeout', { timeouts: { head: -1 } }, /timeouts\.head/],
  ['limits that are no object', { limits: 5 }, /limits must be an object/],
  ['null for limits', { limits: null }, /limits must be an object/],
  ['timeouts that are no object', { timeouts: 7 }, /timeouts must be an object/],
  ['no room to read into', { limits: { readBuffer: 0 } }, /limits\.readBuffer must be a number of at least 1/],
  ['no room to write from', { limits: { writeHighWater: 0 } }, /limits\.writeHighWater must be a number of at least 1/],
  ['NaN', { minimumChunkSize: NaN }, /minimumChunkSize/],
  ['maxSize 0', { maxSize: 0 }, /maxSize/],
  ['a negative keepalive', { keepalive: -5 }, /keepalive/],
  ['HTTP/2', { maxHttpVersion: 'HTTP/2' }, /maxHttpVersion/],
  ['a transport nobody knows', { transport: 'uring' }, /transport/],
  ['a pool that is none', { customPool: {} }, /customPool/],
  ['null for a pool', { customPool: null }, /customPool/],
  ['options that are none', 'debug' as unknown as object, /the options must be an object/],
  ['null for options', null as unknown as object, /the options must be an object/],
  ['a name that every object has', { limits: { toString: 1 } }, /limits\.toString/],
  ['an unknown strictness', { strictness: { x: 1 } }, /unknown option: strictness\.x/],
  ['a strictness that is no object', { strictness: true }, /strictness must be an object/],
  ['a strictness that is no boolean', { strictness: { acceptTransferEncodingWithContentLength: 1 } }, /acceptTransferEncodingWithContentLength must be true or false/],
  ['an environ that is no object', { environ: 'x' }, /environ/],
  ['yes', { debug: 'yes' }, /debug must be true or false/],
  ['a listener of errors that is no function', { onPeerError: 1 }, /onPeerError/],
  ['a log format that is no string', { logFormat: 5 }, /logFormat/],
  ['a log format with an unknown name', { logFormat: '%(nothing)s' }, /nothing/]
]

for (const [name, options, message] of BAD) {
  refusals(`${name}: a UsageError that names it, and the listener is still the caller's`, async () => {
    const listener = await listen(0)
    const error = thrown(() => serve(listener, echoPath, options as ServeOptions))
    assert.is(error.code, 'ERR_WIRELET_USAGE')
    assert.match(error.message, message)
    const server = serve(listener, echoPath, { logOutput: false })
    await server.close()
  })
}

refusals('what is no application', async () => {
  const listener = await listen(0)
  for (const application of [undefined, null, {}, 'app'] as unknown as Application[]) assert.is(thrown(() => serve(listener, application)).code, 'ERR_WIRELET_USAGE')
  await listener.close()
})

refusals('close() with what it cannot take', async () => {
  const server = serve(await listen(0), echoPath, { logOutput: false })
  for (const options of [{ timeout: 'x' }, { timeout: NaN }, { timeout: -1 }, { timeuot: 0 }, { signal: new AbortController() }, { signal: null }, null] as object[]) {
    assert.is(thrown(() => server.close(options)).code, 'ERR_WIRELET_USAGE', JSON.stringify(options))
  }
  assert.is(server.state, 'listening')
  await server.close()
})

refusals('handle() with what is no connection', async () => {
  const server = serve(await listen(0), echoPath, { logOutput: false })
  for (const each of [undefined, null, Readable.from([]), new Writable(), Promise.resolve()] as unknown as Duplex[]) {
    assert.is(thrown(() => server.handle(each)).code, 'ERR_WIRELET_USAGE')
  }
  assert.is(server.connections, 0)
  await server.close()
})

refusals('a listener twice', async () => {
  const listener = await listen(0)
  const server = serve(listener, echoPath, { logOutput: false })
  const error = thrown(() => serve(listener, echoPath, { logOutput: false }))
  assert.equal([error.code, error.message], ['ERR_WIRELET_USAGE', 'this listener is being served already'])
  await server.close()
})

refusals("a server of the caller's own twice at once; one after the other is right", async () => {
  const own = net.createServer().listen(0, '127.0.0.1')
  await once(own, 'listening')
  const first = serve(own, answering('first'), { logOutput: false, closeListener: false })
  assert.is(thrown(() => serve(own, answering('second'), { logOutput: false })).message, 'this listener is being served already')
  await first.close()
  const second = serve(own, answering('second'), { logOutput: false })
  const client = new RawClient(await connectTo((own.address() as net.AddressInfo).port))
  await client.send(get())
  assert.is((await client.response()).text, 'second')
  client.destroy()
  await second.close()
})

refusals("transport 'handle' where there is none: a server of the caller's own", async () => {
  const own = net.createServer()
  await new Promise<void>(resolve => own.listen(0, '127.0.0.1', resolve))
  const error = thrown(() => serve(own, echoPath, { transport: 'handle' }))
  assert.instance(error, WireletError)
  assert.is(error.code, 'ERR_WIRELET_TRANSPORT')
  const server = serve(own, echoPath, { logOutput: false })
  assert.is(server.transport, 'stream')
  const socket = await connectTo(server.address.port)
  socket.destroy()
  await server.close({ timeout: 0 })
})

refusals("a taken port rejects with the system's code", async () => {
  const listener = await listen(0)
  const error = await listen(listener.address().port).then(() => null, (reason: NodeJS.ErrnoException) => reason)
  assert.is(error?.code, 'EADDRINUSE')
  await listener.close()
})

refusals.run()
