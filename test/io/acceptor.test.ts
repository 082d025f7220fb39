// From accepted sockets to transports: which kind, and through which handshake.
import { once } from 'node:events'
import * as net from 'node:net'
import * as tls from 'node:tls'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Acceptor, type TransportChoice } from '../../src/io/acceptor.ts'
import { type Listener, type TlsListenOptions, fromServer, listen, wrapTls } from '../../src/io/listener.ts'
import { setPoison } from '../../src/io/poison.ts'
import type { Transport, TransportOwner } from '../../src/io/transport.ts'
import { turns, until } from '../support/harness.ts'
import { PATIENCE, certificate, closing, collect, connectTls, connectTo, readExactly, socketPath } from '../support/sockets.ts'
import { within } from '../support/within.ts'

const test = suite('acceptor')

/** Keeps what the acceptor gives, and lets a test wait for it. */
class Log {
  readonly transports: Transport[] = []
  readonly failures: string[] = []
  readonly errors: string[] = []
  /** Handshakes at a time. */
  most = Infinity
  private wake: () => void = () => {}

  onTransport(transport: Transport): void {
    this.transports.push(transport)
    this.wake()
  }
  admitsHandshake(handshakes: number): boolean {
    return handshakes < this.most
  }
  onListenerClosed(): void {}
  onListenerError(error: Error): void {
    this.errors.push(error.message)
    this.wake()
  }
  onHandshakeFailed(code: string): void {
    this.failures.push(code)
    this.wake()
  }
  until(what: string, ready: () => boolean): Promise<void> {
    return within(
      PATIENCE,
      new Promise<void>(resolve => {
        this.wake = () => {
          if (ready()) resolve()
        }
        this.wake()
      }),
      what
    )
  }
  async transport(n = 1): Promise<Transport> {
    await this.until(`transport ${n}`, () => this.transports.length >= n)
    return this.transports[n - 1]!
  }
}

class Echo implements TransportOwner {
  private readonly transport: Transport
  constructor(transport: Transport) {
    this.transport = transport
    transport.start(this)
  }
  onBytes(bytes: Buffer, start: number, end: number): void {
    this.transport.write(Buffer.from(bytes.subarray(start, end)), null)
  }
  onOwnBytes(): void {}
  onReadDone(): void {}
  expectedBytes(): number {
    return 0
  }
  onEnd(): void {
    this.transport.endWriting()
  }
  onDrained(): void {}
  onClosed(): void {}
}

interface Served {
  listener: Listener
  acceptor: Acceptor
  log: Log
  port: number
}
const open: Served[] = []

interface Told {
  setNoDelay(this: Told, on: boolean): number
}

function serve(listener: Listener, choice: TransportChoice = 'auto', handshakeTimeout = 5000): Served {
  const log = new Log()
  const acceptor = new Acceptor(listener, choice, handshakeTimeout, log)
  acceptor.start()
  const served = { listener, acceptor, log, port: listener.address().port }
  open.push(served)
  return served
}


test.before(() => setPoison(true))
test.after(() => setPoison(false))
test.after.each(async () => {
  for (const { listener, acceptor, log } of open.splice(0)) {
    acceptor.stop()
    acceptor.destroyHandshakes()
    for (const transport of log.transports) transport.destroy()
    await listener.close()
  }
})

test('auto is handle for a listener of ours here, with TLS or without, stream for all others', async () => {
  const listed = process.platform === 'linux' && ['20', '22', '24', '26'].includes(process.versions.node.split('.')[0]!)
  assert.is(serve(await listen(0)).acceptor.kind, listed ? 'handle' : 'stream')
  assert.is(serve(await listen(socketPath())).acceptor.kind, listed ? 'handle' : 'stream')
  assert.is(serve(await listen(0), 'stream').acceptor.kind, 'stream')
  assert.is(serve(wrapTls(await listen(0), certificate())).acceptor.kind, listed ? 'handle' : 'stream')
  assert.is(serve(wrapTls(await listen(0), certificate()), 'stream').acceptor.kind, 'stream')
  const server = net.createServer().listen(0, '127.0.0.1')
  await within(PATIENCE, once(server, 'listening'), 'listening')
  assert.is(serve(fromServer(server)).acceptor.kind, 'stream')
})

for (const obeys of [true, false]) {
  test(`no delay of small writes: ${obeys ? 'inherited from the listener on Linux, so that no connection is told' : 'each connection is told where the listener cannot be'}`, async () => {
    const listener = await listen(0)
    const listening = (listener.server as unknown as { _handle: Told })._handle
    const prototype = Object.getPrototypeOf(listening) as Told
    const real = prototype.setNoDelay
    const told: string[] = []
    prototype.setNoDelay = function (on) {
      told.push(this === listening ? `listener ${on}` : `connection ${on}`)
      return this === listening && !obeys ? -22 : real.call(this, on)
    }
    try {
      const { log, port } = serve(listener, 'handle')
      for (const n of [1, 2]) {
        const client = await connectTo(port)
        new Echo(await log.transport(n))
        client.end('x')
        assert.is((await collect(client)).toString(), 'x')
      }
    } finally {
      prototype.setNoDelay = real
    }
    const inherits = process.platform === 'linux'
    assert.equal(told, [...(inherits ? ['listener true'] : []), ...(inherits && obeys ? [] : ['connection true', 'connection true'])])
  })
}

test("handle is an error for a server of the caller's own", async () => {
  const codes: unknown[] = []
  for (const server of [net.createServer(), tls.createServer(certificate())]) {
    server.listen(0, '127.0.0.1')
    await within(PATIENCE, once(server, 'listening'), 'listening')
    const listener = fromServer(server)
    try {
      new Acceptor(listener, 'handle', 1000, new Log())
    } catch (error) {
      codes.push((error as NodeJS.ErrnoException).code)
    }
    await listener.close()
  }
  assert.equal(codes, ['ERR_WIRELET_TRANSPORT', 'ERR_WIRELET_TRANSPORT'])
})

for (const choice of ['stream', 'handle'] as const) {
  test(`${choice}: a handshake more than there is room for: its connection is closed, a later one is made`, async () => {
    const { acceptor, log, port } = serve(wrapTls(await listen(0), certificate()), choice)
    log.most = 2
    const silent = [await connectTo(port), await connectTo(port)]
    await until(() => acceptor.handshakes === 2, 'two handshakes')
    const third = await connectTo(port)
    third.resume()
    await within(PATIENCE, once(third, 'end'), 'its end')
    third.destroy()
    assert.is(acceptor.handshakes, 2)
    silent[0]!.destroy()
    await until(() => acceptor.handshakes === 1, 'one less')
    const client = tls.connect({ port, rejectUnauthorized: false })
    await log.transport()
    client.destroy()
    silent[1]!.destroy()
  })

  test(`${choice}: connections made before start are served`, async () => {
    const listener = await listen(0)
    const accepted = once(listener.server, 'connection')
    const client = await connectTo(listener.address().port)
    await within(PATIENCE, accepted, 'accept')
    const { log } = serve(listener, choice)
    new Echo(await log.transport())
    client.end('early')
    assert.is((await collect(client)).toString(), 'early')
  })

  test(`${choice}: after stop connections are closed at accept, those accepted go on`, async () => {
    const { log, acceptor, port } = serve(await listen(0), choice)
    const first = await connectTo(port)
    new Echo(await log.transport())
    acceptor.stop()
    acceptor.stop()
    const second = await connectTo(port)
    await closing(second)
    assert.is(log.transports.length, 1)
    first.end('still served')
    assert.is((await collect(first)).toString(), 'still served')
  })

  test(`${choice}: started again after stop`, async () => {
    const { log, acceptor, port, listener } = serve(await listen(0), choice)
    acceptor.stop()
    const again = serve(listener, choice)
    const client = await connectTo(port)
    new Echo(await again.log.transport())
    client.end('hello')
    assert.is((await collect(client)).toString(), 'hello')
    assert.is(log.transports.length, 0)
  })

  test(`${choice}: transports outlive the listener`, async () => {
    const { log, acceptor, port, listener } = serve(await listen(0), choice)
    const client = await connectTo(port)
    const transport = await log.transport()
    assert.is(transport.kind, choice)
    await listener.close()
    acceptor.stop()
    new Echo(transport)
    client.end('hello')
    assert.is((await collect(client)).toString(), 'hello')
  })

  test(`${choice}: an error of the listening socket is told`, async () => {
    const { log, listener } = serve(await listen(0), choice)
    listener.server.emit('error', new Error('no more'))
    assert.equal(log.errors, ['no more'])
  })
}

test('a connection whose handle has another shape goes to the stream transport, and all after it', async () => {
  const listener = await listen(0)
  const { log, acceptor, port } = serve(listener, 'handle')
  const listening = (listener.server as unknown as { _handle: { onconnection: (this: unknown, status: number, handle: object) => void } })._handle
  const ours = listening.onconnection
  listening.onconnection = function (status, handle) {
    Object.defineProperty(handle, 'isStreamBase', { value: 'of a later Node' })
    listening.onconnection = ours
    ours.call(this, status, handle)
  }
  const client = await connectTo(port)
  const transport = await log.transport()
  assert.is(transport.kind, 'stream')
  assert.is(acceptor.kind, 'stream')
  new Echo(transport)
  client.end('hello')
  assert.is((await collect(client)).toString(), 'hello')
  const second = await connectTo(port)
  assert.is((await log.transport(2)).kind, 'stream')
  second.destroy()
})

for (const choice of ['stream', 'handle'] as const) {
  const serveTls = async (options: TlsListenOptions = {}, handshakeTimeout?: number): Promise<Served> =>
    serve(wrapTls(await listen(0), { ...certificate(), ...options }), choice, handshakeTimeout)

  test(`${choice}, TLS: echo, secure, addresses`, async () => {
    const { log, port, acceptor } = await serveTls()
    const client = await connectTls(port)
    const transport = await log.transport()
    assert.is(transport.secure, true)
    assert.is(transport.kind, choice)
    assert.is(acceptor.handshakes, 0)
    assert.equal(transport.peerAddress(), { address: '127.0.0.1', port: client.localPort, family: 'IPv4' })
    assert.equal(transport.localAddress(), { address: '127.0.0.1', port, family: 'IPv4' })
    new Echo(transport)
    client.end('hello')
    assert.is((await collect(client)).toString(), 'hello')
  })

  test(`${choice}, TLS: over a unix socket`, async () => {
    const path = socketPath()
    const { log } = serve(wrapTls(await listen(path), certificate()), choice)
    const client = await connectTls(path)
    const transport = await log.transport()
    assert.is(transport.peerAddress().family, 'unix')
    new Echo(transport)
    client.end('hello')
    assert.is((await collect(client)).toString(), 'hello')
  })

  test(`${choice}, TLS: connections made before start make their handshake after it`, async () => {
    const plain = await listen(0)
    const accepted = once(plain.server, 'connection')
    const client = tls.connect({ port: plain.address().port, host: '127.0.0.1', rejectUnauthorized: false })
    await within(PATIENCE, accepted, 'accept')
    const { log } = serve(wrapTls(plain, certificate()), choice)
    await within(PATIENCE, once(client, 'secureConnect'), 'handshake')
    const transport = await log.transport()
    client.destroy()
    transport.destroy()
  })

  test(`${choice}, TLS: a reset is one for the peer`, async () => {
    const { log, port } = await serveTls()
    const client = await connectTls(port)
    const transport = await log.transport()
    new Echo(transport)
    client.write('x')
    assert.is((await readExactly(client, 1)).toString(), 'x')
    const how = closing(client)
    transport.reset()
    transport.reset()
    transport.destroy()
    assert.is(await how, 'ECONNRESET')
  })

  test(`${choice}, TLS: ALPN: http/1.1 is agreed on, only h2 is refused`, async () => {
    const { log, port } = await serveTls({ ALPNProtocols: ['h2'] })
    const client = await connectTls(port, { ALPNProtocols: ['h2', 'http/1.1'] })
    assert.is(client.alpnProtocol, 'http/1.1')
    await log.transport()
    const refused = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['h2'] })
    assert.ok((await closing(refused)).includes('ALERT'))
    await log.until('a failed handshake', () => log.failures.length === 1)
    assert.equal(log.failures, ['ERR_SSL_NO_APPLICATION_PROTOCOL'])
    client.destroy()
  })

  test(`${choice}, TLS: plain HTTP to the TLS port is a failed handshake`, async () => {
    const { log, port } = await serveTls()
    const client = await connectTo(port)
    client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await closing(client)
    await log.until('a failed handshake', () => log.failures.length === 1)
    assert.equal(log.failures, ['ERR_SSL_HTTP_REQUEST'])
    assert.is(log.transports.length, 0)
  })

  test(`${choice}, TLS: a peer that leaves during its handshake`, async () => {
    const { log, port, acceptor } = await serveTls()
    const client = await connectTo(port)
    client.write(Buffer.from([0x16]))
    await turns(1)
    client.destroy()
    await log.until('a failed handshake', () => log.failures.length === 1)
    assert.is(acceptor.handshakes, 0)
  })

  test(`${choice}, TLS: a stalled handshake is counted and can be destroyed, silently`, async () => {
    const { log, port, acceptor, listener } = await serveTls()
    const established = await connectTls(port)
    new Echo(await log.transport())
    const accepted = once(listener.server, 'connection')
    const client = await connectTo(port)
    await within(PATIENCE, accepted, 'accept')
    assert.is(acceptor.handshakes, 1)
    const closed = closing(client)
    acceptor.destroyHandshakes()
    await closed
    assert.is(acceptor.handshakes, 0)
    assert.equal(log.failures, [])
    established.end('untouched')
    assert.is((await collect(established)).toString(), 'untouched')
  })

  test(`${choice}, TLS: a handshake that takes too long`, async () => {
    const long = 10 * PATIENCE
    for (const [theirs, ours] of [[undefined, 30], [long, 30], [30, long], [30, Infinity]] as const) {
      const { log, port, acceptor } = await serveTls({ handshakeTimeout: theirs }, ours)
      const client = await connectTo(port)
      await closing(client)
      await log.until('a failed handshake', () => log.failures.length === 1)
      assert.equal(log.failures, ['ERR_TLS_HANDSHAKE_TIMEOUT'])
      assert.is(acceptor.handshakes, 0)
    }
  })

  test(`${choice}, TLS: a throwing SNI callback fails its handshake and nothing else`, async () => {
    const wrong = [
      () => {
        throw new Error('a broken callback')
      },
      async () => {
        throw new Error('a broken promise')
      },
      (_name: string, done: (error: Error | null) => void) => {
        done(new Error('refused'))
        throw new Error('and broken')
      }
    ]
    for (const SNICallback of wrong) {
      const { log, port } = await serveTls({ SNICallback })
      const client = tls.connect({ port, host: '127.0.0.1', servername: 'localhost', rejectUnauthorized: false })
      await closing(client)
      await log.until('a failed handshake', () => log.failures.length === 1)
      assert.is(log.transports.length, 0)
      const other = await connectTls(port)
      await log.transport()
      other.destroy()
    }
  })

  test(`${choice}, TLS: an SNI callback chooses the certificate`, async () => {
    const { port, log } = await serveTls({ SNICallback: (_name, done) => done(null, tls.createSecureContext(certificate('renewed'))) })
    const client = await connectTls(port, { servername: 'localhost' })
    assert.is(client.getPeerCertificate().subject.O, 'renewed')
    await log.transport()
    client.destroy()
  })

  test(`${choice}, TLS: setSecureContext changes the certificate of the handshakes to come`, async () => {
    const { log, port, listener } = await serveTls()
    const before = await connectTls(port)
    assert.is(before.getPeerCertificate().subject.O, undefined)
    new Echo(await log.transport())
    listener.setSecureContext(certificate('renewed'))
    const after = await connectTls(port)
    assert.is(after.getPeerCertificate().subject.O, 'renewed')
    before.write('still here')
    assert.is((await readExactly(before, 10)).toString(), 'still here')
    before.destroy()
    after.destroy()
  })
}

test("a tls.Server of the caller's own", async () => {
  const server = tls.createServer({ ...certificate(), allowHalfOpen: true }).listen(0, '127.0.0.1')
  await within(PATIENCE, once(server, 'listening'), 'listening')
  const listener = fromServer(server)
  assert.ok(listener.url.startsWith('https://'))
  const { log, port } = serve(listener)
  const client = await connectTls(port)
  const transport = await log.transport()
  assert.ok(transport.secure)
  new Echo(transport)
  client.end('hello')
  assert.is((await collect(client)).toString(), 'hello')
  const plain = await connectTo(port)
  plain.write('GET / HTTP/1.1\r\n\r\n')
  await closing(plain)
  await log.until('a failed handshake', () => log.failures.length === 1)
  const second = new Acceptor(listener, 'stream', 1000, new Log())
  assert.throws(() => second.start(), /served already/)
  assert.is(server.listenerCount('tlsClientError'), 1)
})

test.run()
