// What only handles have: getting at them silently, falling back, the Duplex of our own that a takeover gets, and no handle left behind.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { lentBuffers } from '../../src/io/buffer-pool.ts'
import { errorName, isListedRuntime, isStreamHandle, prepareHandles } from '../../src/io/handle-binding.ts'
import type { HandleDuplex } from '../../src/io/handle-duplex.ts'
import { type Listener, listen } from '../../src/io/listener.ts'
import { setPoison } from '../../src/io/poison.ts'
import { NOBODY, setInternalErrorHook } from '../../src/io/read-slab.ts'
import type { Transport } from '../../src/io/transport.ts'
import { turns } from '../support/harness.ts'
import { PATIENCE, closing, collect, connectTo, readExactly, socketPath, wasReset } from '../support/sockets.ts'
import { Recorder, accepting, pattern } from '../support/transports.ts'
import { within } from '../support/within.ts'

const test = suite('handle transport')
const open: { listener: Listener; transport: Transport; client: Socket }[] = []

async function connected(where: number | string = 0): Promise<{ transport: Transport; client: Socket; listener: Listener }> {
  const listener = await listen(where)
  const { accepted } = accepting(listener, 'handle')
  const client = await connectTo(listener.path ?? listener.address().port)
  const made = { transport: await within(PATIENCE, accepted, 'accept'), client, listener }
  open.push(made)
  return made
}

async function takenOver(where?: number | string): Promise<{ duplex: HandleDuplex; client: Socket; listener: Listener }> {
  const { transport, client, listener } = await connected(where)
  transport.start(NOBODY)
  const duplex = transport.detach(null) as HandleDuplex
  return { duplex, client, listener }
}

/** Runs a module of the build in another process; its whole output, both streams. */
async function run(flags: string[], script: string): Promise<string> {
  const module = (name: string): string => JSON.stringify(new URL(`../../src/io/${name}.js`, import.meta.url).href)
  const source = script.replace(/from '(\w[\w-]*)'/g, (_all, name: string) => `from ${module(name)}`)
  const child = spawn(process.execPath, [...flags, '--input-type=module', '-e', source], { stdio: ['ignore', 'pipe', 'pipe'] })
  const [out, errors] = await Promise.all([collect(child.stdout), collect(child.stderr)])
  return out.toString() + errors.toString()
}

test.before(() => setPoison(true))
test.after(() => setPoison(false))
test.after.each(async () => {
  for (const { transport, client, listener } of open.splice(0)) {
    transport.destroy()
    client.destroy()
    await listener.close()
  }
})

test('available here', () => {
  assert.ok(prepareHandles())
  assert.ok(isListedRuntime())
  assert.not(isStreamHandle(null))
  assert.not(isStreamHandle({}))
  assert.is(errorName(-104), 'ECONNRESET')
  assert.is(errorName(0), 'ERR_WIRELET_TRANSPORT')
})

test('silent under --pending-deprecation --throw-deprecation, and noDeprecation is as it was', async () => {
  const script = "import { prepareHandles } from 'handle-binding'; console.log(prepareHandles(), 'noDeprecation' in process)"
  assert.is(await run([], script), 'true false\n')
  assert.is(await run(['--pending-deprecation', '--throw-deprecation'], script), 'true false\n')
  assert.is(await run(['--no-deprecation'], script), 'true true\n')
})

test('under the permission model: auto is stream, silently; handle is refused', async () => {
  const flag = Number.parseInt(process.versions.node, 10) < 22 ? '--experimental-permission' : '--permission'
  const script = `import { prepareHandles } from 'handle-binding'; console.log(prepareHandles())`
  const said = await run([flag, '--allow-fs-read=*', '--no-warnings'], script)
  assert.is(said, 'false\n')
})

test('a worker thread has handles of its own', async () => {
  const script = `
    import { Worker } from 'node:worker_threads'
    const source = "import('" + MODULE + "').then(m => require('node:worker_threads').parentPort.postMessage(m.prepareHandles()))"
    new Worker(source, { eval: true, execArgv: [] }).on('message', ok => console.log(ok))`
  const module = new URL('../../src/io/handle-binding.js', import.meta.url).href
  assert.is(await run([], script.replace('MODULE', JSON.stringify(module))), 'true\n')
})

test('the Duplex has what a net.Socket has that protocols use', async () => {
  const { duplex, client, listener } = await takenOver()
  const { port } = listener.address()
  assert.equal(
    [duplex.remoteAddress, duplex.remotePort, duplex.remoteFamily, duplex.localAddress, duplex.localPort, duplex.localFamily],
    ['127.0.0.1', client.localPort, 'IPv4', '127.0.0.1', port, 'IPv4']
  )
  assert.equal(duplex.address(), { address: '127.0.0.1', port, family: 'IPv4' })
  assert.is(duplex.setNoDelay().setNoDelay(false).setKeepAlive(true).setKeepAlive(true, 60_000).setKeepAlive().ref().unref().ref(), duplex)
  client.write('12345')
  assert.is((await readExactly(duplex, 5)).toString(), '12345')
  duplex.write('123')
  await readExactly(client, 3)
  assert.equal([duplex.bytesRead, duplex.bytesWritten], [5, 3])
  duplex.destroy()
  await within(PATIENCE, once(duplex, 'close'), 'close')
  assert.equal([duplex.bytesRead, duplex.bytesWritten], [5, 3])
  assert.is(duplex.remoteAddress, '127.0.0.1')
  assert.is(duplex.setNoDelay().setKeepAlive(true).setTimeout(5).ref().unref().resetAndDestroy(), duplex)
})

test('over a unix socket there are no addresses, and nothing of TCP fails', async () => {
  const { duplex, client } = await takenOver(socketPath())
  assert.is(duplex.remoteAddress, undefined)
  assert.equal(duplex.address(), {})
  duplex.setNoDelay().setKeepAlive(true, 1000)
  duplex.resetAndDestroy()
  assert.ok(await closing(client))
})

test('bytes that it gives are copies', async () => {
  const { duplex, client } = await takenOver()
  const chunks: Buffer[] = []
  duplex.on('data', (chunk: Buffer) => chunks.push(chunk))
  client.write('first')
  await within(PATIENCE, once(duplex, 'data'), 'first')
  client.write('second')
  await within(PATIENCE, once(duplex, 'data'), 'second')
  assert.equal(chunks.map(String), ['first', 'second'])
  duplex.destroy()
})

test('half-close both ways, then close', async () => {
  const { duplex, client } = await takenOver()
  duplex.cork()
  duplex.write('a')
  duplex.write('b')
  duplex.write('')
  duplex.uncork()
  duplex.end('c')
  assert.is((await collect(client)).toString(), 'abc')
  client.end('late')
  assert.is((await collect(duplex)).toString(), 'late')
  if (!duplex.closed) await within(PATIENCE, once(duplex, 'close'), 'close')
})

test('resetAndDestroy is seen, also with much pending; right after end it leaves nothing behind', async () => {
  const first = await takenOver()
  first.duplex.write(Buffer.alloc(8 << 20))
  const reset = wasReset(first.client, first.client)
  first.duplex.resetAndDestroy()
  assert.ok(await reset)
  const second = await takenOver()
  second.duplex.end('x')
  await turns(1)
  second.duplex.resetAndDestroy()
  await closing(second.client)
  const third = await takenOver()
  third.duplex.end('x')
  third.duplex.resetAndDestroy()
  await closing(third.client)
})

test('a failed write is an error with its code', async () => {
  const { duplex, client } = await takenOver()
  client.resetAndDestroy()
  const [error] = (await within(PATIENCE, once(duplex, 'error'), 'an error')) as [NodeJS.ErrnoException]
  assert.is(error.code, 'ECONNRESET')
  assert.ok(duplex.destroyed)
})

test("'timeout' comes after silence only, and closes nothing", async () => {
  const { duplex, client } = await takenOver()
  let calls = 0
  duplex.setTimeout(20, () => calls++)
  await within(PATIENCE, once(duplex, 'timeout'), 'timeout')
  assert.is(calls, 1)
  assert.not(duplex.destroyed)
  duplex.setTimeout(0)
  assert.is(duplex.timeout, 0)
  client.write('x')
  assert.is((await readExactly(duplex, 1)).toString(), 'x')
  duplex.destroy()
})

test('an exception of the taker is an uncaught one, and its connection is closed', async () => {
  const { duplex, client } = await takenOver()
  const uncaught = within(PATIENCE, new Promise(resolve => process.once('uncaughtException', resolve)), 'the exception')
  const wrong = new Error('of the taker')
  duplex.on('data', () => {
    throw wrong
  })
  client.write('x')
  assert.is(await uncaught, wrong)
  assert.ok(duplex.destroyed)
})

test('detach after destroy gives a stream that is destroyed', async () => {
  const { transport } = await connected()
  transport.destroy()
  assert.ok(transport.detach(null).destroyed)
})

test('a first read that does not add up: the connection fails, handles are off, later connections are streams', async () => {
  const script = `
    import { listen } from 'listener'
    import { Acceptor } from 'acceptor'
    import { StreamTransport } from 'stream-transport'
    import { connect } from 'node:net'
    const listener = await listen(0)
    const said = []
    const owner = { onBytes() { said.push('bytes') }, onEnd() {}, onDrained() {}, onClosed(code) { said.push(code); next() } }
    const acceptor = new Acceptor(listener, 'handle', 1000, { onTransport(t) { said.push(t.kind); if (t.kind === 'stream') finish(); else t.start(owner) } })
    acceptor.start()
    const hooked = listener.server._handle.onconnection
    listener.server._handle.onconnection = function (status, handle) {
      listener.server._handle.onconnection = hooked
      Object.defineProperty(handle, 'bytesRead', { value: 99 })
      hooked.call(this, status, handle)
    }
    const dial = () => connect(listener.address().port, '127.0.0.1').on('error', () => {})
    dial().write('x')
    function next() { dial() }
    function finish() {
      try { new Acceptor(listener, 'handle', 1000, {}) } catch (error) { said.push(error.code) }
      console.log(said.join(' '), acceptor.kind)
      process.exit()
    }`
  assert.is(await run([], script), 'handle ERR_WIRELET_TRANSPORT stream ERR_WIRELET_TRANSPORT stream\n')
})

test('a first write of text that does not add up: the connection fails, handles are off', async () => {
  const script = `
    import { listen } from 'listener'
    import { Acceptor } from 'acceptor'
    import { connect } from 'node:net'
    const listener = await listen(0)
    const said = []
    const owner = { onBytes() {}, onEnd() {}, onDrained() {}, onClosed(code) { console.log(said.join(' '), code, acceptor.kind); process.exit() } }
    const acceptor = new Acceptor(listener, 'handle', 1000, { onTransport(t) { said.push(t.kind); t.start(owner); t.writeText('abc'); said.push(t.pendingBytes) } })
    acceptor.start()
    const hooked = listener.server._handle.onconnection
    listener.server._handle.onconnection = function (status, handle) {
      const { writeLatin1String } = handle
      handle.writeLatin1String = function (request, text) { return writeLatin1String.call(this, request, text + 'd') }
      hooked.call(this, status, handle)
    }
    connect(listener.address().port, '127.0.0.1').on('error', () => {})`
  assert.is(await run([], script), 'handle 3 ERR_WIRELET_TRANSPORT stream\n')
})

/** A transport whose owner expects `size` more bytes after each large read. */
async function expecting(size: number, where?: string): Promise<{ transport: Transport; client: Socket; owner: Recorder }> {
  const { transport, client } = await connected(where)
  const owner = new Recorder()
  owner.expecting = () => size
  transport.start(owner)
  return { transport, client, owner }
}

for (const where of ['tcp', 'unix socket']) {
  test(`memory of its own (${where}): what came in it stays as it is, whatever comes later`, async () => {
    const { client, owner } = await expecting(150_000, where === 'tcp' ? undefined : socketPath())
    const bytes = pattern(8 << 20)
    client.write(bytes)
    await owner.until('all bytes', () => owner.received === bytes.length)
    assert.ok(owner.own.length > 0, 'some came so')
    assert.ok(owner.bytes.equals(bytes))
    assert.ok(owner.own.every(piece => piece.length >= 75_000 && piece.length <= 150_000), 'each fills at least half of its memory')
    assert.is(new Set(owner.own.map(piece => piece.buffer)).size, owner.own.length, 'none shares it with another')
  })
}

test('memory of its own that is hardly filled is lent, and the slab comes next', async () => {
  const { client, owner, transport } = await expecting(1 << 20)
  transport.pauseReading()
  client.write(pattern(200_000))
  await turns()
  transport.resumeReading()
  await owner.until('the first bytes', () => owner.received === 200_000)
  owner.expecting = () => 0
  client.write('later')
  await owner.until('the rest', () => owner.received === 200_005)
  assert.is(owner.own.length, 0)
  assert.ok(owner.bytes.equals(Buffer.concat([pattern(200_000), Buffer.from('later')])))
})

for (const when of ['within a read', 'later'] as const) {
  test(`taken over ${when}, while memory of its own waits for bytes: the Duplex gets what comes`, async () => {
    const { client, owner, transport } = await expecting(150_000)
    const bytes = pattern(2 << 20)
    let duplex: HandleDuplex | null = null
    owner.during = () => {
      if (owner.received < 500_000) return
      if (when === 'within a read') duplex = transport.detach(null) as HandleDuplex
      else transport.pauseReading()
      owner.during = () => {}
    }
    client.write(bytes)
    client.end()
    await owner.until('the first bytes', () => owner.received >= 500_000)
    duplex ??= transport.detach(null) as HandleDuplex
    const rest = await within(PATIENCE, collect(duplex), 'the rest')
    assert.ok(owner.own.length > 0)
    assert.is(owner.received + rest.length, bytes.length)
    assert.ok(Buffer.concat([owner.bytes, rest]).equals(bytes))
    duplex.destroy()
  })
}

test('an owner that throws over bytes in memory of its own: they stay as they are', async () => {
  const { client, owner } = await expecting(150_000)
  const bytes = pattern(4 << 20)
  owner.during = () => {
    if (owner.own.length === 0) return
    throw new Error('no more')
  }
  setInternalErrorHook(() => {})
  client.on('error', () => {})
  client.write(bytes)
  assert.is(await owner.closed(), 'ERR_INTERNAL')
  await turns()
  assert.is(owner.own.length, 1)
  assert.ok(owner.bytes.equals(bytes.subarray(0, owner.received)))
})

// The last test: it looks at what all before it have left.
test('no handle is left open, no memory lent', async () => {
  await turns()
  assert.equal(
    process.getActiveResourcesInfo().filter(name => name === 'TCPSocketWrap'),
    []
  )
  assert.is(lentBuffers(), 0)
})

test.run()
