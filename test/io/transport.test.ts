// The contract of transport.ts, run for every implementation over every kind of connection: the engine cannot tell which it has, so neither can these tests.
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { TransportChoice } from '../../src/io/acceptor.ts'
import { POOLED_SIZE, borrowBuffer, lentBuffers } from '../../src/io/buffer-pool.ts'
import { type Listener, listen, wrapTls } from '../../src/io/listener.ts'
import { setPoison } from '../../src/io/poison.ts'
import { setInternalErrorHook } from '../../src/io/transport.ts'
import { StreamTransport } from '../../src/io/stream-transport.ts'
import type { Transport } from '../../src/io/transport.ts'
import { turns } from '../support/harness.ts'
import { PATIENCE, certificate, closing, collect, connectTls, connectTo, readExactly, socketPath, wasReset } from '../support/sockets.ts'
import { Recorder, accepting, pattern, writePooled } from '../support/transports.ts'
import { within } from '../support/within.ts'

interface Kind {
  name: string
  choice: TransportChoice
  over: 'tcp' | 'unix' | 'memory' | 'tls'
}

const KINDS: Kind[] = [
  { name: 'stream over TCP', choice: 'stream', over: 'tcp' },
  { name: 'stream over a unix socket', choice: 'stream', over: 'unix' },
  { name: 'stream over TLS', choice: 'stream', over: 'tls' },
  { name: 'stream in memory', choice: 'stream', over: 'memory' },
  { name: 'handle over TCP', choice: 'handle', over: 'tcp' },
  { name: 'handle over a unix socket', choice: 'handle', over: 'unix' },
  { name: 'handle over TLS', choice: 'handle', over: 'tls' }
]

/** One direction of an in-memory connection is the other side's readable half; a write is done when the other side has read it. */
class MemoryEnd extends Duplex {
  other!: MemoryEnd
  private taken: (() => void) | null = null
  constructor() {
    super({ allowHalfOpen: true })
  }
  override _read(): void {
    const { taken } = this
    this.taken = null
    taken?.()
  }
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.other.taken = done
    this.other.push(chunk)
  }
  override _final(done: () => void): void {
    this.other.push(null)
    done()
  }
  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const { other } = this
    if (!other.destroyed && !this.writableFinished) other.destroy(Object.assign(new Error('reset'), { code: 'ECONNRESET' }))
    done(error)
  }
}

function memoryPair(): [MemoryEnd, MemoryEnd] {
  const a = new MemoryEnd()
  const b = new MemoryEnd()
  a.other = b
  b.other = a
  return [a, b]
}

interface Connection {
  transport: Transport
  client: Duplex
  /** The client's socket, below TLS if there is any. */
  raw: Socket | null
  listener: Listener | null
}

async function connection(kind: Kind): Promise<Connection> {
  if (kind.over === 'memory') {
    const [a, b] = memoryPair()
    return { transport: new StreamTransport(a), client: b, raw: null, listener: null }
  }
  const plain = await listen(kind.over === 'unix' ? socketPath() : 0)
  const listener = kind.over === 'tls' ? wrapTls(plain, certificate()) : plain
  const { accepted } = accepting(listener, kind.choice)
  const raw = await connectTo(listener.path ?? listener.address().port)
  const client = kind.over === 'tls' ? await connectTls({ socket: raw }) : raw
  const transport = await within(PATIENCE, accepted, 'accept')
  return { transport, client, raw, listener }
}

function resetPeer(kind: Kind, client: Duplex, raw: Socket | null): void {
  if (raw === null || kind.over === 'unix') client.destroy()
  else raw.resetAndDestroy()
}

function sha(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}

for (const kind of KINDS) {
  const test = suite(`transport: ${kind.name}`)
  const isMemory = kind.over === 'memory'
  const isTcp = kind.over === 'tcp' || kind.over === 'tls'
  const open: Connection[] = []

  const connect = async (): Promise<Connection> => {
    const made = await connection(kind)
    open.push(made)
    made.client.on('error', () => {})
    return made
  }
  const started = async (): Promise<Connection & { owner: Recorder }> => {
    const made = await connect()
    const owner = new Recorder()
    made.transport.start(owner)
    return { ...made, owner }
  }

  test.before(() => setPoison(true))
  test.after(() => setPoison(false))
  test.after.each(async () => {
    for (const { transport, client, listener } of open.splice(0)) {
      transport.destroy()
      client.destroy()
      await listener?.close()
    }
    await turns(4)
    assert.is(lentBuffers(), 0, 'pooled memory still lent')
  })

  test('is of the kind asked for', async () => {
    const { transport } = await connect()
    assert.is(transport.kind, kind.choice)
    assert.is(transport.secure, kind.over === 'tls')
    assert.is(transport.pendingBytes, 0)
  })

  test('echo, with pooled memory', async () => {
    const { transport, client, owner } = await started()
    owner.during = bytes => writePooled(transport, bytes)
    client.write('hello')
    assert.is((await readExactly(client, 5)).toString(), 'hello')
    client.write('again')
    assert.is((await readExactly(client, 5)).toString(), 'again')
  })

  test('nothing is read before start', async () => {
    const { transport, client } = await connect()
    client.write('early')
    await turns(4)
    const owner = new Recorder()
    transport.start(owner)
    await owner.until('the early bytes', () => owner.text === 'early')
    assert.equal(owner.log, ['bytes'])
  })

  test('several pieces arrive in order and whole', async () => {
    const { transport, client } = await started()
    const memory = borrowBuffer()
    memory.write('one ')
    transport.writeMany([memory.subarray(0, 4), Buffer.from('two '), Buffer.alloc(0), Buffer.from('three')], [memory, null, null, null])
    assert.is((await readExactly(client, 13)).toString(), 'one two three')
    transport.writeText('caf\xe9\n')
    assert.is((await readExactly(client, 5)).toString('latin1'), 'caf\xe9\n')
    transport.writeMany([], [])
    transport.write(Buffer.alloc(0), borrowBuffer())
    transport.write(Buffer.from('.'), null)
    assert.is((await readExactly(client, 1)).toString(), '.')
  })

  test('the peer half-closes and is still answered', async () => {
    const { transport, client, owner } = await started()
    client.end('question')
    await owner.said('end')
    transport.write(Buffer.from('answer'), null)
    transport.endWriting()
    assert.is((await collect(client)).toString(), 'answer')
    await owner.said('closed ')
    assert.equal(owner.log, ['bytes', 'end', 'closed '])
  })

  test('we half-close and still hear the peer', async () => {
    const { transport, client, owner } = await started()
    transport.write(Buffer.from('bye'), null)
    transport.endWriting()
    transport.endWriting()
    assert.is((await collect(client)).toString(), 'bye')
    const memory = borrowBuffer()
    transport.write(memory.subarray(0, 3), memory)
    client.end('late')
    await owner.said('closed ')
    assert.is(owner.text, 'late')
    assert.equal(owner.log, ['bytes', 'end', 'closed '])
  })

  test('endWriting comes after what was written before it', async () => {
    const { transport, client } = await started()
    const bytes = pattern(3 << 20)
    transport.write(bytes, null)
    transport.endWriting()
    assert.is(sha(await collect(client)), sha(bytes))
  })

  test('a reset by the peer is told once, as what it is', async () => {
    const { client, owner, transport, raw } = await started()
    client.write('x')
    await owner.until('x', () => owner.text === 'x')
    // A unix socket resets when it is closed with something unread.
    if (kind.over === 'unix') {
      transport.write(Buffer.from('unread'), null)
      client.pause()
      client.destroy()
    } else resetPeer(kind, client, raw)
    await owner.until('closed', () => owner.log.at(-1)!.startsWith('closed'))
    await turns(4)
    assert.is(owner.log.filter(line => line.startsWith('closed')).length, 1)
    if (kind.over !== 'unix') assert.is(owner.log.at(-1), 'closed ECONNRESET')
    writePooled(transport, Buffer.from('swallowed'))
    assert.is(lentBuffers(), 0)
  })

  test('writing to a peer that is gone fails through onClosed, never inside write', async () => {
    const { transport, client, owner, raw } = await started()
    transport.pauseReading()
    resetPeer(kind, client, raw)
    await once(client, 'close')
    const closed = (): boolean => owner.log.some(line => line.startsWith('closed'))
    for (let i = 0; i < 50 && !closed(); i++) {
      writePooled(transport, Buffer.from('are you there'))
      assert.not(closed())
      await turns(2)
    }
    await owner.until('closed', closed)
    assert.is.not(owner.log.at(-1), 'closed ')
  })

  test('a slow reader: 8 MiB in pieces of all sizes, whole, and the memory comes back', async () => {
    const { transport, client, owner } = await started()
    const sizes = [1, 17, 300, 4096, POOLED_SIZE, 1000, 70000]
    const sent: Buffer[] = []
    let total = 0
    for (let i = 0; total < 8 << 20; i++) {
      const size = sizes[i % sizes.length]!
      const bytes = pattern(size, i + 1)
      if (i % 4 === 0) writePooled(transport, bytes)
      else if (i % 4 === 1) transport.write(bytes, null)
      else if (i % 4 === 2) transport.writeText(bytes.toString('latin1'))
      else {
        const memory = borrowBuffer()
        const n = bytes.copy(memory)
        transport.writeMany([memory.subarray(0, n), bytes.subarray(n)], [memory, null])
      }
      sent.push(bytes)
      total += size
    }
    assert.ok(transport.pendingBytes > 0)
    assert.ok(transport.untakenBytes() > 0 && transport.untakenBytes() <= transport.pendingBytes)
    const before = owner.drains
    const received = await readExactly(client, total)
    assert.is(sha(received), sha(Buffer.concat(sent)))
    await owner.until('drained', () => transport.pendingBytes === 0)
    await owner.until('told so', () => owner.drains > before)
    assert.is(transport.untakenBytes(), 0)
    assert.is(lentBuffers(), 0)
  })

  test('untakenBytes falls while a slow reader reads', async () => {
    const { transport, client } = await started()
    transport.write(pattern(6 << 20), null)
    const first = transport.untakenBytes()
    let last = first
    for (let i = 0; i < 16; i++) {
      await readExactly(client, 256 << 10)
      await turns(2)
      assert.ok(transport.untakenBytes() <= last)
      last = transport.untakenBytes()
    }
    assert.ok(last < first && first <= 6 << 20)
  })

  test('a reader of one byte at a time', async () => {
    const { transport, client } = await started()
    const bytes = pattern(65536)
    writePooled(transport, bytes)
    const received = Buffer.alloc(bytes.length)
    await within(
      PATIENCE,
      (async () => {
        for (let at = 0; at < bytes.length; ) {
          const byte = client.read(1) as Buffer | null
          if (byte === null) await once(client, 'readable')
          else received[at++] = byte[0]!
        }
      })(),
      '65536 single bytes'
    )
    assert.is(sha(received), sha(bytes))
  })

  test('exactly 64 KiB, and multiples of it, are not an end', async () => {
    const { client, owner } = await started()
    for (const size of [65536, 131072, 65536]) {
      const before = owner.received
      client.write(pattern(size))
      await owner.until(`${size} bytes`, () => owner.received === before + size)
    }
    await turns(4)
    assert.equal(owner.log, ['bytes'])
  })

  test('64 KiB that wait as a whole before the first read', async () => {
    const { transport, client } = await connect()
    client.write(pattern(65536))
    await turns(10)
    const owner = new Recorder()
    transport.start(owner)
    await owner.until('64 KiB', () => owner.received === 65536)
    client.write('x')
    await owner.until('one more', () => owner.received === 65537)
    assert.is(sha(owner.bytes.subarray(0, 65536)), sha(pattern(65536)))
  })

  test('pause and resume', async () => {
    const { transport, client, owner } = await started()
    owner.during = () => transport.pauseReading()
    client.write('first')
    await owner.until('first', () => owner.text === 'first')
    client.write('second')
    await turns(10)
    assert.is(owner.text, 'first')
    transport.pauseReading()
    owner.during = () => {}
    transport.resumeReading()
    transport.resumeReading()
    await owner.until('second', () => owner.text === 'firstsecond')
    transport.pauseReading()
    client.end('third')
    await turns(10)
    assert.is(owner.text, 'firstsecond')
    transport.resumeReading()
    await owner.said('end')
    assert.is(owner.text, 'firstsecondthird')
    transport.pauseReading()
    transport.resumeReading()
    await turns(4)
    assert.equal(owner.log, ['bytes', 'end'])
  })

  test('pausing inside onBytes holds what is already here', async () => {
    const { transport, client, owner } = await started()
    owner.during = () => transport.pauseReading()
    const bytes = pattern(400_000)
    client.write(bytes)
    await owner.until('the first bytes', () => owner.received > 0)
    const { received } = owner
    await turns(10)
    assert.is(owner.received, received)
    owner.during = () => {}
    transport.resumeReading()
    await owner.until('the rest', () => owner.received === bytes.length)
    assert.is(sha(owner.bytes), sha(bytes))
  })

  test('destroy inside onBytes: nothing more is said', async () => {
    const { transport, client, owner } = await started()
    owner.during = () => {
      writePooled(transport, Buffer.from('unsent'))
      transport.destroy()
      transport.destroy()
      writePooled(transport, Buffer.from('swallowed'))
      transport.endWriting()
      transport.pauseReading()
      transport.resumeReading()
      transport.reset()
    }
    client.write(pattern(300_000))
    await owner.until('bytes', () => owner.received > 0)
    const { received } = owner
    await turns(10)
    assert.equal(owner.log, ['bytes'])
    assert.is(owner.received, received)
    assert.is(owner.drains, 0)
  })

  test('destroy while much is pending: silence, and no memory is missed', async () => {
    const { transport, client, owner } = await started()
    writePooled(transport, pattern(8 << 20))
    assert.ok(transport.pendingBytes > 0)
    const closed = closing(client)
    transport.destroy()
    await closed
    await turns(6)
    assert.equal(owner.log, [])
    assert.is(lentBuffers(), 0)
  })

  test('destroy before start', async () => {
    const { transport, client } = await connect()
    transport.destroy()
    const owner = new Recorder()
    transport.start(owner)
    transport.write(Buffer.from('swallowed'), null)
    await closing(client)
    assert.equal(owner.log, [])
  })

  test('gone before start is told after start', async () => {
    const { transport, client, raw } = await connect()
    client.write('x')
    await turns(2)
    resetPeer(kind, client, raw)
    await turns(6)
    const owner = new Recorder()
    transport.start(owner)
    assert.equal(owner.log, [])
    await owner.until('an end', () => owner.log.some(line => line === 'end' || line.startsWith('closed')))
  })

  test('reset: the peer sees a failure, or at least no more bytes', async () => {
    const { transport, client, owner, raw } = await started()
    client.write('x')
    await owner.until('x', () => owner.received === 1)
    transport.write(pattern(8 << 20), null)
    const reset = isTcp ? wasReset(client, raw!) : closing(client)
    transport.reset()
    transport.reset()
    assert.ok(transport.failed)
    const lent = lentBuffers()
    writePooled(transport, Buffer.from('swallowed'))
    assert.is(lentBuffers(), lent)
    assert.ok(await reset)
    assert.equal(owner.log, ['bytes'])
  })

  test('reset after endWriting with much pending is still a failure for the peer', async () => {
    const { transport, client, raw } = await started()
    transport.write(pattern(8 << 20), null)
    transport.endWriting()
    await turns(4)
    const reset = isTcp ? wasReset(client, raw!) : closing(client)
    transport.reset()
    assert.ok(await reset)
  })

  test('reset right after endWriting leaves no connection behind', async () => {
    const { transport, client } = await started()
    transport.write(Buffer.from('x'), null)
    transport.endWriting()
    const how = closing(client)
    transport.reset()
    await how
  })

  test('100 MiB in one view, whole', async () => {
    const { transport, client } = await started()
    const bytes = pattern(100 << 20)
    const hash = createHash('sha256')
    let received = 0
    const done = new Promise<void>(resolve => {
      client.on('data', (chunk: Buffer) => {
        hash.update(chunk)
        received += chunk.length
        if (received >= bytes.length) resolve()
      })
    })
    transport.write(bytes, null)
    await within(PATIENCE, done, '100 MiB')
    assert.is(received, bytes.length)
    assert.is(hash.digest('hex'), sha(bytes))
  })

  test('an exception of the owner ends its connection and is reported', async () => {
    const errors: unknown[] = []
    setInternalErrorHook(error => errors.push(error))
    const { client, owner } = await started()
    const wrong = new Error('the owner is broken')
    owner.during = () => {
      throw wrong
    }
    const how = closing(client)
    client.write('x')
    await how
    await owner.said('closed ERR_INTERNAL')
    setInternalErrorHook(error => console.error(error))
    assert.equal(errors, [wrong])
  })

  test('addresses', async () => {
    const { transport, client, listener } = await started()
    if (isMemory) {
      assert.equal(transport.peerAddress(), { address: '', port: 0, family: '' })
      assert.equal(transport.localAddress(), { address: '', port: 0, family: '' })
      return
    }
    const socket = client as Socket
    const peer = kind.over === 'unix' ? { address: 'unix', port: 0, family: 'unix' } : { address: '127.0.0.1', port: socket.localPort, family: 'IPv4' }
    const local = kind.over === 'unix' ? peer : { address: '127.0.0.1', port: listener!.address().port, family: 'IPv4' }
    assert.equal({ ...transport.peerAddress() }, peer)
    assert.equal({ ...transport.localAddress() }, local)
    transport.destroy()
    await turns(4)
    assert.equal({ ...transport.peerAddress() }, peer)
    assert.equal({ ...transport.localAddress() }, local)
  })

  test('a unix socket is one when it is gone, too', async () => {
    if (kind.over !== 'unix') return
    const { transport } = await started()
    transport.destroy()
    await turns(4)
    assert.equal([transport.peerAddress().family, transport.localAddress().family], ['unix', 'unix'])
  })

  test('detach: leftover first, then 20 MiB through the Duplex and back', async () => {
    const { transport, client, owner } = await started()
    const head = Buffer.from('leftover ')
    let duplex: Duplex | null = null
    owner.during = () => {
      writePooled(transport, Buffer.from('before '))
      duplex = transport.detach(head)
    }
    client.write('upgrade')
    await owner.until('the takeover', () => duplex !== null)
    duplex!.pipe(duplex!)
    assert.is((await readExactly(client, 16)).toString(), 'before leftover ')
    const bytes = pattern(20 << 20)
    const back = collect(client)
    client.end(bytes)
    assert.is(sha(await back), sha(bytes))
    assert.equal(owner.log, ['bytes'])
    // Once where the write was still pending at the takeover, as it always is through TLS.
    assert.ok(owner.drains <= 1)
  })

  test('detach with writes pending keeps their order, and tells when they have left', async () => {
    const { transport, client, owner } = await started()
    const first = pattern(6 << 20, 7)
    writePooled(transport, first)
    assert.ok(transport.pendingBytes > 0)
    const duplex = transport.detach(null)
    duplex.end('after')
    const all = await collect(client)
    assert.is(all.length, first.length + 5)
    assert.is(sha(all.subarray(0, first.length)), sha(first))
    assert.is(all.subarray(first.length).toString(), 'after')
    await turns(4)
    assert.is(lentBuffers(), 0)
    assert.equal(owner.log, [])
    assert.is(owner.drains, 1)
    duplex.destroy()
  })

  test('detach after the peer has half-closed', async () => {
    const { transport, client, owner } = await started()
    client.end('question')
    await owner.said('end')
    const duplex = transport.detach(Buffer.from('leftover'))
    assert.is((await collect(duplex)).toString(), 'leftover')
    duplex.end('answer')
    assert.is((await collect(client)).toString(), 'answer')
  })

  test('a detached Duplex tells of a reset, and needs nobody to listen', async () => {
    const { transport, client, raw } = await started()
    const duplex = transport.detach(null)
    const closed = within(PATIENCE, once(duplex, 'close').catch(() => {}), 'close')
    duplex.resume()
    await turns(2)
    resetPeer(kind, client, raw)
    // FIN only, over a unix socket: our own half is still open.
    duplex.once('end', () => duplex.end())
    await closed
    assert.ok(duplex.destroyed)
  })

  test('back-pressure through the detached Duplex, both ways', async () => {
    const { transport, client } = await started()
    const duplex = transport.detach(null)
    const bytes = pattern(4 << 20)
    for (let at = 0; at < bytes.length; at += 65536) client.write(bytes.subarray(at, at + 65536))
    await turns(20)
    assert.ok(duplex.readableLength <= 4 * 65536, `${duplex.readableLength} bytes held unread`)
    assert.is(duplex.write(pattern(8 << 20)), false)
    const drained = within(PATIENCE, once(duplex, 'drain'), 'drain')
    await readExactly(client, 8 << 20)
    await drained
    assert.is(sha(await readExactly(duplex, 4 << 20)), sha(pattern(4 << 20)))
    duplex.destroy()
  })

  test.run()
}
