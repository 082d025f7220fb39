// listen, wrapTls, fromServer: where connections may come from, and what happens to those that come early.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, lstatSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import * as net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Listener, type ListenOptions, fromServer, listen, wrapTls } from '../../src/io/listener.ts'
import { PATIENCE, certificate, certificatePath, closing, collect, connectTo, socketPath } from '../support/sockets.ts'
import { within } from '../support/within.ts'

const test = suite('listener')
const open: Listener[] = []

async function opened(where: number | string | ListenOptions): Promise<Listener> {
  const listener = await listen(where)
  open.push(listener)
  return listener
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await within(PATIENCE, promise, 'a refusal')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return typeof code === 'string' ? code : (error as Error).name
  }
  return 'nothing thrown'
}

/** The next connection that a taker of `listener` gets. */
function nextSocket(listener: Listener): Promise<net.Socket> {
  return within(PATIENCE, new Promise(resolve => listener.attach({ take: resolve, listenerClosed() {}, listenerFailed() {} })), 'a connection')
}

/** Connected, and accepted by Node. */
async function connectEarly(listener: Listener): Promise<net.Socket> {
  const accepted = once(listener.server, 'connection')
  const client = await connectTo(listener.address().port)
  await within(PATIENCE, accepted, 'accept')
  return client
}

/** A socket file whose listener died without removing it. */
async function staleSocket(): Promise<string> {
  const path = socketPath('stale')
  const script = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`
  await within(PATIENCE, once(spawn(process.execPath, ['-e', script]), 'exit'), 'the listener to die')
  assert.ok(lstatSync(path).isSocket())
  return path
}

test.after.each(async () => {
  for (const listener of open.splice(0)) await listener.close()
})

test('a port of 127.0.0.1 unless another host is named', async () => {
  const listener = await opened(0)
  const { address, port, family } = listener.address()
  assert.is(address, '127.0.0.1')
  assert.is(family, 'IPv4')
  assert.ok(port > 0)
  assert.is(listener.url, `http://127.0.0.1:${port}`)
  assert.is(listener.own, true)
  assert.is(listener.tls, null)
  assert.is(listener.path, null)
  // An environment variable that is empty names none. Node would take it for every interface.
  for (const host of ['', undefined]) assert.is((await opened({ port: 0, host } as ListenOptions)).address().address, '127.0.0.1')
  const any = await opened({ port: 0, host: '0.0.0.0', backlog: 16 })
  assert.is(any.address().address, '0.0.0.0')
})

test('a path that reads as a number is a path all the same, where it is called one; an empty one is none', async () => {
  const before = process.cwd()
  process.chdir(tmpdir())
  try {
    const name = String(process.pid)
    for (const where of [`unix:${name}`, { path: name }, { path: `${name}e0` }]) {
      const listener = await opened(where)
      assert.ok(lstatSync(listener.path!).isSocket())
      assert.is(listener.path!.slice(0, 2 + name.length), `./${name}`)
      const accepted = nextSocket(listener)
      const client = await connectTo(listener.path!)
      await accepted
      client.destroy()
      await listener.close()
    }
    // One that nobody listens at any more is found, and not asked for at a port.
    const stale = await staleSocket()
    renameSync(stale, name)
    await opened(`unix:${name}`)
  } finally {
    for (const listener of open.splice(0)) await listener.close()
    process.chdir(before)
  }
  for (const where of ['', 'unix:', { path: '' }, { path: null }, { path: 5 }]) assert.is(await codeOf(listen(where as string)), 'ERR_WIRELET_USAGE')
})

test('a string of digits is a port, as an environment variable has it', async () => {
  const { port } = (await opened('0')).address()
  assert.ok(port > 0)
  assert.is(await codeOf(listen(String(port))), 'EADDRINUSE')
  assert.is(await codeOf(listen('65536')), 'ERR_SOCKET_BAD_PORT')
})

test('an IPv6 address is bracketed', async () => {
  // Not every machine has one.
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  server.address = () => ({ address: '::1', port: 8090, family: 'IPv6' })
  const listener = fromServer(server)
  open.push(listener)
  assert.is(listener.url, 'http://[::1]:8090')
  assert.is(listener.address().family, 'IPv6')
})

test('a unix socket: path, mode 0660, gone after close', async () => {
  const path = socketPath()
  const listener = await opened(`unix:${path}`)
  assert.equal(listener.address(), { address: 'unix', port: 0, family: 'unix' })
  assert.is(listener.url, `http:${path}`)
  assert.is(listener.path, path)
  assert.is(statSync(path).mode & 0o777, 0o660)
  const client = await connectTo(path)
  client.destroy()
  await listener.close()
  assert.not(existsSync(path))
  const other = await opened({ path, mode: 0o600 })
  assert.is(statSync(path).mode & 0o777, 0o600)
  await other.close()
  await other.close()
})

test('a stale socket file is replaced', async () => {
  const path = await staleSocket()
  await opened(path)
  const client = await connectTo(path)
  client.destroy()
})

test('of several that replace a stale socket file at once, one gets it and keeps it', async () => {
  const path = await staleSocket()
  const settled = await within(PATIENCE, Promise.allSettled([1, 2, 3].map(() => opened(path))), 'all of them')
  assert.equal(settled.map(one => (one.status === 'fulfilled' ? 'listens' : (one.reason as NodeJS.ErrnoException).code)).sort(), ['EADDRINUSE', 'EADDRINUSE', 'listens'])
  const taken = nextSocket(open[0]!)
  const client = await connectTo(path)
  const socket = await taken
  socket.destroy()
  client.destroy()
})

test('a socket that somebody listens at is left alone', async () => {
  const path = socketPath()
  await opened(path)
  assert.is(await codeOf(listen(path)), 'EADDRINUSE')
  const client = await connectTo(path)
  client.destroy()
})

test('a file that is no socket is never removed', async () => {
  const path = socketPath('file')
  writeFileSync(path, 'precious')
  assert.is(await codeOf(listen(path)), 'EADDRINUSE')
  assert.is(readFileSync(path, 'utf8'), 'precious')
  rmSync(path)
})

test('errors are the system\'s', async () => {
  const { port } = (await opened(0)).address()
  assert.is(await codeOf(listen(port)), 'EADDRINUSE')
  assert.is(await codeOf(listen('/nowhere/at/all')), 'EACCES')
  assert.is(await codeOf(listen(join(tmpdir(), 'x'.repeat(120)))), 'ENAMETOOLONG')
})

test('a wrong use is a UsageError', async () => {
  const types = [{ port: null }, { port: true }, { fd: '3' }, ...[{ host: 5 }, { backlog: '9' }, { mode: '660' }, { signal: new AbortController() }, { signal: null }].map(one => ({ port: 0, ...one }))]
  for (const wrong of [{}, { port: 0, path: '/x' }, { port: 0, hots: '::1' }, undefined, null, true, ...types]) {
    assert.is(await codeOf(listen(wrong as ListenOptions)), 'ERR_WIRELET_USAGE', JSON.stringify(wrong))
  }
})

test('an inherited descriptor', async () => {
  const parent = await opened(0)
  const { fd } = (parent.server as unknown as { _handle: { fd: number } })._handle
  const module = new URL('../../src/io/listener.js', import.meta.url).href
  const script = `import { listen } from ${JSON.stringify(module)}; const listener = await listen({ fd: 3 }); console.log(listener.url); process.exit()`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit', fd] })
  assert.is((await collect(child.stdout!)).toString(), parent.url + '\n')
})

test('connections that come before anybody serves wait, unread', async () => {
  const listener = await opened(0)
  const client = await connectEarly(listener)
  client.write('early')
  const socket = await nextSocket(listener)
  assert.is(socket.bytesRead, 0)
  const [bytes] = (await within(PATIENCE, Promise.all([once(socket.resume(), 'data')]), 'the early bytes'))[0] as [Buffer]
  assert.is(bytes.toString(), 'early')
  client.destroy()
  socket.destroy()
})

test('more than 1024 early connections are closed at accept', async () => {
  const listener = await opened(0)
  const { server } = listener
  const sockets: net.Socket[] = []
  for (let i = 0; i < 1026; i++) {
    const socket = new net.Socket()
    sockets.push(socket)
    server.emit('connection', socket)
  }
  assert.equal(
    sockets.map(socket => socket.destroyed).flatMap((destroyed, i) => (destroyed ? [i] : [])),
    [1024, 1025]
  )
  const taken: net.Socket[] = []
  listener.attach({ take: socket => taken.push(socket), listenerClosed() {}, listenerFailed() {} })
  assert.is(taken.length, 1024)
  assert.is(taken[0], sockets[0])
})

test('one server at a time; released, it closes what comes', async () => {
  const listener = await opened(0)
  const taker = { take() {}, listenerClosed() {}, listenerFailed() {} }
  listener.attach(taker)
  assert.throws(() => listener.attach(taker), /served already/)
  listener.release()
  const client = await connectTo(listener.address().port)
  assert.is.not(await closing(client), '')
  listener.attach(taker)
})

test('closing drops what nobody has taken, and is quick', async () => {
  const listener = await listen(0)
  const client = await connectEarly(listener)
  const closed = closing(client)
  await within(PATIENCE, listener.close(), 'close')
  await closed
  assert.is(await codeOf(connectTo(listener.address().port)), 'ECONNREFUSED')
})

test('close does not wait for connections that are served', async () => {
  const listener = await listen(0)
  const taken = nextSocket(listener)
  const client = await connectTo(listener.address().port)
  const socket = await taken
  await within(PATIENCE, listener.close(), 'close')
  socket.end('still here')
  const [bytes] = (await within(PATIENCE, once(client, 'data'), 'bytes')) as [Buffer]
  assert.is(bytes.toString(), 'still here')
  client.destroy()
  socket.destroy()
})

test('a signal closes it, or keeps it from listening', async () => {
  const abort = new AbortController()
  const listener = await opened({ port: 0, signal: abort.signal })
  abort.abort()
  await within(PATIENCE, once(listener.server, 'close'), 'close')
  assert.is(await codeOf(listen({ port: 0, signal: abort.signal })), 'AbortError')
  const soon = new AbortController()
  const promise = listen({ port: 0, signal: soon.signal })
  soon.abort()
  assert.is(await codeOf(promise), 'AbortError')
})

test("errors of the listening socket go to whoever serves, early ones too", async () => {
  const listener = await opened(0)
  const errors: string[] = []
  listener.server.emit('error', new Error('early'))
  listener.attach({ take() {}, listenerClosed() {}, listenerFailed: error => errors.push(error.message) })
  listener.server.emit('error', new Error('late'))
  assert.equal(errors, ['early', 'late'])
})

test("a server of the caller's own", async () => {
  const server = net.createServer()
  assert.throws(() => fromServer(server), /not listening/)
  server.listen(0, '127.0.0.1')
  await within(PATIENCE, once(server, 'listening'), 'listening')
  const listener = fromServer(server)
  open.push(listener)
  assert.is(listener.own, false)
  assert.is(listener.server, server)
  const taken = nextSocket(listener)
  const client = await connectTo(listener.address().port)
  const socket = await taken
  socket.destroy()
  client.destroy()
})

test('wrapTls: https, files by path, nonsense refused at once', async () => {
  const plain = await opened(0)
  const listener = wrapTls(plain, { certfile: certificatePath('localhost.crt'), keyfile: certificatePath('localhost.key') })
  assert.is(listener.url, `https://127.0.0.1:${plain.address().port}`)
  assert.ok(listener.secure)
  assert.equal(listener.tls!.ALPNProtocols, ['http/1.1', 'http/1.0'])
  assert.throws(() => wrapTls(listener, certificate()), /already/)
  assert.throws(() => wrapTls(plain, { cert: 'no', key: 'no' }))
  assert.throws(() => wrapTls(plain, { certfile: '/nowhere' }), /ENOENT/)
  // The system's own error would show what it was told to open.
  const key = readFileSync(certificatePath('localhost.key'))
  for (const keyfile of [key, key.toString()] as string[]) {
    const refusal = /^keyfile must be the path of a file; what is in one goes into key$/
    assert.throws(() => wrapTls(plain, { certfile: certificatePath('localhost.crt'), keyfile }), refusal)
    assert.throws(() => listener.setSecureContext({ keyfile }), refusal)
  }
  for (const handshakeTimeout of [0, -1, NaN]) assert.throws(() => wrapTls(plain, { ...certificate(), handshakeTimeout }), /handshakeTimeout/)
  assert.throws(() => plain.setSecureContext(certificate()), /wrapTls/)
  assert.throws(() => listener.setSecureContext({ cert: 'no', key: 'no' }))
  listener.setSecureContext()
  assert.is(listener.unref().ref(), listener)
})

test.run()
