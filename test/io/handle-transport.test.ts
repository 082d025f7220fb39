// What only handles have: getting at them silently, falling back, the Duplex of our own that a takeover gets, and no handle left behind.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { lentBuffers } from '../../src/io/buffer-pool.ts'
import { type HandleReader, UV_EOF, errorName, isListedRuntime, isStreamHandle, prepareHandles } from '../../src/io/handle-binding.ts'
import type { HandleDuplex } from '../../src/io/handle-duplex.ts'
import { type Listener, listen } from '../../src/io/listener.ts'
import { setPoison } from '../../src/io/poison.ts'
import { slab } from '../../src/io/read-slab.ts'
import { NOBODY, setInternalErrorHook } from '../../src/io/transport.ts'
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
  const child = spawn(process.execPath, [...flags, '--input-type=module', '-e', source], { env: { ...process.env, NODE_OPTIONS: '' }, stdio: ['ignore', 'pipe', 'pipe'] })
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

test('setNoDelay and setKeepAlive reach the handle: in seconds, and 0 is the system\'s default', async () => {
  const { duplex } = await takenOver()
  const handle = duplex['handle']
  const told: unknown[] = []
  handle.setNoDelay = on => told.push(on)
  handle.setKeepAlive = (on, seconds) => told.push([on, seconds])
  duplex.setNoDelay().setNoDelay(false).setKeepAlive(true).setKeepAlive(true, 60_000).setKeepAlive()
  assert.equal(told, [true, false, [true, 7200], [true, 60], [false, 0]])
  duplex.destroy()
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

test('a write made before the takeover that fails is an error of the Duplex, also where nobody reads', async () => {
  const { transport, client } = await connected()
  transport.start(NOBODY)
  client.pause()
  transport.write(Buffer.alloc(8 << 20), null)
  const duplex = transport.detach(null)
  // Reading ahead stops: it can tell no more.
  client.write(Buffer.alloc(256 << 10))
  const full = (): void => void (duplex.readableLength >= duplex.readableHighWaterMark ? client.resetAndDestroy() : setImmediate(full))
  full()
  const [error] = (await within(PATIENCE, once(duplex, 'error'), 'an error')) as [NodeJS.ErrnoException]
  assert.match(error.message, /^write E/)
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

test('a slow reader of one long write is not silent', async () => {
  const { duplex } = await takenOver()
  const queued = [3, 2, 1, 1]
  Object.defineProperty(duplex['handle'], 'writeQueueSize', { get: () => queued.shift() ?? 1 })
  duplex.setTimeout(1)
  await within(PATIENCE, once(duplex, 'timeout'), 'timeout')
  assert.is(queued.length, 0)
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
    const owner = { onBytes() { said.push('bytes') }, onReadDone() {}, onEnd() {}, onDrained() {}, onClosed(code) { said.push(code); next() } }
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
    const owner = { onBytes() {}, onReadDone() {}, onEnd() {}, onDrained() {}, onClosed(code) { console.log(said.join(' '), code, acceptor.kind); process.exit() } }
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
    // How much of TCP waits to be read is the kernel's affair.
    if (where !== 'tcp') assert.ok(owner.own.length > 0, 'some came so')
    assert.ok(owner.bytes.equals(bytes))
    assert.ok(owner.own.every(piece => piece.length >= 93_750 && piece.length <= 150_000), 'each fills at least five eighths of its memory')
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
    const { client, owner, transport } = await expecting(150_000, socketPath())
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
  const { client, owner } = await expecting(150_000, socketPath())
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

/** Transports of several connections, whose owners write down in one list what they hear. */
async function several(n: number): Promise<{ transports: Transport[]; clients: Socket[]; owners: Recorder[]; said: string[] }> {
  const said: string[] = []
  const made = await Promise.all(Array.from({ length: n }, () => connected()))
  const owners = made.map(({ transport }, i) => {
    const owner = new Recorder()
    const { onReadDone } = owner
    owner.during = bytes => said.push(`${i} reads ${bytes.toString()}`)
    owner.onReadDone = together => {
      said.push(`${i} is done`)
      onReadDone.call(owner, together)
    }
    transport.start(owner)
    return owner
  })
  // Whatever was before: after reads that came together the next is put aside.
  for (const { client } of made) client.write('.')
  await Promise.all(owners.map(owner => owner.until('a first read', () => owner.done.length === 1)))
  said.length = 0
  return { transports: made.map(({ transport }) => transport), clients: made.map(({ client }) => client), owners, said }
}

test('what several peers sent in one turn: all of it is told before the first is done', async () => {
  const { clients, owners, said } = await several(6)
  clients.forEach((client, i) => client.write(`from ${i}`))
  await Promise.all(owners.map((owner, i) => owner.until('its bytes', () => owner.text.endsWith(`from ${i}`) && said.includes(`${i} is done`))))
  const reads = said.filter(line => line.includes('reads'))
  assert.equal([...reads].sort(), clients.map((_client, i) => `${i} reads from ${i}`))
  assert.is(said.findIndex(line => line.includes('done')), 6, said.join(', '))
  assert.equal(said.slice(6), reads.map(line => `${line[0]} is done`))
  assert.ok(owners.every(owner => owner.done.at(-1) === true))
})

test('bytes and the end behind them, of several peers in one turn: each hears its own in order, once', async () => {
  const { clients, owners } = await several(6)
  clients.forEach((client, i) => client.end(`from ${i}`))
  await Promise.all(owners.map(owner => owner.said('end')))
  owners.forEach((owner, i) => {
    assert.equal(owner.log, ['bytes', 'end'])
    assert.ok(owner.text.endsWith(`from ${i}`))
  })
})

test('small bytes, then many: of several peers each hears them in order', async () => {
  const { clients, owners } = await several(4)
  const many = pattern(100_000)
  for (const client of clients) client.write('small')
  await Promise.all(owners.map(owner => owner.until('the first', () => owner.text.endsWith('small'))))
  for (const client of clients) client.write(many)
  const length = 5 + many.length
  await Promise.all(owners.map(owner => owner.until('all', () => owner.received >= length)))
  for (const owner of owners) assert.ok(owner.bytes.subarray(-length).equals(Buffer.concat([Buffer.from('small'), many])))
})

test('taken over by what was read for another, its own bytes put aside: the Duplex gives them, and the end behind them', async () => {
  for (const withEnd of [false, true]) {
    const { transports, clients, owners, said } = await several(3)
    const duplexes: HandleDuplex[] = []
    owners[0]!.during = () => {
      for (const transport of transports.slice(1)) duplexes.push(transport.detach(Buffer.from('older, ')) as HandleDuplex)
    }
    clients[0]!.write('x')
    for (const client of clients.slice(1)) {
      if (withEnd) client.end('younger')
      else client.write('younger')
    }
    await owners[0]!.until('its bytes', () => duplexes.length === 2)
    for (const duplex of duplexes) {
      if (withEnd) assert.is((await within(PATIENCE, collect(duplex), 'the end')).toString(), 'older, younger')
      else assert.is((await readExactly(duplex, 14)).toString(), 'older, younger')
      duplex.destroy()
    }
    assert.equal(said, ['0 is done'])
  }
})

// What libuv tells in one turn only of connections that have ended both ways, or of more than a thousand at once: said to the transport as it says it.
test('the end in the turn of the last bytes comes behind them', async () => {
  const { transports, owners } = await several(3)
  const reader = transports[0] as unknown as HandleReader
  reader.bytesArrived(slab.write('last', 'latin1'))
  reader.readFailed(UV_EOF)
  assert.equal(owners[0]!.log, ['bytes', 'end'])
  assert.ok(owners[0]!.text.endsWith('last'))
})

for (const [name, status, ending] of [['the end', UV_EOF, 'end'], ['a reset', -104, 'ECONNRESET']] as const) {
  test(`taken over by what was put aside when ${name} has come: the Duplex hears of it`, async () => {
    const { transports, owners } = await several(3)
    const reader = transports[0] as unknown as HandleReader
    let duplex: HandleDuplex | null = null
    let ended: Promise<unknown> = Promise.resolve()
    owners[0]!.during = () => {
      const taken = duplex = transports[0]!.detach(null) as HandleDuplex
      ended = new Promise(resolve => taken.on('error', error => resolve((error as { code?: string }).code)).on('end', () => resolve('end')).resume())
    }
    reader.bytesArrived(slab.write('upgrade', 'latin1'))
    reader.readFailed(status)
    assert.is(await within(PATIENCE, ended, name), ending)
    duplex!.destroy()
    assert.equal(owners[0]!.log, ['bytes'])
  })
}

test('taken over by what was put aside when much more has come: that is for the Duplex', async () => {
  const { transports, owners } = await several(3)
  const reader = transports[0] as unknown as HandleReader
  const read = (text: string): void => void reader.bytesArrived(slab.write(text, 'latin1'))
  let duplex: HandleDuplex | null = null
  owners[0]!.during = () => void (duplex = transports[0]!.detach(null) as HandleDuplex)
  read('upgrade')
  read('x'.repeat(5000))
  assert.ok(owners[0]!.text.endsWith('upgrade'))
  assert.is((await readExactly(duplex!, 5000)).toString(), 'x'.repeat(5000))
  duplex!.destroy()
})

test('destroyed by what was read for another: nothing more is said of its bytes', async () => {
  const { transports, clients, owners, said } = await several(3)
  owners[0]!.during = () => {
    transports[1]!.destroy()
    transports[2]!.reset()
  }
  clients.forEach((client, i) => client.on('error', () => {}).write(`from ${i}`))
  await owners[0]!.until('its bytes', () => owners[0]!.done.at(-1) === true)
  await turns()
  assert.equal(said, ['0 is done'])
})

test('an owner that throws costs only its own connection', async () => {
  const { clients, owners, said } = await several(3)
  owners[1]!.during = () => {
    throw new Error('wrong')
  }
  setInternalErrorHook(() => {})
  clients.forEach((client, i) => client.on('error', () => {}).write(`from ${i}`))
  assert.is(await owners[1]!.closed(), 'ERR_INTERNAL')
  await Promise.all([0, 2].map(i => owners[i]!.until('its bytes', () => owners[i]!.text.endsWith(`from ${i}`))))
  assert.not(said.includes('1 is done'))
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
