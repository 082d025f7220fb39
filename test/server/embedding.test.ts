// serve() as a guest in somebody else's program: what it leaves alone, what it keeps alive, and where it can live.
import * as http from 'node:http'
import * as net from 'node:net'
import * as tls from 'node:tls'
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { once } from 'node:events'
import { duplexPair } from 'node:stream'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { listen, serve, UsageError, wrapTls, type Application, type ServeOptions, type Server } from '../../src/index.ts'
import { setInternalErrorHook } from '../../src/io/transport.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { answering, echoPath, get, memoryPair, onEveryTransport, pass, turns, until } from '../support/harness.ts'
import { ask, killAll, Program, runToEnd } from '../support/program.ts'
import { RawClient, WAIT } from '../support/raw-client.ts'
import { certificate, certificatePath, connectTls, connectTo, socketPath } from '../support/sockets.ts'
import { within } from '../support/within.ts'

const INDEX = new URL('../../src/index.js', import.meta.url).href
const CLI = fileURLToPath(new URL('../../src/cli.js', import.meta.url))
const TRANSPORTS = ['stream', 'handle'] as const
const QUIET = '{ info() {}, debug() {}, error(line) { console.error(line) } }'

const test = suite('embedding')
let directory = ''
let scripts = 0
const servers: Server[] = []
const workers: Worker[] = []

test.before(() => {
  directory = mkdtempSync(join(tmpdir(), 'wl-embed-'))
})
test.after.each(async () => {
  killAll()
  await Promise.all(workers.splice(0).map(worker => worker.terminate()))
  await within(WAIT, Promise.all(servers.splice(0).map(server => server.close({ timeout: 0 }))), 'the servers to close')
})
test.after(() => rmSync(directory, { recursive: true, force: true }))

/** A module on disk, for a process or a thread of its own. */
function script(source: string): string {
  const file = join(directory, `${++scripts}.mjs`)
  writeFileSync(file, source)
  return file
}

/** Runs a module to its natural end; what it printed as JSON. */
async function run(source: string): Promise<unknown> {
  const { code, signal, stdout, stderr } = await runToEnd(process.execPath, [script(source)])
  assert.equal([code, signal, stderr], [0, null, ''])
  return JSON.parse(stdout)
}

async function started(application: Application, options: ServeOptions = {}): Promise<Server> {
  const server = serve(await listen(0), application, { logOutput: false, ...options })
  servers.push(server)
  return server
}

// ── Leaves the process alone ─────────────────────────────────────────────────────────────────────────────────────────────────────────

for (const transport of TRANSPORTS) {
  test(`no globals, no listeners of the process but one at its exit, no change of a prototype (${transport})`, async () => {
    const result = await run(`
      import { get } from 'node:http'
      const names = () => Reflect.ownKeys(globalThis).length
      const listeners = () => Object.fromEntries(process.eventNames().map(name => [String(name), process.listenerCount(name)]))
      const classes = [Object, Function, Array, String, Promise, Buffer, Uint8Array]
      const shapes = () => classes.map(each => [Reflect.ownKeys(each).length, Reflect.ownKeys(each.prototype).length]).join()
      const before = [names(), shapes()].join()
      const listenersBefore = listeners()
      const { listen, serve } = await import(${JSON.stringify(INDEX)})
      const imported = [names(), shapes()].join()
      const importedListeners = listeners()
      const servers = []
      for (let i = 0; i < 3; i++) servers.push(serve(await listen(0), (environ, start) => { start(200); return ['ok'] }, { transport: '${transport}', log: { write() {} } }))
      for (const { address: { port } } of servers) {
        await new Promise((resolve, reject) => get({ port, host: '127.0.0.1', agent: false }, answer => answer.resume().on('end', resolve)).on('error', reject))
      }
      const serving = [names(), shapes()].join()
      const servingListeners = listeners()
      await Promise.all(servers.map(server => server.close()))
      console.log(JSON.stringify({ same: [imported === before, serving === before], listenersBefore, importedListeners, servingListeners }))
    `) as Record<string, unknown>
    assert.equal(result['same'], [true, true])
    assert.equal(result['importedListeners'], result['listenersBefore'])
    const { exit: before = 0, ...otherBefore } = result['listenersBefore'] as Record<string, number>
    const { exit = 0, ...others } = result['servingListeners'] as Record<string, number>
    assert.equal(others, otherBefore, 'signals and uncaught exceptions are not ours')
    // What the log holds is written at the exit: one listener however many servers.
    assert.ok(exit <= before + 1)
  })

  test(`the process ends by itself after close(), its peers still connected (${transport})`, async () => {
    const result = await run(`
      import { connect } from 'node:net'
      import { listen, serve } from ${JSON.stringify(INDEX)}
      const server = serve(await listen(0), (environ, start) => { start(200); return ['ok'] }, { transport: '${transport}', log: ${QUIET}, timeouts: { idleGrace: 0 } })
      const idle = connect(server.address.port, '127.0.0.1')
      idle.write('GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n')
      await new Promise(resolve => idle.once('data', resolve))
      idle.resume()
      const unused = connect(server.address.port, '127.0.0.1')
      await new Promise(resolve => unused.once('connect', resolve))
      unused.resume()
      const keepsAwake = setTimeout(() => {}, 60_000)
      await server.close()
      clearTimeout(keepsAwake)
      console.log(JSON.stringify([server.state, server.connections]))
    `)
    assert.equal(result, ['closed', 0])
  })

  test(`unref(): a listening server does not keep the process; ref() does (${transport})`, async () => {
    assert.is(await run(`
      import { listen, serve } from ${JSON.stringify(INDEX)}
      const server = serve(await listen(0), () => [], { transport: '${transport}', log: ${QUIET} }).unref()
      console.log(JSON.stringify(server.state))
    `), 'listening')
    const program = new Program(process.execPath, [script(`
      import { listen, serve } from ${JSON.stringify(INDEX)}
      serve(await listen(0), (environ, start) => { start(200); return ['alive'] }, { transport: '${transport}' }).unref().ref()
    `)])
    assert.is(String((await ask(await program.port(), 'GET /')).body), 'alive')
    assert.is(program.child.exitCode, null)
    assert.equal(await program.stop(), { code: null, signal: 'SIGTERM' }, 'no handler of ours: the system\'s own end')
  })

  test(`in a worker thread: served, closed there, and ended from outside in the middle of answers (${transport})`, async () => {
    const file = script(`
      import { parentPort } from 'node:worker_threads'
      import { listen, serve } from ${JSON.stringify(INDEX)}
      const server = serve(await listen(0), async (environ, start) => {
        start(200)
        if (environ.PATH_INFO === '/slow') return (async function* () { for (;;) { yield 'x'.repeat(10000); await new Promise(resolve => setImmediate(resolve)) } })()
        const content = await environ['wsgi.input'].read()
        return [environ.PATH_INFO, content]
      }, { transport: '${transport}', log: ${QUIET}, timeouts: { idleGrace: 0 } })
      parentPort.postMessage([server.transport, server.address.port])
      parentPort.once('message', async () => { await server.close(); parentPort.postMessage('closed') })
    `)
    for (let round = 0; round < 3; round++) {
      const worker = new Worker(file)
      workers.push(worker)
      const [kind, port] = (await within(WAIT, once(worker, 'message'), 'the worker'))[0] as [string, number]
      assert.is(kind, transport)
      const client = new RawClient(await connectTo(port))
      await client.send('POST /in HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n a worker')
      assert.is((await client.response()).text, '/in a worker')
      if (round === 0) {
        client.destroy()
        const exit = within(WAIT, once(worker, 'exit'), 'its natural end')
        worker.postMessage('close')
        assert.is((await within(WAIT, once(worker, 'message'), 'close()'))[0], 'closed')
        // parentPort's own listener was the last thing it had.
        const [code] = (await exit) as [number]
        assert.is(code, 0)
        continue
      }
      await client.send(get('/slow'))
      await until(() => client.received > 100_000, 'an answer under way')
      await within(WAIT, worker.terminate(), 'terminate()')
      await client.closed
    }
  })
}

test('importing does nothing: no handle, no timer, no file', async () => {
  // (What reads the modules' files may still be closing them.)
  assert.equal(await run(`
    await import(${JSON.stringify(INDEX)})
    await new Promise(resolve => setImmediate(resolve))
    console.log(JSON.stringify(process.getActiveResourcesInfo().filter(name => !/^(FSReq|CloseReq|PipeWrap|TTYWrap|Immediate)/.test(name))))
  `), [])
})

// ── Several of them ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────

test('several servers in one process, each with its own options, transport, counters and end', async () => {
  const seen: string[] = []
  const tell = (name: string) => (environ: { [key: string]: unknown }): void => void seen.push(`${name} ${String(environ['my.name'])}`)
  const application = (name: string): Application => (environ, startResponse) => {
    tell(name)(environ)
    startResponse(200, [['x-name', name]])
    return [name]
  }
  const a = await started(application('a'), { transport: 'stream', environ: { 'my.name': 'A' }, capitalizeResponseHeaders: true, urlLengthLimit: 100 })
  const b = await started(application('b'), { transport: 'handle', environ: { 'my.name': 'B' }, capitalizeResponseHeaders: false, keepalive: false })
  const listener = wrapTls(await listen(0), certificate())
  const c = serve(listener, application('c'), { logOutput: false, transport: 'stream', maxHttpVersion: 'HTTP/1.0' })
  servers.push(c)
  assert.equal([a.transport, b.transport, c.transport], ['stream', 'handle', 'stream'])
  const long = `/${'x'.repeat(200)}`
  const toA = new RawClient(await connectTo(a.address.port))
  await toA.send(get())
  assert.equal((await toA.response()).headers[0], ['X-Name', 'a'])
  await toA.send(get(long))
  assert.is((await toA.response()).status, 414)
  const toB = new RawClient(await connectTo(b.address.port))
  await toB.send(get(long))
  const fromB = await toB.response()
  assert.equal([fromB.headers[0], fromB.header('connection')], [['x-name', 'b'], 'close'])
  const toC = new RawClient(await connectTls(c.address.port))
  await toC.send(get())
  assert.is((await toC.response()).version, 'HTTP/1.0')
  assert.equal(seen, ['a A', 'b B', 'c undefined'])
  assert.equal([a, b, c].map(server => server.stats().requests), [1, 1, 1])
  await a.close({ timeout: 0 })
  assert.equal([a, b, c].map(server => server.state), ['closed', 'listening', 'listening'])
  const again = new RawClient(await connectTo(b.address.port))
  await again.send(get())
  assert.is((await again.response()).text, 'b')
  for (const client of [toA, toB, toC, again]) client.destroy()
})

test('one application in two servers over one object of options', async () => {
  const options: ServeOptions = Object.freeze({ logOutput: false, environ: Object.freeze({ shared: 1 }), limits: Object.freeze({ maxBodySize: 10 }), timeouts: Object.freeze({ head: 5_000 }) })
  const own: Application = (environ, startResponse) => {
    environ['shared'] = 2
    startResponse(200)
    return ['ok']
  }
  const both = [await started(own, options), await started(own, options)]
  for (const server of both) assert.is(String((await ask(server.address.port, 'GET /')).body), 'ok')
  assert.equal(options.environ, { shared: 1 })
})

test('a wrong use is told where it happens, and leaves nothing behind', async () => {
  const listener = await listen(0)
  try {
    assert.throws(() => serve(listener, undefined as never), /must be a function/)
    for (const first of [Promise.resolve(listener), 8090, undefined]) assert.throws(() => serve(first as never, echoPath), /^the first argument must be a listener: serve\(await listen/)
    for (const options of [{ nonsense: 1 }, { maxSize: 0 }, { limits: { nonsense: 1 } }, { timeouts: { head: -1 } }, { transport: 'fast' }, { logFormat: '%(nonsense)s' }, { customPool: {} }]) {
      assert.throws(() => serve(listener, echoPath, options as never), (error: Error) => error instanceof UsageError, JSON.stringify(options))
    }
    // None of them has taken the listener.
    const server = serve(listener, echoPath, { logOutput: false })
    servers.push(server)
    assert.throws(() => serve(listener, echoPath, { logOutput: false }), /served already/)
    assert.is(String((await ask(server.address.port, 'GET /x')).body), '/x')
  } finally {
    await listener.close()
  }
})

test('closeListener: false: the listener is the caller\'s, and can be served again', async () => {
  const listener = await listen(0)
  const { port } = listener.address()
  for (const name of ['first', 'second']) {
    const server = serve(listener, answering(name), { logOutput: false, closeListener: false })
    assert.is(String((await ask(port, 'GET /')).body), name)
    await server.close()
    assert.is(server.state, 'closed')
  }
  await listener.close()
})

// ── The end of its life ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

for (const transport of TRANSPORTS) {
  for (const secure of [false, true]) {
    test(`the listener's signal: the server drains and finishes (${transport}${secure ? ', TLS' : ''})`, async () => {
      const abort = new AbortController()
      const plain = await listen({ port: 0, signal: abort.signal })
      const server = serve(secure ? wrapTls(plain, certificate()) : plain, echoPath, { logOutput: false, transport, timeouts: { idleGrace: 0 } })
      servers.push(server)
      const client = new RawClient(await (secure ? connectTls : connectTo)(server.address.port))
      await client.send(get('/before'))
      assert.is((await client.response()).text, '/before')
      abort.abort()
      assert.is(server.state, 'draining')
      await client.untilEnd()
      client.destroy()
      await within(WAIT, server.finished, 'the server to finish')
      assert.is(server.state, 'closed')
    })
  }
}

test("a net.Server of the caller's own: closed by its owner, the server finishes with the last connection", async () => {
  const own = net.createServer()
  own.listen(0, '127.0.0.1')
  await once(own, 'listening')
  const server = serve(own, echoPath, { logOutput: false })
  servers.push(server)
  const client = new RawClient(await connectTo(server.address.port))
  await client.send(get('/1'))
  assert.is((await client.response()).text, '/1')
  own.close()
  await client.send(get('/2', 'Connection: close\r\n'))
  assert.is((await client.response()).text, '/2')
  client.destroy()
  await within(WAIT, server.finished, 'the server to finish')
  assert.is(server.state, 'closed')
})

test('a listener that is closed already is not served', async () => {
  const abort = new AbortController()
  const listener = await listen({ port: 0, signal: abort.signal })
  abort.abort()
  assert.throws(() => serve(listener, echoPath, { logOutput: false }), /is closed/)
})

test('AsyncDisposable: closed at the end of its block', async () => {
  let kept: Server | null = null
  {
    await using server = serve(await listen(0), echoPath, { logOutput: false })
    kept = server
    assert.is(String((await ask(server.address.port, 'GET /x')).body), '/x')
  }
  assert.is(kept.state, 'closed')
  await kept.finished
  await kept[Symbol.asyncDispose]()
})

test('close() twice is one drain; finished tells the same', async () => {
  const server = await started(echoPath)
  const first = server.close()
  assert.is(server.state, 'draining')
  await within(WAIT, Promise.all([first, server.close(), server.finished]), 'the drain')
  assert.is(server.state, 'closed')
  assert.equal([server.address.port > 0, server.connections], [true, 0])
})

test('close({ signal }) cuts a drain short; so does a second close({ timeout: 0 })', async () => {
  for (const how of ['signal', 'aborted before', 'again'] as const) {
    const server = await started((_environ, startResponse) => {
      startResponse(200)
      return (async function* () {
        yield 'x'.repeat(5000)
        await new Promise(() => {})
      })()
    }, { clock: new FakeClock() })
    const client = new RawClient(await connectTo(server.address.port))
    await client.send(get())
    await until(() => client.received > 5000, 'the answer')
    const controller = new AbortController()
    if (how === 'aborted before') controller.abort()
    const closed = server.close({ signal: controller.signal })
    if (how !== 'aborted before') {
      await turns(10)
      assert.is(server.connections, 1)
    }
    if (how === 'signal') controller.abort()
    else if (how === 'again') void server.close({ timeout: 0 })
    await within(WAIT, closed, how)
    assert.is(await client.closed, 'reset')
  }
})

onEveryTransport('embedding: timers', (h, wire) => {
  wire('no timer waits while nobody is connected, nor after close()', async () => {
    const clock = new FakeClock()
    const { server } = await h.serve(echoPath, { clock })
    assert.is(clock.pending(), 0)
    const client = await h.connect()
    await client.send(get())
    await client.response()
    assert.ok(clock.pending() > 0)
    client.destroy()
    await until(() => server.connections === 0, 'the connection to go')
    // The date of the answers is kept for its second.
    await pass(clock, 2_000)
    assert.is(clock.pending(), 0)
    await server.close()
    assert.is(clock.pending(), 0)
  })
}, { unix: true, memory: true }).run()

// ── handle(duplex) ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

test('handle(): an in-memory pair, a socket and a TLS socket of the caller\'s', async () => {
  const server = await started((environ, startResponse) => {
    startResponse(200)
    return [`${environ['wsgi.url_scheme']} ${environ.REMOTE_ADDR}`]
  })
  const [near, far] = memoryPair()
  server.handle(far)
  const inMemory = new RawClient(near)
  await inMemory.send(get() + get())
  assert.equal((await inMemory.responses(2)).map(each => each.text), ['http ', 'http '])
  // Something else's listener: whoever owns it hands its sockets over.
  const owner = http.createServer()
  owner.removeAllListeners('connection')
  owner.on('connection', socket => server.handle(socket))
  owner.listen(0, '127.0.0.1')
  await once(owner, 'listening')
  const overTcp = new RawClient(await connectTo((owner.address() as { port: number }).port))
  await overTcp.send(get())
  assert.is((await overTcp.response()).text, 'http 127.0.0.1')
  assert.is(server.connections, 2)
  owner.close()
  inMemory.destroy()
  overTcp.destroy()
  await until(() => server.connections === 0, 'both to go')
})

test('handle(): a socket that is still connecting is no unix socket', async () => {
  const server = await started((environ, startResponse) => {
    startResponse(200)
    return [`${environ.REMOTE_ADDR} ${environ.SERVER_NAME}`]
  })
  const directory = mkdtempSync(join(tmpdir(), 'wirelet-'))
  for (const [where, expected] of [[{ port: 0, host: '127.0.0.1' }, '127.0.0.1 127.0.0.1'], [{ path: join(directory, 's') }, 'unix unix']] as const) {
    const peers: net.Socket[] = []
    const relay = net.createServer(socket => peers.push(socket)).listen(where)
    await once(relay, 'listening')
    const address = relay.address() as net.AddressInfo | string
    server.handle(typeof address === 'string' ? net.connect(address) : net.connect(address.port, '127.0.0.1'))
    await until(() => peers.length === 1, 'the connection')
    const client = new RawClient(peers[0]!)
    await client.send(get())
    assert.is((await client.response()).text, expected)
    client.destroy()
    relay.close()
  }
  await until(() => server.connections === 0, 'both to go')
  rmSync(directory, { recursive: true })
})

test('handle(): the peer is known after it has reset, and a unix socket stays one', async () => {
  const lines: string[] = []
  const gates: (() => void)[] = []
  const seen: unknown[] = []
  const server = await started(async environ => {
    await new Promise<void>(resolve => gates.push(resolve))
    seen.push(environ.REMOTE_ADDR, environ.SERVER_NAME, environ.SERVER_PORT)
    return ''
  }, { logOutput: true, logFormat: '%(peer_ip)s %(request_line)s', log: { write: (text: string) => lines.push(text) } })
  const directory = mkdtempSync(join(tmpdir(), 'wirelet-'))
  for (const where of [{ port: 0, host: '127.0.0.2' }, { path: join(directory, 's') }]) {
    const owner = net.createServer({ pauseOnConnect: true }, socket => server.handle(socket)).listen(where)
    await once(owner, 'listening')
    const address = owner.address() as net.AddressInfo | string
    const peer = typeof address === 'string' ? net.connect(address) : net.connect({ port: address.port, host: '127.0.0.2', localAddress: '127.0.0.3' })
    peer.on('error', pass)
    peer.write(get('/gone'))
    await until(() => gates.length === 1, 'the request')
    // A unix socket knows no reset: we cut it ourselves, last of all.
    if (typeof address === 'string') void server.close({ timeout: 0 })
    else peer.resetAndDestroy()
    await until(() => server.connections === 0, 'the end of the connection')
    gates.pop()!()
    const expected = typeof address === 'string' ? ['unix', 'unix', ''] : ['127.0.0.3', '127.0.0.2', String(address.port)]
    await until(() => seen.length === 3, 'the application')
    assert.equal(seen.splice(0), expected)
    peer.destroy()
    owner.close()
  }
  await server.close()
  assert.match(lines.join(''), /^127\.0\.0\.3 GET \/gone HTTP\/1\.1$/m)
  assert.match(lines.join(''), /^unix GET \/gone HTTP\/1\.1$/m)
  rmSync(directory, { recursive: true })
})

test('handle(): a TLS socket of the caller\'s, cut in the middle of an answer: reset', async () => {
  const server = await started((_environ, startResponse) => {
    startResponse(200)('half')
    throw new Error('in the middle')
  })
  const owner = tls.createServer(certificate(), socket => server.handle(socket)).listen(0, '127.0.0.1')
  await once(owner, 'listening')
  let resets = 0
  owner.on('connection', socket => {
    const { resetAndDestroy } = socket
    socket.resetAndDestroy = () => {
      resets++
      return resetAndDestroy.call(socket)
    }
  })
  const raw = await connectTo((owner.address() as net.AddressInfo).port)
  const client = new RawClient(await connectTls((owner.address() as net.AddressInfo).port, { socket: raw }), raw)
  await client.send('GET / HTTP/1.0\r\n\r\n')
  await client.closed
  // Node's client reads a reset through TLS as an end.
  assert.is(resets, 1)
  owner.close()
  await until(() => server.connections === 0, 'it to go')
})

test('handle(): a stream that is no socket is destroyed with an error when it is cut, and may throw then', async () => {
  const server = await started((_environ, startResponse) => {
    startResponse(200)('half')
    throw new Error('in the middle')
  })
  for (const throws of [false, true]) {
    const [near, far] = duplexPair()
    const destroyed: unknown[] = []
    const { destroy } = far
    far.destroy = error => {
      destroyed.push((error as NodeJS.ErrnoException | undefined)?.code)
      if (throws) throw new Error('a bad stream')
      return destroy.call(far, error)
    }
    const reported: unknown[] = []
    setInternalErrorHook(error => reported.push(error))
    try {
      server.handle(far)
      near.write(get())
      await until(() => destroyed.length > 0, 'the cut')
      await until(() => server.connections === 0, 'it to go')
    } finally {
      setInternalErrorHook(console.error)
    }
    assert.equal(destroyed, ['ECONNRESET'])
    assert.is(reported.length, throws ? 1 : 0)
    near.destroy()
  }
})

test('handle(): a stream that is no socket and throws when it is paused or resumed ends its connection, not the process', async () => {
  const server = await started(echoPath)
  for (const method of ['pause', 'resume'] as const) {
    const [near, far] = duplexPair()
    const reported: unknown[] = []
    setInternalErrorHook(error => reported.push(error))
    try {
      server.handle(far)
      far[method] = () => {
        throw new Error('a bad stream')
      }
      near.write(get())
      await until(() => reported.length > 0, 'the report')
      await until(() => server.connections === 0, 'it to go')
    } finally {
      setInternalErrorHook(console.error)
    }
    assert.is(far.destroyed, true)
    assert.is(reported.length, 1)
    near.destroy()
  }
})

test('handle(): an end of a pair that writes inside our writes is read in order', async () => {
  // Node's own emits 'data' within write(): what came so was interpreted before requests that had been read, and content taken for a request.
  const seen: string[] = []
  const server = await started(async (environ, startResponse) => {
    seen.push(environ.REQUEST_METHOD + ' ' + environ.REQUEST_URI)
    const content = await environ['wsgi.input'].read()
    startResponse(200)
    return [`<${environ.REQUEST_URI}>${'.'.repeat(20_000)}${content}`]
  })
  for (let at = 0; at < 7; at++) {
    seen.length = 0
    const [near, far] = duplexPair()
    server.handle(far)
    let received = ''
    let written = false
    near.on('data', chunk => {
      received += chunk
      if (written || !received.includes(`</${at}>`)) return
      written = true
      near.write('GET /content HTTP/1.1\r\nHost: a\r\n\r\n')
    })
    near.write([0, 1, 2, 3, 4, 5, 6].map(i => get(`/${i}`)).join('') + 'POST /7 HTTP/1.1\r\nHost: a\r\nContent-Length: 34\r\n\r\n')
    await until(() => received.includes('</7>'), 'the last answer')
    assert.equal(seen, ['GET /0', 'GET /1', 'GET /2', 'GET /3', 'GET /4', 'GET /5', 'GET /6', 'POST /7'])
    assert.ok(received.endsWith('GET /content HTTP/1.1\r\nHost: a\r\n\r\n'))
    near.end()
  }
  await until(() => server.connections === 0, 'all to go')
})

test('handle() during and after a drain: closed, nothing served', async () => {
  const server = await started(echoPath)
  await server.close()
  const [near, far] = memoryPair()
  server.handle(far)
  const client = new RawClient(near)
  await client.closed
  assert.is(server.stats().requests, 0)
})

// ── Many processes ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

for (const policy of ['SCHED_RR', 'SCHED_NONE'] as const) {
  test(`node:cluster, two workers (${policy})`, async () => {
    const result = await run(`
      import cluster from 'node:cluster'
      import { connect } from 'node:net'
      import { listen, serve } from ${JSON.stringify(INDEX)}
      if (cluster.isPrimary) {
        cluster.schedulingPolicy = cluster.${policy}
        const workers = [cluster.fork(), cluster.fork()]
        const told = await Promise.all(workers.map(worker => new Promise(resolve => worker.once('message', resolve))))
        const ask = () => new Promise((resolve, reject) => {
          let text = ''
          const socket = connect(told[0].port, '127.0.0.1', () => socket.write('GET /who HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n'))
          socket.on('data', chunk => (text += chunk)).on('end', () => resolve(Number(text.split('\\r\\n\\r\\n')[1]))).on('error', reject)
        })
        const answers = []
        for (let i = 0; i < 20; i++) answers.push(await ask())
        answers.push(...await Promise.all(Array.from({ length: 20 }, ask)))
        const exits = Promise.all(workers.map(worker => new Promise(resolve => worker.once('exit', (code, signal) => resolve([code, signal])))))
        for (const worker of workers) worker.send('stop')
        console.log(JSON.stringify({
          samePort: told[0].port === told[1].port, transports: told.map(each => each.transport), known: answers.every(pid => told.some(each => each.pid === pid)),
          answers: answers.length, workers: new Set(answers).size, exits: await exits
        }))
      } else {
        const server = serve(await listen({ port: 0 }), (environ, start) => { start(200); return [String(process.pid)] }, { log: ${QUIET}, timeouts: { idleGrace: 0 } })
        process.once('message', async () => { await server.close(); process.disconnect() })
        process.send({ port: server.address.port, pid: process.pid, transport: server.transport })
      }
    `) as Record<string, unknown>
    const { workers, transports, ...rest } = result
    assert.equal(rest, { samePort: true, known: true, answers: 40, exits: [[0, null], [0, null]] })
    // Round-robin reaches both; with the other the kernel decides.
    assert.ok(policy === 'SCHED_RR' ? workers === 2 : Number(workers) >= 1, String(workers))
    assert.ok((transports as string[]).every(each => each === 'stream' || each === 'handle'))
  })
}

test('the command under a process manager: `ready` when it listens, and under node:cluster', async () => {
  const file = script("export default (environ, start) => { start(200); return ['managed ' + process.pid] }")
  const result = await run(`
    import cluster from 'node:cluster'
    import { fork } from 'node:child_process'
    import { get } from 'node:http'
    const words = ['--bind', '127.0.0.1:0', '--access-log', 'off', ${JSON.stringify(file)}]
    const ask = port => new Promise((resolve, reject) => get({ port, host: '127.0.0.1', agent: false }, answer => answer.setEncoding('utf8').once('data', resolve)).on('error', reject))
    // pm2's wait_ready.
    const child = fork(${JSON.stringify(CLI)}, words, { silent: true })
    let said = ''
    child.stderr.on('data', text => (said += text))
    const message = await new Promise(resolve => child.once('message', resolve))
    while (!/:\\d+ /.test(said)) await new Promise(resolve => child.stderr.once('data', resolve))
    const answer = await ask(Number(/127\\.0\\.0\\.1:(\\d+)/.exec(said)[1]))
    child.kill('SIGTERM')
    const end = await new Promise(resolve => child.once('close', (code, signal) => resolve([code, signal])))
    // The same command as workers of a cluster.
    cluster.setupPrimary({ exec: ${JSON.stringify(CLI)}, args: words, silent: true })
    const workers = [cluster.fork(), cluster.fork()]
    const addresses = workers.map(worker => new Promise(resolve => worker.once('listening', resolve)))
    const ready = await Promise.all(workers.map(worker => new Promise(resolve => worker.once('message', resolve))))
    const { port } = await addresses[0]
    const pids = new Set()
    for (let i = 0; i < 10; i++) pids.add(await ask(port))
    const ends = workers.map(worker => new Promise(resolve => worker.once('exit', (code, signal) => resolve([code, signal]))))
    for (const worker of workers) worker.process.kill('SIGTERM')
    console.log(JSON.stringify({ message, answer: answer === 'managed ' + child.pid, end, ready, pids: pids.size, ends: await Promise.all(ends) }))
  `)
  assert.equal(result, { message: 'ready', answer: true, end: [0, null], ready: ['ready', 'ready'], pids: 2, ends: [[0, null], [0, null]] })
})

test('unix sockets that another process has bound, as systemd hands them over', async () => {
  const paths = ['stream', 'handle', 'tls', 'own'].map(name => socketPath(name))
  const bound = paths.map(path => net.createServer().listen(path))
  await Promise.all(bound.map(server => once(server, 'listening')))
  const child = spawn(process.execPath, [script(`
    import { once } from 'node:events'
    import { createServer } from 'node:net'
    import { listen, serve, wrapTls } from ${JSON.stringify(INDEX)}
    const own = createServer().listen({ fd: 6 })
    await once(own, 'listening')
    const files = { certfile: ${JSON.stringify(certificatePath('localhost.crt'))}, keyfile: ${JSON.stringify(certificatePath('localhost.key'))} }
    const served = [[await listen({ fd: 3 }), 'stream'], [await listen({ fd: 4 }), 'handle'], [wrapTls(await listen({ fd: 5 }), files), 'handle'], [own, 'auto']]
    for (const [listener, transport] of served) {
      const server = serve(listener, (environ, start) => {
        start(200)
        void server.close()
        return [server.transport, server.url, server.address.family, environ.REMOTE_ADDR, environ.REMOTE_PORT, environ.SERVER_NAME, environ.SERVER_PORT].join()
      }, { log: ${QUIET}, transport })
    }
    console.log('serving')
  `)], { timeout: WAIT, stdio: ['ignore', 'pipe', 'inherit', ...bound.map(server => (server as unknown as { _handle: { fd: number } })._handle.fd)] })
  const exit = once(child, 'close')
  // It removes the file, were it not moved out of its way.
  for (const [i, server] of bound.entries()) {
    renameSync(paths[i]!, `${paths[i]}.kept`)
    server.close()
    renameSync(`${paths[i]}.kept`, paths[i]!)
  }
  await within(WAIT, Promise.race([once(child.stdout!, 'data'), exit]), 'the child')
  const answers: string[] = []
  for (const path of paths) {
    const client = new RawClient(await (path.endsWith('tls') ? connectTls : connectTo)(path))
    await client.send(get())
    answers.push((await client.response()).text)
    client.destroy()
  }
  assert.equal(answers, [
    'stream,http:unix,unix,unix,,unix,',
    'handle,http:unix,unix,unix,,unix,',
    'handle,https:unix,unix,unix,,unix,',
    'stream,http:unix,unix,unix,,unix,'
  ])
  assert.equal(await within(WAIT, exit, 'the child to end'), [0, null])
  assert.ok(paths.every(path => existsSync(path)), 'files that were not ours are removed')
})

test('TLS by files, in a process of its own, ended by itself', async () => {
  assert.equal(await run(`
    import { request } from 'node:https'
    import { listen, serve, wrapTls } from ${JSON.stringify(INDEX)}
    const listener = wrapTls(await listen(0), { certfile: ${JSON.stringify(certificatePath('localhost.crt'))}, keyfile: ${JSON.stringify(certificatePath('localhost.key'))} })
    const server = serve(listener, (environ, start) => { start(200); return [environ['wirelet.tls'].protocol] }, { log: ${QUIET}, timeouts: { idleGrace: 0 } })
    const text = await new Promise((resolve, reject) => request({ port: server.address.port, host: '127.0.0.1', rejectUnauthorized: false, agent: false }, answer => answer.setEncoding('utf8').once('data', resolve)).on('error', reject).end())
    await server.close()
    console.log(JSON.stringify(text))
  `), 'TLSv1.3')
})

test.run()
