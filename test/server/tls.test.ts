// TLS as an application and its operator see it: certificates, their reload, what the environ says, handshakes that fail or stall, and how an answer ends.
import { once } from 'node:events'
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import * as net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import * as tls from 'node:tls'
import { ALREADY_HANDLED, type Application, type Environ } from '../../src/server/application.ts'
import { listen, wrapTls, type Listener, type TlsListenOptions } from '../../src/io/listener.ts'
import type { ServeOptions } from '../../src/server/options.ts'
import { serve, type Server } from '../../src/server/serve.ts'
import { answering, echoPath, get, post, turns, until } from '../support/harness.ts'
import { RawClient, WAIT } from '../support/raw-client.ts'
import { certificate, certificatePath, closing, connectTls, connectTo, socketPath } from '../support/sockets.ts'
import { within } from '../support/within.ts'

/** Every test is run on both; what it starts, stands on this one. */
let transport: 'stream' | 'handle' = 'stream'
const suites = (['stream', 'handle'] as const).map(kind => ({ kind, tests: suite(`TLS (${kind})`) }))

function test(name: string, body: () => unknown): void {
  for (const { kind, tests } of suites) {
    tests(name, () => {
      transport = kind
      return body() as Promise<void>
    })
  }
}

interface Running {
  server: Server
  listener: Listener
  port: number
  log: string[]
}

let servers: Server[] = []
let clients: net.Socket[] = []
let listeners: Listener[] = []
/** The server's timers, and TLS's, do not keep the process awake. */
let awake: NodeJS.Timeout | undefined

for (const { tests } of suites) {
  tests.before.each(() => {
    awake = setInterval(() => {}, 1_000)
  })
  tests.after.each(async () => {
    clearInterval(awake)
    for (const client of clients.splice(0)) client.destroy()
    await within(WAIT, Promise.all(servers.splice(0).map(server => server.close({ timeout: 0 }))), 'the servers to close')
    await Promise.all(listeners.splice(0).map(listener => listener.close()))
  })
}

async function start(application: Application, options: TlsListenOptions = certificate(), more: ServeOptions = {}): Promise<Running> {
  const plain = await listen(0)
  listeners.push(plain)
  const listener = wrapTls(plain, options)
  const log: string[] = []
  const push = (line: string): unknown => log.push(line)
  const server = serve(listener, application, { log: { info: push, debug: push, error: push }, logFormat: '%(request_line)s %(status_code)d %(body_length)d', transport, ...more })
  servers.push(server)
  return { server, listener, port: server.address.port, log }
}

async function connect(port: number, options: tls.ConnectionOptions = {}): Promise<RawClient> {
  const socket = await connectTls(port, options)
  clients.push(socket)
  return new RawClient(socket)
}

async function connectPlain(port: number): Promise<net.Socket> {
  const socket = await connectTo(port)
  clients.push(socket)
  return socket
}

/** A handshake that must fail: how. */
async function handshakeFailure(port: number, options: tls.ConnectionOptions = {}): Promise<string> {
  const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options })
  clients.push(socket)
  let connected = false
  socket.once('secureConnect', () => (connected = true))
  const how = await closing(socket)
  assert.is(connected, false, 'the handshake succeeded')
  return how
}

async function serves(port: number, options: tls.ConnectionOptions = {}): Promise<void> {
  const client = await connect(port, options)
  await client.send(get('/ok'))
  assert.is((await client.response()).text, '/ok')
  client.destroy()
}

function organisation(client: RawClient): string {
  // "renewed" has one, "localhost" has none.
  return String((client.stream as tls.TLSSocket).getPeerCertificate().subject.O ?? '')
}

function attempt(action: () => unknown): Error & { code?: string } {
  try {
    action()
  } catch (error) {
    return error as Error
  }
  throw new Error('nothing was thrown')
}

// ── Certificates ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

test('certfile and keyfile', async () => {
  const { port, server, listener } = await start(echoPath, { certfile: certificatePath('renewed.crt'), keyfile: certificatePath('renewed.key') })
  const client = await connect(port)
  assert.is(organisation(client), 'renewed')
  await client.send(get('/a'))
  assert.is((await client.response()).text, '/a')
  assert.is(listener.url, `https://127.0.0.1:${port}`)
  assert.is(server.url, listener.url)
  assert.is(server.transport, transport)
})

test('the certificate is one that its authority vouches for', async () => {
  const { port } = await start(echoPath)
  await serves(port, { ca: certificate().cert, rejectUnauthorized: true, servername: 'localhost' })
  await serves(port, { ca: certificate().cert, rejectUnauthorized: true, host: '127.0.0.1' })
})

test('wrong files: told at once, with the path or what is wrong, and the listener stays usable', async () => {
  const plain = await listen(0)
  listeners.push(plain)
  const directory = mkdtempSync(join(tmpdir(), 'wl-tls-'))
  const empty = join(directory, 'empty')
  writeFileSync(empty, '')
  const good = { certfile: certificatePath('localhost.crt'), keyfile: certificatePath('localhost.key') }
  const missing = attempt(() => wrapTls(plain, { ...good, certfile: '/nowhere/a.crt' }))
  assert.is(missing.code, 'ENOENT')
  assert.match(missing.message, '/nowhere/a.crt')
  assert.match(attempt(() => wrapTls(plain, { ...good, keyfile: '/nowhere/a.key' })).message, '/nowhere/a.key')
  assert.is(attempt(() => wrapTls(plain, { ...good, certfile: directory })).code, 'EISDIR')
  for (const wrong of [{ certfile: good.keyfile }, { keyfile: good.certfile }, { certfile: empty }, { keyfile: empty }]) {
    assert.instance(attempt(() => wrapTls(plain, { ...good, ...wrong })), Error)
  }
  assert.match(attempt(() => wrapTls(plain, { ...good, keyfile: certificatePath('renewed.key') })).message, /mismatch/)
  for (const missing of [{}, { certfile: good.certfile }, { keyfile: good.keyfile }, { certFile: good.certfile, keyFile: good.keyfile }, { cert: '', key: '' }]) {
    assert.is(attempt(() => wrapTls(plain, missing as object)).code, 'ERR_WIRELET_USAGE', JSON.stringify(missing))
  }
  assert.is(attempt(() => wrapTls(Promise.resolve(plain) as never, good)).message, 'the first argument must be a listener: wrapTls(await listen(…), …)')
  assert.match(attempt(() => wrapTls(wrapTls(plain, good), good)).message, 'encrypted already')
  rmSync(directory, { recursive: true })
  const server = serve(wrapTls(plain, good), echoPath, { transport, logOutput: false })
  servers.push(server)
  await serves(server.address.port)
})

test('reload: the files are read again, new connections see it, old ones go on', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'wl-tls-'))
  const certfile = join(directory, 'site.crt')
  const keyfile = join(directory, 'site.key')
  const install = (name: 'localhost' | 'renewed'): void => {
    copyFileSync(certificatePath(`${name}.crt`), certfile)
    copyFileSync(certificatePath(`${name}.key`), keyfile)
  }
  install('localhost')
  const { port, listener } = await start(echoPath, { certfile, keyfile })
  const old = await connect(port)
  await old.send(get('/before'))
  assert.is((await old.response()).text, '/before')
  install('renewed')
  assert.is(organisation(await connect(port)), '', 'not before it is asked for')
  listener.setSecureContext()
  const young = await connect(port)
  assert.is(organisation(young), 'renewed')
  for (const client of [old, young]) {
    await client.send(get('/after'))
    assert.is((await client.response()).text, '/after')
  }
  // Broken files change nothing.
  writeFileSync(keyfile, 'nonsense')
  attempt(() => listener.setSecureContext())
  rmSync(keyfile)
  assert.is(attempt(() => listener.setSecureContext()).code, 'ENOENT')
  assert.is(organisation(await connect(port)), 'renewed')
  // And by value.
  listener.setSecureContext(certificate('localhost'))
  assert.is(organisation(await connect(port)), '')
  rmSync(directory, { recursive: true })
})

test('a reload that brings the other kind, a PKCS #12 archive or a pair, replaces the one before', async () => {
  const archive = { pfx: readFileSync(certificatePath('renewed.pfx')), passphrase: 'wirelet' }
  const files = { certfile: certificatePath('localhost.crt'), keyfile: certificatePath('localhost.key') }
  const { port, listener } = await start(echoPath, archive)
  const now = async (): Promise<string> => organisation(await connect(port))
  assert.is(await now(), 'renewed')
  for (const pair of [certificate('localhost'), files]) {
    listener.setSecureContext(pair)
    assert.is(await now(), '')
    // Its passphrase went with it.
    assert.instance(attempt(() => listener.setSecureContext({ pfx: archive.pfx })), Error)
    assert.is(await now(), '')
    listener.setSecureContext(archive)
    assert.is(await now(), 'renewed')
    listener.setSecureContext({ pfx: archive.pfx })
    listener.setSecureContext()
    assert.is(await now(), 'renewed')
  }
})

test('a reload keeps what was asked of the peers', async () => {
  const { port, listener } = await start(echoPath, { ...certificate(), requestCert: true, rejectUnauthorized: true, ca: certificate('renewed').cert, maxVersion: 'TLSv1.2' })
  listener.setSecureContext(certificate('renewed'))
  assert.is(await handshakeFailure(port, { minVersion: 'TLSv1.3' }).then(how => how !== ''), true)
  await serves(port, { ...certificate('renewed') })
  const how = await handshakeFailureOrEnd(port)
  assert.not.equal(how, 'served')
})

/** With TLS 1.2 a refused client certificate may show as late as at the first read. */
async function handshakeFailureOrEnd(port: number, options: tls.ConnectionOptions = {}): Promise<string> {
  const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options })
  clients.push(socket)
  socket.write(get('/ok'))
  let received = false
  socket.on('data', () => (received = true))
  const how = await closing(socket)
  return received ? 'served' : how
}

test('a reload cannot change what a tls.Server keeps for life, and says so; the same again is no change', async () => {
  const options: TlsListenOptions = { ...certificate(), SNICallback: (_name, done) => done(null), ALPNProtocols: ['http/1.1'], requestCert: false }
  const { port, listener } = await start(echoPath, options)
  const changes = [
    { requestCert: true, rejectUnauthorized: true, ca: certificate().cert }, { requestCert: undefined }, { rejectUnauthorized: false }, { ALPNProtocols: ['h2'] }, { ALPNCallback: () => 'h2' },
    { SNICallback: () => {} }, { pskCallback: () => null }, { handshakeTimeout: 300 }, { certFile: 'misspelt' }
  ]
  for (const change of changes) {
    const error = attempt(() => listener.setSecureContext({ ...certificate('renewed'), ...change } as TlsListenOptions))
    assert.is(error.code, 'ERR_WIRELET_USAGE')
    assert.match(error.message, Object.keys(change)[0]!)
  }
  assert.is(organisation(await connect(port)), '')
  listener.setSecureContext({ ...options, ...certificate('renewed'), ALPNProtocols: ['http/1.1'], maxVersion: 'TLSv1.2' })
  const client = await connect(port)
  assert.equal([organisation(client), (client.stream as tls.TLSSocket).getProtocol()], ['renewed', 'TLSv1.2'])
  listener.setSecureContext()
  await serves(port, { servername: 'localhost' })
})

test('a second serve() that is refused takes no certificates away from the first', async () => {
  const { port, listener } = await start(echoPath)
  assert.match(attempt(() => serve(listener, echoPath, { transport, logOutput: false })).message, 'served already')
  listener.setSecureContext(certificate('renewed'))
  assert.is(organisation(await connect(port)), 'renewed')
})

test('a plain listener has no certificates to reload', async () => {
  const plain = await listen(0)
  listeners.push(plain)
  assert.match(attempt(() => plain.setSecureContext(certificate())).message, 'wrapTls')
})

// ── What the environ says ────────────────────────────────────────────────────────────────────────────────────────────────────────────

async function ask(options: TlsListenOptions, client: tls.ConnectionOptions): Promise<Environ> {
  const seen: Environ[] = []
  const { port } = await start((environ, startResponse) => {
    seen.push({ ...environ, 'wirelet.tls': environ['wirelet.tls'] })
    startResponse(200)
    return []
  }, options)
  const peer = await connect(port, client)
  await peer.send(get('/a?b'))
  await peer.response()
  return seen[0]!
}

test('scheme, HTTPS and wirelet.tls', async () => {
  const environ = await ask(certificate(), { servername: 'localhost' })
  assert.is(environ['wsgi.url_scheme'], 'https')
  assert.is(environ.HTTPS, 'on')
  const info = environ['wirelet.tls']!
  assert.is(info.protocol, 'TLSv1.3')
  assert.match(info.cipher!, /^TLS_/)
  assert.is(info.servername, 'localhost')
  assert.is(info.authorized, false)
  assert.is(info.peerCertificate, null)
})

test('the version and the cipher are those agreed on', async () => {
  const ciphers = 'ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256'
  const info = (await ask(certificate(), { maxVersion: 'TLSv1.2', ciphers }))['wirelet.tls']!
  assert.is(info.protocol, 'TLSv1.2')
  assert.match(info.cipher!, /^ECDHE-.*-AES128-GCM-SHA256$/)
  assert.is(info.servername, null)
})

test('plain: no HTTPS, no wirelet.tls', async () => {
  for (const transport of ['stream', 'handle'] as const) {
    const seen: unknown[] = []
    const server = serve(await listen(0), (environ, startResponse) => {
      seen.push(environ['wsgi.url_scheme'], 'HTTPS' in environ, environ['wirelet.tls'])
      startResponse(200)
      return []
    }, { transport, logOutput: false })
    servers.push(server)
    const client = new RawClient(await connectPlain(server.address.port))
    await client.send(get())
    await client.response()
    assert.equal(seen, ['http', false, null])
  }
})

test('client certificates: asked for, shown, and none', async () => {
  const ca = certificate('renewed').cert
  const shown = (await ask({ ...certificate(), requestCert: true, rejectUnauthorized: false, ca }, certificate('renewed')))['wirelet.tls']!
  assert.is(shown.authorized, true)
  assert.is(shown.peerCertificate!.subject.O, 'renewed')
  const unknown = (await ask({ ...certificate(), requestCert: true, rejectUnauthorized: false, ca }, certificate('localhost')))['wirelet.tls']!
  assert.is(unknown.authorized, false)
  assert.is(unknown.peerCertificate!.subject.CN, 'localhost')
  const none = (await ask({ ...certificate(), requestCert: true, rejectUnauthorized: false, ca }, {}))['wirelet.tls']!
  assert.is(none.authorized, false)
  assert.is(none.peerCertificate, null)
})

test('client certificates: one that is its own issuer can be shown as JSON, with all of the environ', async () => {
  const ca = certificate('renewed').cert
  const environ = await ask({ ...certificate(), requestCert: true, ca }, certificate('renewed'))
  const shown = JSON.parse(JSON.stringify(environ)) as Environ
  assert.is(shown['wirelet.tls']!.peerCertificate!.subject.O, 'renewed')
  assert.not('issuerCertificate' in environ['wirelet.tls']!.peerCertificate!)
})

test('client certificates: demanded', async () => {
  let requests = 0
  const { port } = await start((environ, startResponse) => {
    requests++
    return echoPath(environ, startResponse)
  }, { ...certificate(), requestCert: true, rejectUnauthorized: true, ca: certificate('renewed').cert })
  assert.not.equal(await handshakeFailureOrEnd(port), 'served')
  assert.not.equal(await handshakeFailureOrEnd(port, certificate('localhost')), 'served')
  assert.is(requests, 0)
  await serves(port, certificate('renewed'))
})

test('wirelet.tls of a resumed session', async () => {
  const seen: unknown[] = []
  const { port } = await start((environ, startResponse) => {
    seen.push(environ['wirelet.tls']!.protocol, environ['wirelet.tls']!.servername)
    startResponse(200)
    return ['ok']
  })
  const first = await connect(port, { servername: 'localhost' })
  const socket = first.stream as tls.TLSSocket
  let session: Buffer | undefined
  socket.on('session', (bytes: Buffer) => (session = bytes))
  await first.send(get())
  await first.response()
  await until(() => session !== undefined, 'a session')
  const second = await connect(port, { servername: 'localhost', session: session! })
  assert.is((second.stream as tls.TLSSocket).isSessionReused(), true)
  await second.send(get())
  await second.response()
  assert.equal(seen, ['TLSv1.3', 'localhost', 'TLSv1.3', 'localhost'])
})

test('an https target is at home here, and refused on a plain connection (RL-25)', async () => {
  const target = 'https://localhost/there?x'
  const { port } = await start(echoPath)
  const secure = await connect(port)
  await secure.send(`GET ${target} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
  const answer = await secure.response()
  assert.equal([answer.status, answer.text], [200, '/there'])
  for (const transport of ['stream', 'handle'] as const) {
    const server = serve(await listen(0), echoPath, { transport, logOutput: false })
    servers.push(server)
    const plain = new RawClient(await connectPlain(server.address.port))
    await plain.send(`GET ${target} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
    const refused = await plain.response()
    assert.ok(refused.status === 400 || refused.status === 421, String(refused.status))
    assert.is(refused.header('connection'), 'close')
    await plain.untilEnd()
  }
})

// ── Handshakes ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

test('ALPN: http/1.1 and nothing else', async () => {
  const { port, log } = await start(echoPath, { ...certificate(), ALPNProtocols: ['h2', 'http/1.1'] })
  const both = await connect(port, { ALPNProtocols: ['h2', 'http/1.1'] })
  assert.is((both.stream as tls.TLSSocket).alpnProtocol, 'http/1.1')
  await both.send(get('/both'))
  assert.is((await both.response()).text, '/both')
  assert.match(await handshakeFailure(port, { ALPNProtocols: ['h2'] }), /ALERT|NO_APPLICATION_PROTOCOL/)
  await until(() => log.some(line => line.includes('TLS handshake failed')), 'a word of it')
  await serves(port)
})

test('plain HTTP to the TLS port: closed without an answer, no request, nobody disturbed', async () => {
  let requests = 0
  const { port, log, server } = await start((environ, startResponse) => {
    requests++
    return echoPath(environ, startResponse)
  })
  const good = await connect(port)
  const wrong = await connectPlain(port)
  const received: Buffer[] = []
  wrong.on('data', (chunk: Buffer) => received.push(chunk))
  wrong.write(get())
  await closing(wrong)
  assert.not.match(Buffer.concat(received).toString('latin1'), 'HTTP/')
  await until(() => log.some(line => line.includes('TLS handshake failed')), 'a word of it')
  assert.is(requests, 0)
  assert.is(server.connections, 1)
  await good.send(get('/good'))
  assert.is((await good.response()).text, '/good')
  assert.is(log.some(line => line.startsWith('GET / ')), false)
})

test('stalled handshakes: counted, no connection of the server, nobody disturbed, ended by their deadline', async () => {
  const { port, log, server } = await start(echoPath, certificate(), { timeouts: { handshake: 1_500 }, maxSize: 2 })
  const mute = await Promise.all(Array.from({ length: 20 }, () => connectPlain(port)))
  // Half of them begin a ClientHello.
  for (let i = 0; i < 10; i++) mute[i]!.write(Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01]))
  const ends = mute.map(socket => closing(socket))
  await until(() => server.stats().handshakes === 20, 'twenty handshakes')
  assert.is(server.connections, 0)
  await serves(port)
  await Promise.all(ends)
  await until(() => server.stats().handshakes === 0, 'none of them to be left')
  assert.is(server.stats().deadlines.handshake, 20)
  assert.is(log.filter(line => line.includes('ERR_TLS_HANDSHAKE_TIMEOUT')).length, 20)
  await serves(port)
})

test('handshakes that fail in every way: the server and its other peers go on', async () => {
  const { port, server } = await start(echoPath)
  const good = await connect(port)
  const ends: Promise<string>[] = []
  for (const bytes of [Buffer.alloc(512, 0x16), Buffer.from([0x15, 3, 3, 0, 2, 2, 0x28]), Buffer.from('GET / HTTP/1.1\r\n\r\n')]) {
    const wrong = await connectPlain(port)
    ends.push(closing(wrong))
    wrong.write(bytes)
  }
  const gone = await connectPlain(port)
  ends.push(closing(gone))
  gone.end(Buffer.from([0x16, 3]))
  const reset = await connectPlain(port)
  reset.write(Buffer.from([0x16, 3]))
  reset.resetAndDestroy()
  await Promise.all(ends)
  assert.ok(await handshakeFailure(port, { maxVersion: 'TLSv1.1', minVersion: 'TLSv1', ciphers: 'DEFAULT@SECLEVEL=0' }) !== '')
  await until(() => server.stats().handshakes === 0, 'none to be left')
  await good.send(get('/good'))
  assert.is((await good.response()).text, '/good')
  await serves(port)
  assert.is(server.state, 'listening')
})

test('an SNI callback that throws or rejects fails its own handshake only', async () => {
  for (const SNICallback of [
    () => { throw new Error('broken') },
    (async () => { throw new Error('broken') }) as unknown as NonNullable<tls.TlsOptions['SNICallback']>
  ]) {
    const { port, log } = await start(echoPath, { ...certificate(), SNICallback })
    await handshakeFailure(port, { servername: 'localhost' })
    await until(() => log.some(line => line.includes('TLS handshake failed')), 'a word of it')
    // Without a name the callback is not asked.
    await serves(port)
  }
})

test('a drain does not wait for handshakes', async () => {
  const { port, server } = await start(echoPath)
  const mute = await connectPlain(port)
  await until(() => server.stats().handshakes === 1, 'the handshake')
  const closed = closing(mute)
  await within(WAIT, server.close(), 'the drain')
  await closed
})

test('a peer that disconnects as soon as it is through', async () => {
  const { port, server, log } = await start(echoPath)
  for (let i = 0; i < 5; i++) {
    const socket = await connectTls(port)
    socket.destroy()
  }
  await serves(port)
  await until(() => server.connections === 0, 'all of them to be gone')
  assert.is(log.some(line => line.includes('rror')), false, log.join('\n'))
})

// ── HTTP over it ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

test('keep-alive and pipelining, however the records are cut', async () => {
  const { port, server } = await start(async (environ, startResponse) => {
    const content = await environ['wsgi.input'].read()
    startResponse(200)
    return [environ.PATH_INFO, ' ', content]
  })
  const client = await connect(port)
  for (let i = 0; i < 3; i++) {
    await client.send(get(`/${i}`))
    assert.is((await client.response()).text, `/${i} `)
  }
  const many = Array.from({ length: 50 }, (_, i) => post(`/p${i}`, `content ${i}`)).join('')
  await client.send(many)
  for (let i = 0; i < 50; i++) assert.is((await client.response()).text, `/p${i} content ${i}`)
  const small = post('/small', 'in pieces') + get('/after')
  for (const character of small) (client.stream as tls.TLSSocket).write(character)
  assert.is((await client.response()).text, '/small in pieces')
  assert.is((await client.response()).text, '/after ')
  assert.is(server.connections, 1)
})

test('1 MiB up and down', async () => {
  const { port } = await start((environ, startResponse) => {
    startResponse(200)
    return environ['wsgi.input']
  })
  const client = await connect(port)
  const content = 'x0123456'.repeat(131_072)
  const sent = client.send(post('/', content))
  const answer = await client.response()
  await sent
  assert.ok(answer.text === content)
})

test('over a unix socket', async () => {
  const path = socketPath()
  const listener = wrapTls(await listen(path), certificate())
  const server = serve(listener, (environ, startResponse) => {
    startResponse(200)
    return [`${environ['wsgi.url_scheme']} ${environ.REMOTE_ADDR} ${environ['wirelet.tls']!.protocol}`]
  }, { transport, logOutput: false })
  servers.push(server)
  const socket = await connectTls(path)
  clients.push(socket)
  const client = new RawClient(socket)
  await client.send(get())
  assert.is((await client.response()).text, 'https unix TLSv1.3')
  assert.is(listener.url, `https:${path}`)
})

test('takeover: the clear text, first bytes included', async () => {
  const { port } = await start(environ => {
    const duplex = environ['wirelet.upgrade']()
    duplex.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n')
    duplex.pipe(duplex)
    return ALREADY_HANDLED
  })
  const client = await connect(port)
  await client.send(get('/', 'Connection: Upgrade\r\nUpgrade: raw\r\n') + 'clear')
  await client.interim()
  assert.is(String(await client.bytes(5)), 'clear')
})

test('drain: what is being answered is answered, with close; idle ones end after their grace', async () => {
  let release: () => void = () => {}
  const { port, server } = await start(async (environ, startResponse) => {
    if (environ.PATH_INFO === '/slow') await new Promise<void>(resolve => (release = resolve))
    return echoPath(environ, startResponse)
  }, certificate(), { timeouts: { idleGrace: 0 } })
  const idle = await connect(port)
  await idle.send(get('/once'))
  await idle.response()
  const unused = await connect(port)
  const busy = await connect(port)
  await busy.send(get('/slow'))
  await until(() => server.outstandingRequests === 1, 'the request')
  const closed = server.close()
  release()
  const answer = await busy.response()
  assert.equal([answer.text, answer.header('connection')], ['/slow', 'close'])
  await Promise.all([busy.untilEnd(), idle.untilEnd(), unused.untilEnd()])
  await within(WAIT, closed, 'the drain')
})

/** Between client and server: what the server sent, as TLS records, and how its side ended. */
class Tap {
  readonly port: number
  readonly ended: Promise<'end' | 'reset'>
  private readonly chunks: Buffer[]
  private constructor(port: number, chunks: Buffer[], ended: Promise<'end' | 'reset'>) {
    this.port = port
    this.chunks = chunks
    this.ended = ended
  }

  static async to(port: number): Promise<Tap> {
    const chunks: Buffer[] = []
    let settle: (how: 'end' | 'reset') => void = () => {}
    const ended = new Promise<'end' | 'reset'>(resolve => (settle = resolve))
    const proxy = net.createServer({ allowHalfOpen: true }, near => {
      const far = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
      clients.push(near, far)
      near.on('error', () => {}).pipe(far)
      far.on('data', (chunk: Buffer) => {
        chunks.push(chunk)
        near.write(chunk)
      })
      // Node 20 and 22 read a RST behind unread bytes as an end; only a write tells: after a FIN it is accepted.
      far.on('end', () => far.write('?', error => {
        settle(error == null ? 'end' : 'reset')
        near.end()
      }))
      // Not resetAndDestroy: behind an end() it makes Node 20 spin at exit.
      far.on('error', () => {
        settle('reset')
        near.destroy()
      })
      proxy.close()
    })
    proxy.listen(0, '127.0.0.1')
    await once(proxy, 'listening')
    return new Tap((proxy.address() as net.AddressInfo).port, chunks, within(WAIT, ended, 'the end'))
  }

  /** Types of the records: 20 change cipher spec, 21 alert, 22 handshake, 23 data. Only TLS 1.2 shows alerts as such. */
  get records(): number[] {
    const bytes = Buffer.concat(this.chunks)
    const types: number[] = []
    for (let at = 0; at + 5 <= bytes.length; at += 5 + bytes.readUInt16BE(at + 3)) types.push(bytes[at]!)
    return types
  }
}

test('a complete answer ends with close_notify', async () => {
  const { port } = await start(answering('whole'))
  const tap = await Tap.to(port)
  const client = await connect(tap.port, { maxVersion: 'TLSv1.2' })
  await client.send(get('/', '', '1.0'))
  assert.is((await client.response()).text, 'whole')
  await client.untilEnd()
  assert.is(await tap.ended, 'end')
  assert.is(tap.records.at(-1), 21)
})

test('a cut answer does not look complete: no close_notify, a reset', async () => {
  const { port, log } = await start((_environ, startResponse) => {
    startResponse(200)
    return (async function* () {
      yield 'half of it'
      await turns()
      throw new Error('as the test wants it')
    })()
  })
  const tap = await Tap.to(port)
  const client = await connect(tap.port, { maxVersion: 'TLSv1.2' })
  // To 1.0 the end of the connection is the end of the content: nothing else would tell.
  await client.send(get('/', '', '1.0'))
  assert.is(await tap.ended, 'reset')
  await client.closed
  assert.is(tap.records.includes(21), false)
  assert.match(client.buffered, 'half of it')
  await until(() => log.some(line => line.includes('as the test wants it')), 'the error')
})

test('a shortfall is cut the same way', async () => {
  const { port } = await start((_environ, startResponse) => {
    startResponse(200, [['Content-Length', '10']])
    return ['half']
  })
  const tap = await Tap.to(port)
  const client = await connect(tap.port, { maxVersion: 'TLSv1.2' })
  await client.send(get())
  assert.is(await tap.ended, 'reset')
  assert.is(tap.records.includes(21), false)
})

test('content cut by the end of TCP alone, without close_notify, is no complete content', async () => {
  let code = ''
  const { port } = await start(async (environ, startResponse) => {
    await environ['wsgi.input'].read().catch((error: { code: string }) => (code = error.code))
    return echoPath(environ, startResponse)
  })
  const raw = await connectPlain(port)
  const socket = await connectTls({ socket: raw } as unknown as { socket: net.Socket })
  clients.push(socket)
  const wrote = once(socket, 'drain').catch(() => {})
  if (socket.write('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n')) await turns(10)
  else await wrote
  raw.destroy()
  await until(() => code !== '', 'the failure')
  assert.is(code, 'ERR_WIRELET_REQUEST_ABORTED')
})

test("a tls.Server of the caller's own", async () => {
  const own = tls.createServer({ ...certificate() }).listen(0, '127.0.0.1')
  await once(own, 'listening')
  const server = serve(own, (environ, startResponse) => {
    startResponse(200)
    return [`${environ['wsgi.url_scheme']} ${environ['wirelet.tls']!.protocol}`]
  }, { logOutput: false })
  servers.push(server)
  const client = await connect((own.address() as net.AddressInfo).port)
  await client.send(get() + get())
  assert.equal((await client.responses(2)).map(each => each.text), ['https TLSv1.3', 'https TLSv1.3'])
  assert.match(server.url, /^https:/)
})

test('a refused request over TLS: one clean line', async () => {
  const { port, log } = await start(echoPath)
  const client = await connect(port)
  await client.send('\x16\x03\x01\x02\x00 HTTP/1.1\r\n\r\n')
  assert.is((await client.response()).status, 400)
  await client.untilEnd()
  await until(() => log.some(line => line.includes(' 400 ')), 'the line')
  assert.ok(log.every(line => /^[\x20-\x7e]*$/.test(line)), log.join('\n'))
})

for (const { tests } of suites) tests.run()
