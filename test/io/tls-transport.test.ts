// TLS at the transport, on either kind: records that come together, bad ones, ends and resets in the middle of everything, takeovers. What can go wrong
// only because the handle is read past its socket; the stream transport is the measure of what is right.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import * as net from 'node:net'
import type { Duplex } from 'node:stream'
import type { ConnectionOptions, TLSSocket } from 'node:tls'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { lentBuffers } from '../../src/io/buffer-pool.ts'
import { type Listener, listen, wrapTls } from '../../src/io/listener.ts'
import { setPoison } from '../../src/io/poison.ts'
import { setInternalErrorHook } from '../../src/io/transport.ts'
import type { Transport } from '../../src/io/transport.ts'
import { turns } from '../support/harness.ts'
import { PATIENCE, certificate, collect, connectTls, connectTo, readExactly } from '../support/sockets.ts'
import { Recorder, accepting, pattern, writePooled } from '../support/transports.ts'
import { within } from '../support/within.ts'

/** A record of application data that nobody has encrypted. */
const BAD_RECORD = Buffer.concat([Buffer.from([0x17, 3, 3, 0, 64]), Buffer.alloc(64, 7)])

interface Connection {
  transport: Transport
  owner: Recorder
  client: TLSSocket
  raw: net.Socket
}

/** Between client and server: from the second flight on, what the client sends is held until `open`, and then arrives as one segment. */
async function bunching(port: number): Promise<{ port: number; open(): void; held(): number; close(): void }> {
  const chunks: Buffer[] = []
  let far!: net.Socket
  let client!: net.Socket
  let isOpen = false
  let first = true
  const proxy = net.createServer(near => {
    client = near
    far = net.connect(port, '127.0.0.1').on('error', () => near.destroy())
    far.pipe(near.on('error', () => far.destroy()))
    near.on('data', (chunk: Buffer) => {
      if (isOpen || first) far.write(chunk)
      else chunks.push(chunk)
      first = false
    })
  })
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  return {
    port: (proxy.address() as net.AddressInfo).port,
    open: () => {
      isOpen = true
      far.write(Buffer.concat(chunks))
    },
    held: () => chunks.length,
    close: () => {
      far.destroy()
      client.destroy()
      proxy.close()
    }
  }
}

for (const kind of ['stream', 'handle'] as const) {
  const test = suite(`TLS transport: ${kind}`)
  const listeners: Listener[] = []
  const connections: { transport: Transport; client: Duplex }[] = []

  const served = async (): Promise<{ port: number; accepted: Promise<Transport> }> => {
    const listener = wrapTls(await listen(0), certificate())
    listeners.push(listener)
    return { port: listener.address().port, accepted: accepting(listener, kind).accepted }
  }
  const connect = async (options: ConnectionOptions = {}, start = true): Promise<Connection> => {
    const { port, accepted } = await served()
    const raw = await connectTo(port)
    const client = await connectTls({ socket: raw }, options)
    client.on('error', () => {})
    const transport = await within(PATIENCE, accepted, 'accept')
    connections.push({ transport, client })
    const owner = new Recorder()
    if (start) transport.start(owner)
    return { transport, owner, client, raw }
  }

  test.before(() => setPoison(true))
  test.after(() => setPoison(false))
  test.after.each(async () => {
    for (const { transport, client } of connections.splice(0)) {
      transport.destroy()
      client.destroy()
    }
    for (const listener of listeners.splice(0)) await listener.close()
    await turns(4)
    assert.is(lentBuffers(), 0, 'pooled memory still lent')
  })

  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    test(`${maxVersion}: both ways at once`, async () => {
      const { transport, client, owner } = await connect({ maxVersion })
      owner.during = bytes => writePooled(transport, bytes)
      const bytes = pattern(1 << 20)
      client.write(bytes)
      assert.ok((await readExactly(client, bytes.length)).equals(bytes))
      assert.is(client.getProtocol(), maxVersion)
    })

    test(`${maxVersion}: bytes that come with the end of the handshake`, async () => {
      for (const delayed of [false, true]) {
        const { port, accepted } = await served()
        const bunch = await bunching(port)
        const raw = await connectTo(bunch.port)
        const client = connectTls({ socket: raw }, { maxVersion })
        const owner = new Recorder()
        const started = accepted.then(transport => {
          if (!delayed) transport.start(owner)
          return transport
        })
        if (maxVersion === 'TLSv1.3') {
          // The client is through before the server is.
          ;(await client).write('early')
          const before = bunch.held()
          while (bunch.held() === before) await turns(1)
          bunch.open()
        } else {
          while (bunch.held() === 0) await turns(1)
          bunch.open()
          ;(await client).write('early')
        }
        const transport = await within(PATIENCE, started, 'accept')
        connections.push({ transport, client: await client })
        if (delayed) {
          await turns(10)
          assert.equal(owner.log, [])
          transport.start(owner)
        }
        await owner.until('the early bytes', () => owner.received === 5)
        ;(await client).write(' and late')
        await owner.until('the late ones', () => owner.received === 14)
        assert.is(owner.text, 'early and late')
        transport.write(Buffer.from('answer'), null)
        assert.is((await readExactly(await client, 6)).toString(), 'answer')
        bunch.close()
      }
    })
  }

  test('writes one upon another: in one turn, from onBytes and from onDrained', async () => {
    const { transport, client, owner } = await connect()
    const expected: Buffer[] = []
    const write = (bytes: Buffer): void => {
      expected.push(bytes)
      writePooled(transport, bytes)
    }
    let rounds = 0
    owner.drained = () => {
      if (++rounds > 20) return
      write(pattern(rounds * 997, rounds))
      write(pattern(3, rounds))
    }
    owner.during = () => {
      for (let i = 1; i < 50; i++) write(pattern(i * 131, i))
    }
    client.write('go')
    const total = (): number => expected.reduce((sum, bytes) => sum + bytes.length, 0)
    const all: Buffer[] = []
    let received = 0
    client.on('data', (chunk: Buffer) => {
      all.push(chunk)
      received += chunk.length
    })
    await owner.until('twenty rounds', () => rounds > 20 && transport.pendingBytes === 0)
    while (received < total()) await turns(1)
    assert.ok(Buffer.concat(all).equals(Buffer.concat(expected)))
  })

  test('records that come together are held while paused, and the end behind them', async () => {
    const { transport, client, owner } = await connect()
    const bytes = pattern(200_000)
    owner.during = () => transport.pauseReading()
    client.end(bytes)
    await owner.until('the first record', () => owner.received > 0)
    for (let i = 0; owner.received < bytes.length; i++) {
      assert.ok(i < 1000)
      const before = owner.received
      await turns(4)
      assert.is(owner.received, before)
      // Pausing between two resumes of one turn changes nothing.
      transport.resumeReading()
      transport.pauseReading()
      transport.resumeReading()
      await owner.until('more', () => owner.received > before)
    }
    assert.ok(owner.bytes.equals(bytes))
    transport.resumeReading()
    await owner.until('the end', () => owner.log.at(-1) === 'end')
    assert.equal(owner.log, ['bytes', 'end'])
    transport.write(Buffer.from('answer'), null)
    transport.endWriting()
    assert.is((await collect(client)).toString(), 'answer')
    assert.is(await owner.closed(), '')
  })

  test('an exception of the owner while it is given what was held', async () => {
    const errors: unknown[] = []
    setInternalErrorHook(error => errors.push(error))
    const { transport, client, owner } = await connect()
    owner.during = () => transport.pauseReading()
    client.write(pattern(60_000))
    await owner.until('the first record', () => owner.received > 0)
    await turns(10)
    const wrong = new Error('the owner is broken')
    owner.during = () => {
      throw wrong
    }
    transport.resumeReading()
    assert.is(await owner.closed(), 'ERR_INTERNAL')
    setInternalErrorHook(error => console.error(error))
    assert.equal(errors, [wrong])
  })

  test('a bad record in the middle: an error of the connection, told once', async () => {
    for (const paused of [false, true]) {
      const { transport, client, owner, raw } = await connect()
      client.write('good')
      await owner.until('good', () => owner.received === 4)
      if (paused) transport.pauseReading()
      writePooled(transport, pattern(4 << 20))
      raw.write(BAD_RECORD)
      assert.match(await owner.closed(), /^ERR_SSL_/)
      writePooled(transport, Buffer.from('swallowed'))
      await turns()
      assert.is(owner.log.filter(line => line.startsWith('closed')).length, 1)
    }
  })

  test('a reset while much is being written', async () => {
    for (const paused of [false, true]) {
      const { transport, client, owner, raw } = await connect()
      client.pause()
      client.write('x')
      await owner.until('x', () => owner.received === 1)
      if (paused) transport.pauseReading()
      // However much the kernel holds.
      do {
        writePooled(transport, pattern(8 << 20))
        await turns()
      } while (transport.pendingBytes === 0)
      raw.resetAndDestroy()
      assert.is(await owner.closed(), 'ECONNRESET')
      assert.ok(transport.pendingBytes > 0, 'what never left does not look sent')
      assert.is(owner.drains, 0)
    }
  })

  test('the end of TCP without close_notify is an end', async () => {
    const { transport, client, owner, raw } = await connect()
    client.write('half of it')
    await owner.until('bytes', () => owner.received === 10)
    raw.end()
    await owner.until('the end', () => owner.log.at(-1) === 'end')
    transport.endWriting()
    assert.is(await owner.closed(), '')
  })

  test('a connection that is destroyed, reset or broken off before start is no trouble', async () => {
    for (const end of ['destroy', 'reset', 'peer'] as const) {
      const { transport, client, owner, raw } = await connect({}, false)
      client.write(pattern(100_000))
      await turns()
      if (end === 'peer') raw.resetAndDestroy()
      else transport[end]()
      await turns(10)
      transport.start(owner)
      if (end === 'peer') assert.is.not(await owner.closed(), '')
      else assert.equal(owner.log, [])
    }
  })

  test('takeover in the middle of what came together: leftover, the rest, then what follows', async () => {
    const { transport, client, owner } = await connect()
    const bytes = pattern(50_000)
    let duplex: Duplex | null = null
    owner.during = first => {
      writePooled(transport, Buffer.from('101 '))
      duplex = transport.detach(first)
    }
    client.write(bytes)
    await owner.until('the takeover', () => duplex !== null)
    duplex!.write('and on')
    assert.is((await readExactly(client, 10)).toString(), '101 and on')
    const all = collect(duplex!)
    client.end(' the end')
    assert.ok((await all).equals(Buffer.concat([bytes, Buffer.from(' the end')])))
    duplex!.destroy()
    assert.equal(owner.log, ['bytes'])
  })

  test('takeover of a paused connection: what was held, and its end', async () => {
    const { transport, client, owner } = await connect()
    const bytes = pattern(30_000)
    owner.during = () => transport.pauseReading()
    client.end(bytes)
    await owner.until('the first record', () => owner.received > 0)
    await turns(20)
    const duplex = transport.detach(owner.bytes)
    assert.ok((await collect(duplex)).equals(bytes))
    duplex.end('answer')
    assert.is((await collect(client)).toString(), 'answer')
  })

  test('takeover while much is being written: everything in order, by whatever the taker does', async () => {
    const first = pattern(2 << 20, 3)
    for (const last of ['write', 'cork', 'end'] as const) {
      const { transport, client } = await connect()
      writePooled(transport, first)
      const duplex = transport.detach(null)
      if (last === 'cork') {
        duplex.cork()
        duplex.write('a')
        duplex.write('b')
        duplex.end('c')
      } else if (last === 'write') {
        duplex.write('abc')
        duplex.end()
      } else duplex.end('abc')
      const all = await collect(client)
      assert.is(all.length, first.length + 3)
      assert.ok(all.subarray(0, first.length).equals(first))
      assert.is(all.subarray(first.length).toString(), 'abc')
      duplex.destroy()
    }
  })

  test('a takeover gets the TLSSocket, which reads ahead and tells of a bad record', async () => {
    const { transport, client, raw, owner } = await connect()
    client.write('x')
    await owner.until('x', () => owner.received === 1)
    const duplex = transport.detach(null) as TLSSocket
    assert.is(duplex, transport.stream)
    assert.is(duplex.encrypted, true)
    assert.is(duplex.getProtocol(), 'TLSv1.3')
    client.write(pattern(4 << 20))
    await turns(20)
    assert.ok(duplex.readableLength > 0 && duplex.readableLength <= 4 * 65536, `${duplex.readableLength} bytes read ahead`)
    assert.ok((await readExactly(duplex, 4 << 20)).equals(pattern(4 << 20)))
    assert.is(duplex.bytesRead, (4 << 20) + 1)
    duplex.setTimeout(20)
    await within(PATIENCE, once(duplex, 'timeout'), 'timeout')
    const failed = within(PATIENCE, new Promise<NodeJS.ErrnoException>(resolve => duplex.once('error', resolve)), 'an error')
    raw.write(BAD_RECORD)
    duplex.resume()
    assert.match((await failed).code!, /^ERR_SSL_/)
  })

  test('a peer that asks for another handshake', async () => {
    const { transport, client, owner } = await connect({ maxVersion: 'TLSv1.2' })
    owner.during = bytes => writePooled(transport, bytes)
    client.write(pattern(100_000))
    assert.ok((await readExactly(client, 100_000)).equals(pattern(100_000)))
    const done = new Promise<Error | null>(resolve => client.renegotiate({ rejectUnauthorized: false }, resolve))
    const bytes = pattern(300_000)
    client.write(bytes)
    // Allowed or refused, by the version of OpenSSL.
    const back = readExactly(client, bytes.length).catch(() => null)
    const refused = await within(PATIENCE, Promise.race([done, once(client, 'close').then(() => new Error('closed'))]), 'renegotiation')
    if (refused == null) assert.ok((await back)?.equals(bytes))
  })

  test.run()
}

const only = suite('TLS transport: the handle alone')

/** Accepts one connection of a listener of its own, with its TLSSocket changed by `change` just before the transport is made. */
async function changed(change: (socket: TLSSocket) => void): Promise<Transport> {
  const listener = wrapTls(await listen(0), certificate())
  const { acceptor, accepted } = accepting(listener, 'handle')
  ;(acceptor as unknown as { tlsServer: net.Server }).tlsServer.prependListener('secureConnection', change)
  const client = await connectTls(listener.address().port)
  const transport = await within(PATIENCE, accepted, 'accept')
  const owner = new Recorder()
  owner.during = bytes => transport.write(bytes, null)
  transport.start(owner)
  client.write('hello')
  assert.is((await readExactly(client, 5)).toString(), 'hello')
  transport.destroy()
  client.destroy()
  await listener.close()
  return transport
}

only('a socket whose handle is of another shape, or has been read from, is served as a stream', async () => {
  assert.is((await changed(() => {})).kind, 'handle')
  const strange = (name: string, value: unknown) => (socket: TLSSocket) =>
    void Object.defineProperty((socket as unknown as { _handle: object })._handle, name, { value, writable: true, configurable: true })
  assert.is((await changed(strange('isStreamBase', false))).kind, 'stream')
  assert.is((await changed(strange('useUserBuffer', undefined))).kind, 'stream')
  assert.is((await changed(strange('useUserBuffer', () => -22))).kind, 'stream')
  assert.is((await changed(strange('bytesRead', 5))).kind, 'stream')
})

only('a first read that does not add up: that connection fails, handles are off, later ones are streams', async () => {
  const module = (name: string): string => JSON.stringify(new URL(`../../src/io/${name}.js`, import.meta.url).href)
  const source = `
    import { listen, wrapTls } from ${module('listener')}
    import { Acceptor } from ${module('acceptor')}
    import { connect } from 'node:tls'
    import { certificate } from ${JSON.stringify(new URL('../support/sockets.js', import.meta.url).href)}
    const listener = wrapTls(await listen(0), certificate())
    const said = []
    const owner = { onBytes() { said.push('bytes') }, onReadDone() {}, onEnd() {}, onDrained() {}, onClosed(code) { said.push(code); dial() } }
    const onTransport = transport => { said.push(transport.kind); if (transport.kind === 'stream') finish(); else transport.start(owner) }
    const acceptor = new Acceptor(listener, 'handle', 1000, { onTransport, admitsHandshake: () => true })
    acceptor.start()
    acceptor.tlsServer.prependListener('secureConnection', socket => {
      let asked = 0
      Object.defineProperty(socket._handle, 'bytesRead', { get: () => asked++ < 2 ? 0 : 99 })
    })
    const dial = () => connect({ port: listener.address().port, rejectUnauthorized: false }).on('error', () => {}).write('x')
    dial()
    function finish() {
      console.log(said.join(' '), acceptor.kind)
      process.exit()
    }`
  const child = spawn(process.execPath, ['--input-type=module', '-e', source], { stdio: ['ignore', 'pipe', 'inherit'] })
  assert.is((await collect(child.stdout)).toString(), 'handle ERR_WIRELET_TRANSPORT stream stream\n')
})

// The last test: it looks at what all before it have left.
only('no handle is left open, no memory lent', async () => {
  await turns(20)
  assert.equal(
    process.getActiveResourcesInfo().filter(name => /^(TCPSocketWrap|TLSWrap|TLSWRAP)$/.test(name)),
    []
  )
  assert.is(lentBuffers(), 0)
})

only.run()
